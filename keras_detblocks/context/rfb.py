"""Receptive Field Block (https://arxiv.org/abs/1711.07767): branches of small kernels, each ending
in a dilated one.

Numbers agree with the authors' code, ruinmessi/RFBNet, which differs from the paper's Fig. 4: for
the setting `visual` v (2 in RFBNet) its dilations are v, v + 1 and 2v + 1 (2, 3, 5), and RFB-s
factorizes one more branch. The branches are data.
"""

from dataclasses import replace

import keras
from keras import ops

from ..checks import check_int, check_number, is_int, who
from ..layers import activation_layer
from ..layers.activation import check_activation
from .base import ContextBlock, check_map, in_turn
from .rfb_forms import PRESETS, Unit, by_hand, preset

__all__ = ["PRESETS", "RFB", "RFBs", "Unit"]


@keras.saving.register_keras_serializable(package="keras_detblocks")
class RFB(ContextBlock):
    """Receptive Field Block: branches with growing kernels and dilations, concatenated, projected,
    added to a shortcut.

    Paper: https://arxiv.org/abs/1711.07767

    Args:
        filters: output channels.
        branches: a preset's name, or a tuple of branches, each a tuple of convolutions, each given
            by the values of `context.rfb.Unit`. Presets: `"rfb"` and `"rfb_s"` (RFBNet),
            `"rfb_paper"` (the paper's figure), `"rfb_e"`, `"rfb_e_light"`, `"rfb_e_s"` (RFBNet-E),
            `"rfb_mobile"`, `"rfb_s_mobile"` (RFBNet mobile, depthwise), `"rfb_light"` (3x3
            branches, made for grouping), `"asff"` (ASFF's block: no normalization, no projection,
            no shortcut). The mobile ones' dilated depthwise convolutions are exported as grouped
            CONV_2Ds: as fast as DEPTHWISE_CONV_2D in TFLite with XNNPACK, but 12 to 18 times slower
            with TFLite's builtin kernels (20 x 20 x 256).
        strides: of the block; output sides are rounded up.
        scale: of the main path before the shortcut is added. The code's default is 0.1, but every
            published network has 1.
        visual: the shift of the dilations, for presets that have one (`"rfb"`, `"rfb_light"`);
            `None` for the preset's own (RFBNet: 2, and 1 in its last two blocks at 512).
        reduction: input channels over the width of a branch, `map_reduce` in the authors' code;
            `None` for the preset's own (8 or 4).
        groups: of the branches' convolutions.
        activation: a name.

    Input shape `(B, H, W, C)`, output shape `(B, ceil(H / strides), ceil(W / strides), filters)`.
    `kdb.weights.load` knows the authors' names, and `{conv,bn}` of the `ConvNormAct`s in RFBNet's
    tail.

    Raises:
        ValueError: on an unknown preset, branches that are not as described, strides, `visual` or a
            scale for a form without them, too few channels, or channels not divisible by the
            groups.

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
        self.filters = check_int(filters, "filters")
        self.branches = _as_tuples(branches)
        self.strides = check_int(strides, "strides")
        self.scale = check_number(scale, "scale", least=0)
        self.visual = check_int(visual, "visual", optional=True)
        self.reduction = check_int(reduction, "reduction", optional=True)
        self.groups = check_int(groups, "groups")
        self.activation = check_activation(activation)
        self.spec = self._spec()
        self.act = activation_layer(activation, name="act", dtype=self.dtype_policy)
        self.units, self.linear, self.shortcut = [], None, None

    def _spec(self):
        spec = preset(self.branches) if isinstance(self.branches, str) else by_hand(self.branches)
        if self.visual is not None and not any(
            unit.dilation.per_visual for branch in spec.branches for unit in branch
        ):
            raise ValueError(
                "The dilations of these branches do not depend on `visual`: leave it at None, or "
                f"use branches='rfb'. Received: branches={self.branches!r}, visual={self.visual}"
            )
        if spec.shortcut is None and self.scale != 1.0:
            raise ValueError(
                "`scale` multiplies the main path before the shortcut is added, and this form has "
                f"no shortcut: expected 1.0. Received: branches={self.branches!r}, "
                f"scale={self.scale}"
            )
        if self.strides > 1 and not spec.any_stride:
            raise ValueError(
                "These branches work at stride 1 only, as published; use branches='rfb', or mark "
                f"one strided unit in every branch. Received: branches={self.branches!r}, "
                f"strides={self.strides}"
            )
        return replace(
            spec, visual=self.visual or spec.visual, reduction=self.reduction or spec.reduction
        )

    def make_parts(self, input_shape):
        channels = input_shape[-1]
        branches = enumerate(self.spec.branches, self.spec.first)
        self.units = [self._branch(i, branch, channels) for i, branch in branches]
        width = sum(branch[-1].filters for branch in self.units)
        if self.spec.linear:
            self.linear = self._unit("linear", self.filters, activation=None)
        elif width != self.filters:
            raise ValueError(
                f"{who(self)} has no projection, so `filters` must be the width of its branches "
                f"together, {width} for {channels} input channels. Received: filters={self.filters}"
            )
        self.shortcut = self._shortcut(channels)

    def _shortcut(self, channels):
        """The convolution beside the branches, if the form and the input need one."""
        fits = channels == self.filters and self.strides == 1
        if self.spec.shortcut == "identity" and not fits:
            raise ValueError(
                f"{who(self)} adds its input unchanged: expected filters={channels}, the input's "
                f"channels, and strides=1. Received: filters={self.filters}, strides={self.strides}"
            )
        if self.spec.shortcut == "conv" or (self.spec.shortcut == "identity if equal" and not fits):
            return self._unit("shortcut", self.filters, strides=self.strides, activation=None)
        return None

    def _branch(self, index, branch, channels):
        """The convolutions of one branch."""
        units, width, entering = [], channels // self.spec.reduction, channels
        for position, unit in enumerate(branch):
            filters = entering if unit.depthwise else unit.width.of(width)
            self._check_width(filters, entering, unit)
            layer = self._unit(
                f"branch{index}_{position}",
                filters,
                unit.kernel,
                strides=self.strides if unit.strided else 1,
                dilation_rate=unit.dilation.of(self.spec.visual),
                groups=filters if unit.depthwise else self.groups,
                activation=self.activation if unit.activation else None,
            )
            units.append(layer)
            entering = filters
        return units

    def _check_width(self, filters, channels, unit):
        if filters == 0:
            raise ValueError(
                f"{who(self)} with reduction={self.spec.reduction} is too narrow: expected more "
                "input channels, or a smaller `reduction`, so that every branch has a channel. "
                f"Received: {channels} channels before {unit}"
            )
        if not unit.depthwise and (channels % self.groups or filters % self.groups):
            raise ValueError(
                f"{who(self)}: the groups must divide the channels of every convolution of the "
                f"branches. Received: groups={self.groups} for {channels} -> {filters} channels; "
                "use groups=1 or another number of input channels"
            )

    def _unit(self, name, filters, kernel_size=1, **options):
        kind = self.normalization if self.spec.normalized else None
        return self.unit(name, filters, kernel_size, normalization=kind, **options)

    def call(self, x, training=None):
        check_map(x.shape, self)
        y = ops.concatenate([in_turn(branch, x, training) for branch in self.units], axis=-1)
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


@keras.saving.register_keras_serializable(package="keras_detblocks")
class RFBs(RFB):
    """RFB-s, the small block for shallow maps: four branches of 3x1, 1x3 and 3x3 kernels, at stride
    1.

    Paper: https://arxiv.org/abs/1711.07767. `RFB` with `branches="rfb_s"`: `strides`, `scale`,
    `visual`, `reduction` and `groups` are described there.

    Input shape `(B, H, W, C)`, output shape `(B, H, W, filters)`.

    >>> tuple(RFBs(32)(keras.ops.ones((1, 13, 10, 64))).shape)
    (1, 13, 10, 32)
    """

    def __init__(
        self,
        filters,
        branches="rfb_s",
        strides=1,
        scale=1.0,
        visual=None,
        reduction=None,
        groups=1,
        **kwargs,
    ):
        super().__init__(filters, branches, strides, scale, visual, reduction, groups, **kwargs)


def _as_tuples(value):
    """The value with tuples in place of lists, which JSON returns, and Python's ints in place of
    NumPy's, which JSON does not take."""
    if isinstance(value, (tuple, list)):
        return tuple(_as_tuples(v) for v in value)
    return int(value) if is_int(value, least=0) else value
