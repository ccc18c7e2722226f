"""The values of one parameter of a design space: a quantized range or a list of choices, with the
distribution from which it is drawn."""

from dataclasses import dataclass

import numpy as np

from ..checks import check_choice, check_int, check_number, check_numbers, plain, set_fields


@dataclass(frozen=True)
class Range:
    """The multiples of `quantum` from `low` to `high`, both included.

    Args:
        low, high: the ends, multiples of the quantum.
        quantum: step between neighboring values.
        scale: `"log"`: probability inversely proportional to the value (log-uniform); `"uniform"`:
            all equally likely.
        settings: how many distinguishable values count for the size of the space, if that is not
            the number of steps.

    Raises:
        ValueError: an empty range, ends not divisible by the quantum, an unknown scale, zero or
            less on a log scale.

    Example:

    >>> kdb.design.Range(8, 1024, 8).count
    128
    """

    low: float
    high: float
    quantum: float = 1
    scale: str = "log"
    settings: int | None = None

    def __post_init__(self):
        scale = check_choice(self.scale, "scale", ("log", "uniform"))
        above = 0 if scale == "log" else None  # a logarithm has no other
        checked = {
            "low": _number(self.low, "low", above=above),
            "high": _number(self.high, "high", least=plain(self.low)),
            "quantum": _number(self.quantum, "quantum", above=0),
            "settings": check_int(self.settings, "settings", optional=True),
        }
        set_fields(self, checked)
        for end in (self.low, self.high):
            if abs(end / self.quantum - round(end / self.quantum)) > 1e-6:
                raise ValueError(
                    f"The ends of a range must be multiples of its quantum {self.quantum}. "
                    f"Received: {self}"
                )

    @property
    def values(self):
        """Every value, ascending."""
        steps = np.arange(round(self.low / self.quantum), round(self.high / self.quantum) + 1)
        return steps if self.quantum == 1 else np.round(steps * self.quantum, 9)

    @property
    def count(self):
        """How many values count for the size of the space."""
        return self.settings or len(self.values)

    def draw(self, rng, n):
        """Draws `n` values with `rng`, a `numpy.random.Generator`."""
        if self.scale == "uniform":
            return self.values[rng.integers(len(self.values), size=n)]
        cumulative = np.cumsum(1 / self.values)
        return self.values[
            np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], n)).clip(
                max=len(cumulative) - 1
            )
        ]


def _number(value, name, **limits):
    """The number, as an int if it is whole, so that draws in whole steps are ints too."""
    value = check_number(value, name, **limits)
    return int(value) if value.is_integer() else value


@dataclass(frozen=True)
class Choice:
    """One of the `options`, each as likely as the others: `Choice((1, 2, 4))`; a single one is a
    constant.

    Raises:
        ValueError: no value, or a value twice.
    """

    options: tuple

    def __post_init__(self):
        options = check_numbers(self.options, "options")
        object.__setattr__(self, "options", tuple(plain(each) for each in self.options))
        if len(set(options)) < len(options):
            raise ValueError(f"`options` must be different. Received: options={self.options}")

    @property
    def values(self):
        """The choices as an array."""
        return np.array(self.options)

    @property
    def count(self):
        """The number of choices."""
        return len(self.options)

    def draw(self, rng, n):
        """Draws `n` values with `rng`, a `numpy.random.Generator`."""
        return self.values[rng.integers(self.count, size=n)]
