"""Design spaces as data: what may vary in a family of nets, in which range, and what must hold
between the stages.

The ladder AnyNetX_A to E, RegNet and its refinements are those of "Designing Network Design Spaces"
(https://arxiv.org/abs/2003.13678, sections 3 and 4); the Y forms add squeeze-and-excitation.
Deviation: where the paper gives no number for its inverted bottleneck (b < 1) we take the mirror of
its other ratios, 1/2 and 1/4.

Your own space is an existing one with a few fields changed:

>>> ranges = {"depth": kdb.design.Range(4, 16), "w_0": kdb.design.Range(8, 64, 8)}
>>> small = kdb.design.RegNetXSpace.derive("small", **ranges)
>>> wide = (lambda nets: nets.widths[:, -1] >= 512,)
>>> wide_end = kdb.design.AnyNetX_E.derive("wide_end", where=wide)
"""

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from keras_detblocks.backbones.anynet import AnyNetSpec
from keras_detblocks.backbones.regnet import RegNetSpec

from ..backbones.complexity import Architectures
from ..checks import check_int, check_number, set_fields
from .ranges import Choice, Range

_PER_STAGE = {
    "depths": "depth",
    "widths": "width",
    "bottleneck_ratios": "bottleneck_ratio",
    "group_widths": "group_width",
}


def is_space(value):
    """Whether a value is a space to draw nets from, and not the nets themselves: a `Sample` has
    `parameters` too."""
    return hasattr(value, "decode")


@dataclass(frozen=True)
class AnyNetSpace:
    """Nets whose stages are free up to the stated ties.

    Args:
        name: shown in reports.
        depths, widths, bottleneck_ratios, group_widths: `Range` or `Choice` of one stage's value.
        shared: which of the four have one value for all stages.
        increasing: which of the four never fall from a stage to the next; drawn by sorting.
        stages: their number.
        se_ratio, stem_width: the same for every net of the space.
        where: functions from `Architectures` to a mask `(n,)` of the nets that belong to the space.

    Raises:
        ValueError: `shared` or `increasing` names none of the four, or a value of another kind.
    """

    name: str
    depths: Range | Choice = Range(1, 16)
    widths: Range | Choice = Range(8, 1024, 8)
    bottleneck_ratios: Range | Choice = Choice((1, 2, 4))
    group_widths: Range | Choice = Choice((1, 2, 4, 8, 16, 32))
    shared: tuple = ()
    increasing: tuple = ()
    stages: int = 4
    se_ratio: float = 0.0
    stem_width: int = 32
    where: tuple = ()

    def __post_init__(self):
        _check(self, _PER_STAGE)
        unknown = {*self.shared, *self.increasing} - set(_PER_STAGE)
        if unknown:
            raise ValueError(
                f"shared and increasing take names among {sorted(_PER_STAGE)}. Received: "
                f"{sorted(unknown)}."
            )

    def derive(self, name, **changes):
        """The space with changed fields and a new `name`."""
        return replace(self, name=name, **changes)

    @property
    def parameters(self):
        """The ranges to draw from, by name: `depth_1` and so on if the stages differ, `depth` if
        they share a value."""
        drawn = {}
        for field, name in _PER_STAGE.items():
            names = (
                [name]
                if field in self.shared
                else [f"{name}_{stage + 1}" for stage in range(self.stages)]
            )
            drawn |= dict.fromkeys(names, getattr(self, field))
        return drawn

    @property
    def size(self):
        """The number of nets in the space, counted as in the paper: an increasing field divides by
        `stages!`."""
        total = math.prod(choices.count for choices in self.parameters.values())
        return total / math.factorial(self.stages) ** len(set(self.increasing) - set(self.shared))

    def decode(self, values):
        """Makes nets from drawn `values` (arrays `(n,)` by parameter name), and tells which of them
        belong to the space."""
        stacked = [self._stack(values, field, name) for field, name in _PER_STAGE.items()]
        nets = fit_groups(*stacked)
        return nets, _holds(self.where, nets)

    def _stack(self, values, field, name):
        if field in self.shared:
            return np.repeat(np.asarray(values[name])[:, None], self.stages, axis=1)
        stacked = np.stack([values[f"{name}_{stage + 1}"] for stage in range(self.stages)], axis=1)
        return np.sort(stacked, axis=1) if field in self.increasing else stacked

    def spec(self, values, nets, index):
        """The spec of the net at `index` of `nets`, which `decode` made of drawn `values`."""
        per_stage = (_plain(getattr(nets, field)[index]) for field in _PER_STAGE)
        return AnyNetSpec(*per_stage, se_ratio=self.se_ratio, stem_width=self.stem_width)


@dataclass(frozen=True)
class RegNetSpace:
    """Nets whose block widths follow a quantized line; only draws that give exactly `stages` stages
    belong to it.

    Args:
        name: shown in reports.
        depth, w_0, w_a, w_m, group_width, bottleneck_ratio: `Range` or `Choice` of each parameter
            of `RegNetSpec`.
        stages, se_ratio, stem_width, where: as in `AnyNetSpace`.

    Raises:
        ValueError: on a value of another kind.
    """

    name: str
    depth: Range | Choice = Range(1, 63, settings=64)
    w_0: Range | Choice = Range(8, 256, 8, settings=64)
    w_a: Range | Choice = Range(8, 256, 0.1, settings=64)
    w_m: Range | Choice = Range(1.5, 3, 0.001, settings=64)
    group_width: Range | Choice = Choice((1, 2, 4, 8, 16, 32))
    bottleneck_ratio: Range | Choice = Choice((1, 2, 4))
    stages: int = 4
    se_ratio: float = 0.0
    stem_width: int = 32
    where: tuple = ()

    def __post_init__(self):
        _check(self, self.parameters)

    def derive(self, name, **changes):
        """The space with changed fields and a new `name`."""
        return replace(self, name=name, **changes)

    @property
    def parameters(self):
        """The ranges to draw from, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)[1:7]}

    @property
    def size(self):
        """The number of settings in the space; the paper counts 64 for each of depth, w_0, w_a and
        w_m."""
        return float(math.prod(choices.count for choices in self.parameters.values()))

    def decode(self, values):
        """Makes nets from drawn `values` (arrays `(n,)` by parameter name), and tells which of them
        have the right number of stages."""
        depths, widths, valid = quantized_stages(
            values["depth"], values["w_0"], values["w_a"], values["w_m"], self.stages
        )
        tied = (
            np.repeat(np.asarray(values[name])[:, None], self.stages, axis=1)
            for name in ("bottleneck_ratio", "group_width")
        )
        nets = fit_groups(depths, widths, *tied)
        return nets, valid & _holds(self.where, nets)

    def spec(self, values, nets, index):
        """The spec of the draw at `index` of `values` and of the `nets` that `decode` made of
        them."""
        drawn = {name: _plain(values[name][index]) for name in self.parameters}
        return RegNetSpec(**drawn, se_ratio=self.se_ratio, stem_width=self.stem_width)


def quantized_stages(depth, w_0, w_a, w_m, stages=4):
    """Applies the generation rule of RegNet to many settings at once, in float64 with half-to-even
    rounding.

    Args:
        depth, w_0, w_a, w_m: arrays `(n,)`.
        stages: the number wanted.

    Returns:
        Depths and widths `(n, stages)` before the group fix, and a mask `(n,)` of the settings that
        give exactly `stages` stages without skipping an exponent; the rows of the others are ones.
    """
    depth, w_0, w_a, w_m = (np.asarray(x)[:, None] for x in (depth, w_0, w_a, w_m))
    block = np.arange(depth.max(initial=1))
    exponents = np.rint(np.log((w_0 + w_a * block) / w_0) / np.log(w_m))
    widths = (8 * np.rint(w_0 * w_m**exponents / 8)).astype(np.int64)
    exists = block < depth
    first = exists & np.diff(widths, axis=1, prepend=0).astype(bool)
    valid = (first.sum(axis=1) == stages) & (
        np.where(exists, exponents, 0).max(axis=1) == stages - 1
    )
    out_depths, out_widths = (np.ones((len(depth), stages), np.int64) for _ in range(2))
    out_widths[valid] = widths[valid][first[valid]].reshape(-1, stages)
    starts = np.nonzero(first[valid])[1].reshape(-1, stages)
    out_depths[valid] = np.diff(np.concatenate([starts, depth[valid]], axis=1), axis=1)
    return out_depths, out_widths, valid


def fit_groups(depths, widths, bottleneck_ratios, group_widths):
    """Applies the group fix of RegNet and AnyNet: groups are no wider than the inner width, which
    is rounded to a multiple of them.

    Args:
        depths, widths, bottleneck_ratios, group_widths: arrays `(n, stages)` as drawn.

    Returns:
        `Architectures` that can be built.
    """
    inner = np.maximum(1, (widths / bottleneck_ratios).astype(np.int64))
    groups = np.minimum(group_widths, inner).astype(np.int64)
    expansion = np.maximum(1, np.rint(1 / np.asarray(bottleneck_ratios, np.float64))).astype(
        np.int64
    )
    quantum = np.lcm(groups, expansion)
    inner = np.maximum(quantum, (quantum * np.rint(inner / quantum)).astype(np.int64))
    return Architectures(
        depths.astype(np.int64),
        np.rint(inner * bottleneck_ratios).astype(np.int64),
        bottleneck_ratios,
        groups,
    )


def complexity_bounds(macs):
    """The constrained RegNet's upper bounds for a compute budget: parameters below 3 + 5.5 F
    million and activations below 6.5 sqrt(F) million at F billion multiply-adds.

    Args:
        macs: the multiply-adds.

    Returns:
        A dict to merge into the `constraints` of `sample`.
    """
    billions = check_number(macs, "macs", above=0) / 1e9
    return {
        "params": (None, (3 + 5.5 * billions) * 1e6),
        "activations": (None, 6.5 * math.sqrt(billions) * 1e6),
    }


def _check(space, drawn):
    """Brings the numbers of a space into Python's types; `drawn` are the names of its ranges."""
    for name in drawn:
        if not isinstance(getattr(space, name), (Range, Choice)):
            raise ValueError(
                f"`{name}` must be a Range or a Choice, such as Choice((1, 2)). Received: "
                f"{name}={getattr(space, name)!r}"
            )
    fixed = {
        "stages": check_int(space.stages, "stages"),
        "se_ratio": check_number(space.se_ratio, "se_ratio", least=0, most=1),
        "stem_width": check_int(space.stem_width, "stem_width"),
    }
    set_fields(space, fixed)


def _holds(where, nets):
    mask = np.ones(len(nets), bool)
    for condition in where:
        mask &= condition(nets)
    return mask


def _plain(value):
    """The value as a Python number, or a tuple for an array."""
    value = value.tolist()
    return tuple(value) if isinstance(value, list) else value


AnyNetX_A = AnyNetSpace("AnyNetX_A")
"""The paper's first space: four stages, each with a depth, width, bottleneck ratio and group width
of its own."""
AnyNetX_B = AnyNetX_A.derive("AnyNetX_B", shared=("bottleneck_ratios",))
"""`AnyNetX_A` with one bottleneck ratio for all stages."""
AnyNetX_C = AnyNetX_B.derive("AnyNetX_C", shared=("bottleneck_ratios", "group_widths"))
"""`AnyNetX_B` with one group width for all stages."""
AnyNetX_D = AnyNetX_C.derive("AnyNetX_D", increasing=("widths",))
"""`AnyNetX_C` with widths that never fall."""
AnyNetX_E = AnyNetX_D.derive("AnyNetX_E", increasing=("widths", "depths"))
"""`AnyNetX_D` with depths that never fall."""
AnyNetY_A = AnyNetX_A.derive("AnyNetY_A", se_ratio=0.25)
"""`AnyNetX_A` with squeeze-and-excitation."""
AnyNetY_B = AnyNetX_B.derive("AnyNetY_B", se_ratio=0.25)
"""`AnyNetX_B` with squeeze-and-excitation."""
AnyNetY_C = AnyNetX_C.derive("AnyNetY_C", se_ratio=0.25)
"""`AnyNetX_C` with squeeze-and-excitation."""
AnyNetY_D = AnyNetX_D.derive("AnyNetY_D", se_ratio=0.25)
"""`AnyNetX_D` with squeeze-and-excitation."""
AnyNetY_E = AnyNetX_E.derive("AnyNetY_E", se_ratio=0.25)
"""`AnyNetX_E` with squeeze-and-excitation."""
RegNetXSpace = RegNetSpace("RegNetX")
"""Nets whose block widths follow a quantized line."""
RegNetYSpace = RegNetXSpace.derive("RegNetY", se_ratio=0.25)
"""`RegNetXSpace` with squeeze-and-excitation."""
_REFINED = {
    "depth": Range(12, 28, scale="uniform"),
    "w_m": Range(2, 3, 0.001),
    "group_width": Choice((8, 16, 32)),
    "bottleneck_ratio": Choice((1,)),
}
RegNetX_constrained = RegNetXSpace.derive("RegNetX_constrained", **_REFINED)
"""`RegNetXSpace` within the paper's final limits: depth 12 to 28, w_m from 2, no bottleneck."""
RegNetY_constrained = RegNetYSpace.derive("RegNetY_constrained", **_REFINED)
"""`RegNetX_constrained` with squeeze-and-excitation."""
RegNetX_inverted = RegNetX_constrained.derive(
    "RegNetX_inverted", bottleneck_ratio=Choice((0.5, 0.25))
)
"""`RegNetX_constrained` with inverted bottlenecks, whose inner width is the larger one."""
RegNetX_depthwise = RegNetX_constrained.derive("RegNetX_depthwise", group_width=Choice((1,)))
"""`RegNetX_constrained` with depthwise convolutions."""

SPACES = {
    value.name: value
    for value in list(vars().values())
    if isinstance(value, (AnyNetSpace, RegNetSpace))
}
"""Every space of this module by its name."""
