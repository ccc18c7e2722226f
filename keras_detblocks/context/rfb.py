"""Receptive Field Block (https://arxiv.org/abs/1711.07767): branches of small kernels, each ending in a dilated one.

Numbers agree with the authors' code, ruinmessi/RFBNet, which differs from the paper's Fig. 4: its dilations are v, v + 1 and
2v + 1 for the setting `visual` v (2 in RFBNet: 2, 3, 5), and RFB-s factorises a further branch. The branches are data.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import keras
from keras import ops

from ..layers import ConvNormAct, activation_layer
from ..weights import Layout, torch_key
from .checks import check_count, check_map, who


class Unit(NamedTuple):
    """One convolution of a branch; as plain values, so that branches can be written by hand and stored in a config.

    kernel: int or pair.
    width: (a, b) for a * (q // b) filters, where q is the input channels over `reduction`.
    dilation: (a, b) for a * visual + b.
    strided: whether the block's strides are here: once in every branch.
    activation: whether an activation follows. depthwise: one group per channel (the width is then the input's).
    """

    kernel: int | tuple
    width: tuple = (1, 1)
    dilation: tuple = (0, 1)
    strided: bool = False
    activation: bool = True
    depthwise: bool = False


@dataclass(frozen=True)
class RFBSpec:
    """A form of the block. `shortcut`: "conv", "identity", "identity if equal" (a convolution where channels differ) or None."""

    branches: tuple
    reduction: int = 8
    visual: int = 1
    shortcut: str | None = "conv"
    linear: bool = True  # the 1x1 convolution after the concatenation
    normalization: str | None = "batch"
    first: int = 0  # number of the first branch in the reference's key names
    any_stride: bool = True


Q, Q2, Q3, HALF, THREE = (1, 1), (2, 1), (3, 2), (1, 2), (3, 4)  # q, 2q, 3(q // 2), q // 2, 3(q // 4)


def _last(width, dilation, depthwise=False):
    """The dilated 3x3, without activation, in which a branch ends."""
    return Unit(3, width, dilation if isinstance(dilation, tuple) else (0, dilation), activation=False, depthwise=depthwise)


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
    "rfb": RFBSpec((_plain((1, 0)), _one((1, 1)), _two((2, 1))), visual=2),
    "rfb_s": RFBSpec(_small_branches(False), reduction=4, any_stride=False),
    # Fig. 4 (a) of the paper, with the code's widths.
    "rfb_paper": RFBSpec(
        ((Unit(1, Q2, strided=True), _last(Q2, 1)), _one(3), (Unit(1, Q), Unit(5, Q2, strided=True), _last(Q2, 5)))
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
    # RFB_Net_mobile.py: the dilated convolutions are depthwise.
    "rfb_mobile": RFBSpec(
        (
            (Unit(1, Q), Unit((1, 3), Q3), Unit((3, 1), Q3, strided=True), _last(Q3, 3, True)),
            (Unit(1, Q), Unit(3, Q3), Unit(3, Q3, strided=True), _last(Q3, 5, True)),
        ),
        shortcut="identity if equal",
        first=1,
    ),
    "rfb_s_mobile": RFBSpec(_small_branches(True), reduction=4, shortcut="identity", any_stride=False),
    # Ultra-Light-Fast-Generic-Face-Detector's: 3x3 branches only, `vision` is our `visual`.
    "rfb_light": RFBSpec(
        (
            (_LINEAR, Unit(3, Q2, strided=True), _last(Q2, (1, 1))),
            (_LINEAR, Unit(3, Q2, strided=True), _last(Q2, (1, 2))),
            (_LINEAR, Unit(3, Q3), Unit(3, Q2, strided=True), _last(Q2, (1, 4))),
        )
    ),
    # GOATmessi8/ASFF's: convolutions with bias and nothing else, concatenated.
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
        normalization=None,
        any_stride=False,
    ),
}


@keras.saving.register_keras_serializable(package="keras_detblocks")
class RFB(keras.layers.Layer):
    """Receptive Field Block: branches with growing kernels and dilations, concatenated, projected, added to a shortcut.

    Paper: https://arxiv.org/abs/1711.07767

    Args:
        filters: output channels.
        branches: a preset's name, or the branches: a tuple of branches, each a tuple of convolutions, each the values of
            `rfb.Unit`. Presets: `"rfb"` and `"rfb_s"` (RFBNet), `"rfb_paper"` (the paper's figure), `"rfb_e"`, `"rfb_e_light"`,
            `"rfb_e_s"` (RFBNet-E), `"rfb_mobile"`, `"rfb_s_mobile"` (RFBNet mobile, depthwise), `"rfb_light"` (3x3 branches, made
            for grouping), `"asff"` (ASFF's block: no normalisation, no projection, no shortcut).
        strides: of the block; output sides are rounded up.
        scale: of the main path before the shortcut is added. The code's default is 0.1, but every published network has 1.
        visual: the shift of the dilations; `None` for the preset's (RFBNet: 2, and 1 in its last two blocks at 512).
        reduction: input channels over the width of a branch; `None` for the preset's (8 or 4), `map_reduce` in the code.
        groups: of the branches' convolutions.
        activation: a name.

    Input shape `(B, H, W, C)`, output shape `(B, ceil(H / strides), ceil(W / strides), filters)`.

    Raises:
        ValueError: on an unknown preset, strides of a form that has none, channels too few, or not divisible by the groups.

    >>> tuple(RFB(32, strides=2)(keras.ops.ones((1, 13, 10, 64))).shape)
    (1, 7, 5, 32)
    """

    def __init__(
        self,
        filters,
        branches="rfb",
        strides=1,
        scale=1.0,
        visual=None,
        reduction=None,
        groups=1,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_count(filters, "filters")
        check_count(strides, "strides")
        check_count(visual, "visual", optional=True)
        check_count(reduction, "reduction", optional=True)
        check_count(groups, "groups")
        self.filters = filters
        self.branches = _as_tuples(branches)
        self.strides = strides
        self.scale = scale
        self.visual = visual
        self.reduction = reduction
        self.groups = groups
        self.activation = activation
        self.spec = self._spec()
        self.act = activation_layer(activation, name="act", dtype=self.dtype_policy)
        self.units, self.linear, self.shortcut = [], None, None

    def _spec(self):
        if self.branches in PRESETS:
            spec = PRESETS[self.branches]
        elif isinstance(self.branches, str):
            raise ValueError(f"`branches` must be one of {', '.join(PRESETS)}, or a tuple of branches. Received: {self.branches!r}")
        else:
            made = _as_branches(self.branches)
            spec = RFBSpec(made, any_stride=all(sum(unit.strided for unit in branch) == 1 for branch in made))
        if self.strides > 1 and not spec.any_stride:
            raise ValueError(
                f"These branches work at stride 1 only, as published; use branches='rfb', or mark one strided unit in every "
                f"branch. Received: branches={self.branches!r}, strides={self.strides}"
            )
        return replace(spec, visual=self.visual or spec.visual, reduction=self.reduction or spec.reduction)

    def build(self, input_shape):
        shape = check_map(input_shape, self)
        self.units = [self._branch(i, branch, shape) for i, branch in enumerate(self.spec.branches, self.spec.first)]
        width = sum(branch[-1].filters for branch in self.units)
        inside = (*self.units[0][-1].compute_output_shape(self._before_last(self.units[0], shape))[:3], width)
        if self.spec.linear:
            self.linear = self._unit("linear", self.filters, activation=None)
            self.linear.build(inside)
        elif width != self.filters:
            raise ValueError(
                f"{who(self)} has no projection, so `filters` must be the width of its branches together, {width} for "
                f"{shape[-1]} input channels. Received: filters={self.filters}"
            )
        self._build_shortcut(shape)

    def _build_shortcut(self, shape):
        fits = shape[-1] == self.filters and self.strides == 1
        if self.spec.shortcut == "identity" and not fits:
            raise ValueError(
                f"{who(self)} adds its input unchanged: expected filters={shape[-1]}, the input's channels, and strides=1. "
                f"Received: filters={self.filters}, strides={self.strides}"
            )
        if self.spec.shortcut == "conv" or (self.spec.shortcut == "identity if equal" and not fits):
            self.shortcut = self._unit("shortcut", self.filters, strides=self.strides, activation=None)
            self.shortcut.build(shape)

    def _branch(self, index, branch, shape):
        """The built convolutions of one branch."""
        units, width = [], shape[-1] // self.spec.reduction
        for position, unit in enumerate(branch):
            filters = shape[-1] if unit.depthwise else unit.width[0] * (width // unit.width[1])
            self._check_width(filters, shape[-1], unit)
            layer = self._unit(
                f"branch{index}_{position}",
                filters,
                unit.kernel,
                strides=self.strides if unit.strided else 1,
                dilation_rate=unit.dilation[0] * self.spec.visual + unit.dilation[1],
                groups=filters if unit.depthwise else self.groups,
                activation=self.activation if unit.activation else None,
            )
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            units.append(layer)
        return units

    def _check_width(self, filters, channels, unit):
        if filters == 0:
            raise ValueError(
                f"{who(self)} with reduction={self.spec.reduction} is too narrow: expected more input channels, or a smaller "
                f"`reduction`, so that every branch has a channel. Received: {channels} channels before {unit}"
            )
        if not unit.depthwise and (channels % self.groups or filters % self.groups):
            raise ValueError(
                f"{who(self)}: the groups must divide the channels of every convolution of the branches. Received: "
                f"groups={self.groups} for {channels} -> {filters} channels; use groups=1 or another number of input channels"
            )

    @staticmethod
    def _before_last(units, shape):
        for unit in units[:-1]:
            shape = unit.compute_output_shape(shape)
        return shape

    def _unit(self, name, filters, kernel_size=1, **options):
        options = {"normalization": self.spec.normalization, "kernel_initializer": "he_normal", **options}
        return ConvNormAct(filters, kernel_size, name=name, dtype=self.dtype_policy, **options)

    def call(self, x, training=None):
        check_map(x.shape, self)
        maps = []
        for branch in self.units:
            y = x
            for unit in branch:
                y = unit(y, training=training)
            maps.append(y)
        y = ops.concatenate(maps, axis=-1)
        if self.linear is not None:
            y = self.linear(y, training=training)
        if self.spec.shortcut is None:
            return y
        y = y if self.scale == 1.0 else y * self.scale
        return self.act(y + (x if self.shortcut is None else self.shortcut(x, training=training)))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "branches": self.branches,
            "strides": self.strides,
            "scale": self.scale,
            "visual": self.visual,
            "reduction": self.reduction,
            "groups": self.groups,
            "activation": self.activation,
        }

    def weight_layouts(self):
        if self.spec.normalization is None:
            return [Layout("ASFF authors", torch_key((r"^branch(\d+)_(\d+)/conv/", r"branch_\1.\2/")))]
        rules = (r"^branch(\d+)_(\d+)/", r"branch\1.\2/"), (r"^linear/", "ConvLinear/"), (r"/norm/", "/bn/")
        return [Layout("RFBNet authors", torch_key(*rules))]


@keras.saving.register_keras_serializable(package="keras_detblocks")
class RFBs(RFB):
    """RFB-s, the small block for shallow maps: four branches of 3x1, 1x3 and 3x3 kernels, at stride 1.

    Paper: https://arxiv.org/abs/1711.07767. `RFB` with `branches="rfb_s"`; the arguments are described there.

    Input shape `(B, H, W, C)`, output shape `(B, H, W, filters)`.

    >>> tuple(RFBs(32)(keras.ops.ones((1, 13, 10, 64))).shape)
    (1, 13, 10, 32)
    """

    def __init__(self, filters, branches="rfb_s", strides=1, scale=1.0, visual=None, reduction=None, groups=1, **kwargs):
        super().__init__(filters, branches, strides, scale, visual, reduction, groups, **kwargs)


def _as_tuples(value):
    """The value with tuples for lists, which JSON gives back."""
    return tuple(_as_tuples(v) for v in value) if isinstance(value, (tuple, list)) else value


def _as_branches(branches):
    """Branches of `Unit`s from plain values."""
    try:
        made = tuple(tuple(Unit(*unit) for unit in branch) for branch in branches)
    except TypeError as error:
        raise ValueError(
            f"`branches` must be a preset's name or a tuple of branches, each a tuple of convolutions such as "
            f"(3, (2, 1), (0, 3)): kernel, width, dilation. Received: {branches!r}"
        ) from error
    if not made or not all(made):
        raise ValueError(f"`branches` needs at least one branch, and each at least one convolution. Received: {branches!r}")
    return made
