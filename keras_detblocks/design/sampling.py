"""Draws nets from a design space until enough of them meet complexity constraints; nothing is
built."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..backbones.complexity import Architectures, Complexity, population_complexity
from ..checks import check_generator, check_int, check_number
from .spaces import is_space

_CHUNK = 20_000  # draws per vectorized step: a few tens of megabytes


@dataclass(frozen=True)
class Sample(Sequence):
    """Distinct specs of one space: a sequence of them, with what they cost.

    Attributes:
        space: the space that they come from.
        specs: `AnyNetSpec`s or `RegNetSpec`s.
        parameters: the drawn values, by parameter name.
        nets: the same as `Architectures`, arrays `(n, stages)`.
        complexity: `Complexity` of arrays `(n,)`.
        draws: how many draws were examined.
        accepted: how many of them met the constraints, duplicates included.
    """

    space: object
    specs: tuple = field(repr=False)
    parameters: tuple = field(repr=False)
    nets: Architectures = field(repr=False)
    complexity: Complexity = field(repr=False)
    draws: int
    accepted: int

    def __len__(self):
        return len(self.specs)

    def __getitem__(self, index):
        return self.specs[index]

    @property
    def acceptance_rate(self):
        """The share of the draws that met the constraints."""
        return self.accepted / self.draws


def sample(
    space, n, constraints=None, rng=None, *, image_size=224, classes=1000, max_draws=3_000_000
):
    """Draws `n` distinct nets of a space within complexity constraints.

    Args:
        space: an `AnyNetSpace` or a `RegNetSpace`.
        n: how many.
        constraints: `(low, high)` by name among `macs`, `params` and `activations`; `None` for an
            open end.
        rng: `numpy.random.Generator`, or a seed for one.
        image_size, classes: the size and classifier for which complexity is counted.
        max_draws: after how many draws to give up.

    Returns:
        A `Sample`, a sequence of specs with their complexity and the acceptance rate.

    Raises:
        ValueError: a constraint of an unknown name or an empty window, or not enough nets within
            `max_draws`; the message gives the acceptance rate.

    Example:

    >>> nets = kdb.design.sample(kdb.design.RegNetXSpace, 5, {"macs": (300e6, 500e6)}, rng=0)
    >>> len(nets), nets[0].group_width > 0
    (5, True)
    """
    _check_space(space)
    n, max_draws = check_int(n, "n", least=0), check_int(max_draws, "max_draws")
    windows, rng = _windows(constraints), check_generator(rng)
    found, draws, accepted = {}, 0, 0
    while len(found) < n and draws < max_draws:
        size = min(_CHUNK, max_draws - draws)
        values, nets, cost = _draw(space, size, windows, rng, image_size, classes)
        draws, accepted = draws + size, accepted + len(nets)
        for i, row in enumerate(nets.rows()):
            if len(found) == n:
                break
            if row.tobytes() not in found:
                drawn = {name: array[i].item() for name, array in values.items()}
                found[row.tobytes()] = (
                    space.spec(values, nets, i),
                    drawn,
                    row,
                    [array[i] for array in cost],
                )
    if len(found) < n:
        raise ValueError(
            f"Found {len(found)} of {n} distinct nets of {space.name} within {constraints} in "
            f"{draws} draws, of which {accepted} ({accepted / max(draws, 1):.3%}) met the "
            "constraints. Widen the constraints or the ranges, ask for fewer nets, or raise "
            "max_draws."
        )
    specs, parameters, rows, costs = (
        zip(*found.values()) if n else ((), (), np.zeros((0, 4 * space.stages)), np.zeros((0, 3)))
    )
    nets = Architectures(*np.split(np.array(rows), 4, axis=1))
    return Sample(space, specs, parameters, nets, Complexity(*np.array(costs).T), draws, accepted)


def acceptance_rate(space, constraints, draws=20_000, rng=None, *, image_size=224, classes=1000):
    """The share of a space's draws that meet constraints.

    Args:
        space, constraints, rng, image_size, classes: as in `sample`.
        draws: how many to make.
    """
    _check_space(space)
    draws = check_int(draws, "draws")
    windows, rng = _windows(constraints), check_generator(rng)
    sizes = [min(_CHUNK, draws - start) for start in range(0, draws, _CHUNK)]
    return (
        sum(len(_draw(space, size, windows, rng, image_size, classes)[1]) for size in sizes) / draws
    )


def _check_space(space):
    if not is_space(space):
        raise ValueError(
            f"`space` must be an AnyNetSpace or a RegNetSpace. Received: space={space!r}"
        )


def _draw(space, size, windows, rng, image_size, classes):
    """The drawn values, nets and costs of those among `size` draws that belong to the space and
    meet the constraints."""
    values = {name: choices.draw(rng, size) for name, choices in space.parameters.items()}
    nets, mask = space.decode(values)
    values, nets = {name: array[mask] for name, array in values.items()}, nets.take(mask)
    mask, cost = _mask(space, nets, windows, image_size, classes)
    values = {name: array[mask] for name, array in values.items()}
    return values, nets.take(mask), Complexity(*(array[mask] for array in cost))


def within(space, nets, constraints, image_size=224, classes=1000):
    """Returns a mask `(n,)` of the `Architectures` that meet constraints; arguments as in
    `sample`."""
    return _mask(space, nets, _windows(constraints), image_size, classes)[0]


def _mask(space, nets, windows, image_size, classes):
    cost = population_complexity(nets, space.se_ratio, space.stem_width, image_size, classes)
    mask = np.ones(len(nets), bool)
    for name, (low, high) in windows.items():
        mask &= (getattr(cost, name) >= low) & (getattr(cost, name) <= high)
    return mask, cost


def _windows(constraints):
    """Returns the checked `(low, high)` by name, with open ends infinite."""
    windows = {}
    if constraints is not None and not isinstance(constraints, dict):
        raise ValueError(
            "`constraints` must be a dict such as {'macs': (300e6, 500e6)} or None. Received: "
            f"constraints={constraints!r}"
        )
    for name, window in (constraints or {}).items():
        if name not in Complexity._fields:
            raise ValueError(
                f"Constraints are windows (low, high) on {list(Complexity._fields)}. Received: "
                f"{name!r}."
            )
        if not isinstance(window, (tuple, list)) or len(window) != 2:
            raise ValueError(
                f"A constraint is a window (low, high), with None for an open end. Received: "
                f"{name}={window!r}."
            )
        low, high = (_end(*each, name) for each in zip(window, (-np.inf, np.inf)))
        if low > high:
            raise ValueError(
                f"Expected low <= high, else nothing can meet the constraint. Received: "
                f"{name}={tuple(window)}."
            )
        windows[name] = (low, high)
    return windows


def _end(value, otherwise, name):
    """An end of a window; one that is open, or infinite, is `otherwise`."""
    if value is None or value in (-np.inf, np.inf):
        return otherwise
    return check_number(value, name)
