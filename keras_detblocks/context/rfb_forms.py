"""The forms of the Receptive Field Block as data: the published ones by name, and custom ones."""

from dataclasses import dataclass
from typing import NamedTuple

from ..checks import did_you_mean, is_int


class Width(NamedTuple):
    """The filters of a convolution, as a share of q, the input channels over `reduction`."""

    times: int = 1
    over: int = 1

    def of(self, q):
        """`times * (q // over)`: the authors' integer arithmetic."""
        return self.times * (q // self.over)


class Dilation(NamedTuple):
    """The dilation of a convolution, which may grow with the block's `visual`."""

    per_visual: int = 0
    plus: int = 1

    def of(self, visual):
        """`per_visual * visual + plus`."""
        return self.per_visual * visual + self.plus


class Unit(NamedTuple):
    """One convolution of a branch. Plain tuples of the same values are accepted too, so that
    branches can be stored in a config.

    Attributes:
        kernel: int or pair, odd, so that the branches' maps are of one size.
    width: a `Width`, or (times, over).
    dilation: a `Dilation`, or (per_visual, plus).
    strided: whether it has the block's strides: once in every branch.
    activation: whether an activation follows.
    depthwise: one group per channel (the width is then the input's).
    """

    kernel: int | tuple
    width: tuple = Width()
    dilation: tuple = Dilation()
    strided: bool = False
    activation: bool = True
    depthwise: bool = False


@dataclass(frozen=True)
class RFBSpec:
    """A form of the block. `shortcut`: "conv", "identity", "identity if equal" (a convolution if
    channels differ) or None."""

    branches: tuple
    reduction: int = 8
    visual: int = 1
    shortcut: str | None = "conv"
    linear: bool = True  # the 1x1 convolution after the concatenation
    normalized: bool = True
    first: int = 0  # number of the first branch in the reference's keys
    any_stride: bool = True


Q, Q2, Q3, HALF, THREE = Width(), Width(2), Width(3, over=2), Width(over=2), Width(3, over=4)


def _last(width, dilation, depthwise=False):
    """The dilated 3x3, without activation, in which a branch ends."""
    dilation = dilation if isinstance(dilation, Dilation) else Dilation(plus=dilation)
    return Unit(3, width, dilation, activation=False, depthwise=depthwise)


def _plain(dilation):
    return (Unit(1, Q2, strided=True), _last(Q2, dilation))


def _one(dilation):
    return (Unit(1, Q), Unit(3, Q2, strided=True), _last(Q2, dilation))


def _two(dilation):
    return (Unit(1, Q), Unit(3, Q3), Unit(3, Q2, strided=True), _last(Q2, dilation))


_SEVEN = (Unit(1, Q), Unit((1, 7), Q3), Unit((7, 1), Q2, strided=True), _last(Q2, 7))


def _small(kernel, dilation, depthwise=False):
    return (Unit(1, Q), Unit(kernel, Q), _last(Q, dilation, depthwise))


def _thin(first, second, dilation, depthwise=False):
    return (Unit(1, HALF), Unit(first, THREE), Unit(second, Q), _last(Q, dilation, depthwise))


def _small_branches(depthwise):
    plain = (Unit(1, Q), _last(Q, 1, depthwise))
    return (
        plain,
        _small((3, 1), 3, depthwise),
        _small((1, 3), 3, depthwise),
        _thin((1, 3), (3, 1), 5, depthwise),
    )


_LINEAR = Unit(1, Q, activation=False)
_ASFF = dict(activation=False)

PRESETS = {
    # The authors' code for VGG, RFB_Net_vgg.py: BasicRFB and BasicRFB_a.
    "rfb": RFBSpec(
        (_plain(Dilation(1, plus=0)), _one(Dilation(1, plus=1)), _two(Dilation(2, plus=1))),
        visual=2,
    ),
    "rfb_s": RFBSpec(_small_branches(False), reduction=4, any_stride=False),
    # Fig. 4 (a) of the paper, with the code's widths.
    "rfb_paper": RFBSpec(
        (
            (Unit(1, Q2, strided=True), _last(Q2, 1)),
            _one(3),
            (Unit(1, Q), Unit(5, Q2, strided=True), _last(Q2, 5)),
        )
    ),
    # RFB_Net_E_vgg.py: BasicRFB, BasicRFB_c and BasicRFB_a, whose `map_reduce` is our `reduction`.
    "rfb_e": RFBSpec((_plain(1), _one(3), _two(5), _SEVEN)),
    "rfb_e_light": RFBSpec((_plain(1), _one(3), _SEVEN)),
    "rfb_e_s": RFBSpec(
        (
            (Unit(1, Q), _last(Q, 1)),
            *(_small(kernel, dilation) for dilation in (3, 5) for kernel in ((3, 1), (1, 3))),
            _thin((1, 3), (3, 1), 7),
            _thin((3, 1), (1, 3), 7),
        ),
        any_stride=False,
    ),
    # RFB_Net_mobile.py: the dilated convolutions are depthwise. They are exported as grouped
    # CONV_2Ds.
    "rfb_mobile": RFBSpec(
        (
            (Unit(1, Q), Unit((1, 3), Q3), Unit((3, 1), Q3, strided=True), _last(Q3, 3, True)),
            (Unit(1, Q), Unit(3, Q3), Unit(3, Q3, strided=True), _last(Q3, 5, True)),
        ),
        shortcut="identity if equal",
        first=1,
    ),
    "rfb_s_mobile": RFBSpec(
        _small_branches(True), reduction=4, shortcut="identity", any_stride=False
    ),
    # Ultra-Light-Fast-Generic-Face-Detector's: only 3x3 branches; its `vision` is our `visual`.
    "rfb_light": RFBSpec(
        (
            (_LINEAR, Unit(3, Q2, strided=True), _last(Q2, Dilation(1, plus=1))),
            (_LINEAR, Unit(3, Q2, strided=True), _last(Q2, Dilation(1, plus=2))),
            (_LINEAR, Unit(3, Q3), Unit(3, Q2, strided=True), _last(Q2, Dilation(1, plus=4))),
        )
    ),
    # GOATmessi8/ASFF's: convolutions with only a bias, concatenated.
    "asff": RFBSpec(
        (
            (Unit(1, **_ASFF),),
            (Unit(1, **_ASFF), Unit(3, **_ASFF)),
            (Unit(1, **_ASFF), Unit(3, **_ASFF), _last(Q, 2)),
            (Unit(1, **_ASFF), Unit(5, **_ASFF), _last(Q, 3)),
        ),
        reduction=4,
        shortcut=None,
        linear=False,
        normalized=False,
        any_stride=False,
    ),
}


def preset(name):
    """The published form with this name."""
    if name not in PRESETS:
        raise ValueError(
            f"`branches` must be one of {', '.join(PRESETS)}, or a tuple of branches. "
            f"{did_you_mean(name, PRESETS, 1)}Received: branches={name!r}"
        )
    return PRESETS[name]


def by_hand(branches):
    """The form with branches given as plain values: a tuple of branches, each a tuple of
    convolutions, each given by the values of `Unit`."""
    made = _as_branches(branches)
    return RFBSpec(
        made, any_stride=all(sum(unit.strided for unit in branch) == 1 for branch in made)
    )


def _as_branches(branches):
    """Makes branches of `Unit`s from plain values."""
    if not isinstance(branches, tuple) or not all(isinstance(branch, tuple) for branch in branches):
        raise ValueError(
            "`branches` must be a preset's name or a tuple of branches, each a tuple of "
            "convolutions such as (3, (2, 1), (0, 3)): kernel, width, dilation. Received: "
            f"branches={branches!r}"
        )
    if not branches or not all(branches):
        raise ValueError(
            f"`branches` needs at least one branch, and each at least one convolution. Received: "
            f"branches={branches!r}"
        )
    return tuple(
        tuple(_as_unit(values, f"branches[{i}][{j}]") for j, values in enumerate(b))
        for i, b in enumerate(branches)
    )


def _as_unit(values, where):
    """Makes a `Unit` from plain values."""
    if not isinstance(values, tuple) or not 1 <= len(values) <= len(Unit._fields):
        raise ValueError(
            f"Each convolution of `branches` must be a tuple of 1 to {len(Unit._fields)} values, "
            f"{', '.join(Unit._fields)}, such as (3,) or (3, (2, 1), (0, 3)). Received: "
            f"{where}={values!r}"
        )
    unit = Unit(*values)
    for name, (valid, expected) in _RULES.items():
        if not valid(getattr(unit, name)):
            raise ValueError(
                f"`{name}` in `branches` must be {expected}. Received: "
                f"{name}={getattr(unit, name)!r} in {where}={values!r}"
            )
    return unit._replace(width=Width(*unit.width), dilation=Dilation(*unit.dilation))


def _is_pair(value, *least):
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(is_int(v, low) for v, low in zip(value, least))
    )


def _is_kernel(value):
    pair = value if isinstance(value, tuple) else (value, value)
    return _is_pair(pair, 1, 1) and all(k % 2 for k in pair)


def _is_bool(value):
    return isinstance(value, bool)


# What the values of a convolution must be, with the remedy for messages.
_RULES = {
    "kernel": (_is_kernel, "an odd int or a pair of them, such as 3 or (1, 3)"),
    "width": (
        lambda v: _is_pair(v, 1, 1),
        "a pair (a, b) of ints of at least 1, for a * (q // b) filters: (2, 1) for twice q",
    ),
    "dilation": (
        lambda v: _is_pair(v, 0, 0) and any(v),
        "a pair (a, b) of ints of at least 0, not both 0, for a * visual + b: (0, 3) for dilation "
        "3",
    ),
    "strided": (_is_bool, "True or False"),
    "activation": (_is_bool, "True or False"),
    "depthwise": (_is_bool, "True or False"),
}
