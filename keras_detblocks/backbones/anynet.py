"""AnyNet: a stem, stages of identical residual bottleneck blocks with free settings per stage, a
head.

"Designing Network Design Spaces" (https://arxiv.org/abs/2003.13678). Block, padding and squeeze
widths are those of pycls (https://github.com/facebookresearch/pycls, MIT) and timm
(https://github.com/huggingface/pytorch-image-models, Apache-2.0), whose weights load unchanged. The
published nets are in `regnet.py`.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np

from ..checks import check_int, check_ints, check_number, check_numbers
from ..layers import SqueezeExcite, StochasticDepth, conv_norm_act
from .applications import Trunk, check_strides_and_drops
from .checkpoints import ANYNET_STAGES
from .constructor import constructor


@dataclass(frozen=True)
class AnyNetSpec:
    """Settings per stage, as tuples of one length; the first block of each stage has stride 2.

    Args:
        depths: blocks per stage.
        widths: output channels per stage.
        bottleneck_ratios: the paper's b: the 3x3 convolution has `width / b` channels (b < 1 is an
            inverted bottleneck).
        group_widths: channels per group of the 3x3 convolution (1 is depthwise); must divide `width
            / b`.
        se_ratio: squeezed channels over the block's *input* channels; 0 for no
            squeeze-and-excitation.
        stem_width: channels of the 3x3 stride-2 stem.

    Raises:
        ValueError: if a stage breaks a rule, which the message names.

    >>> AnyNetSpec((1, 1, 2), (24, 48, 96), (1, 1, 1), (8, 8, 8), stem_width=16).inner_widths
    (24, 48, 96)
    """

    depths: tuple
    widths: tuple
    bottleneck_ratios: tuple
    group_widths: tuple
    se_ratio: float = 0.0
    stem_width: int = 32

    def __post_init__(self):
        for field in ("depths", "widths", "group_widths"):
            object.__setattr__(self, field, check_ints(getattr(self, field), field))
        ratios = check_numbers(self.bottleneck_ratios, "bottleneck_ratios")
        object.__setattr__(self, "bottleneck_ratios", ratios)
        lengths = {
            f: len(getattr(self, f))
            for f in ("depths", "widths", "bottleneck_ratios", "group_widths")
        }
        if len(set(lengths.values())) != 1 or not self.depths:
            raise ValueError(
                f"Every setting needs one value per stage, for at least one stage. Received "
                f"lengths: {lengths}"
            )
        object.__setattr__(self, "stem_width", check_int(self.stem_width, "stem_width"))
        se_ratio = check_number(self.se_ratio, "se_ratio", least=0, most=1)
        object.__setattr__(self, "se_ratio", se_ratio)
        for stage in range(len(self.depths)):
            self._check_stage(stage)

    def _check_stage(self, stage):
        width, ratio, group = (
            self.widths[stage],
            self.bottleneck_ratios[stage],
            self.group_widths[stage],
        )
        if not 0 < ratio < math.inf:
            raise ValueError(
                f"Stage {stage + 1}: the bottleneck ratio must be positive. Received: {ratio}"
            )
        if (
            not math.isclose(width / ratio, round(width / ratio), rel_tol=1e-9)
            or round(width / ratio) < 1
        ):
            raise ValueError(
                f"Stage {stage + 1}: width {width} over bottleneck ratio {ratio} must be a whole "
                f"number of channels. Received: {width / ratio}; a ratio of 1, 2, 4, or 1 / 2, 1 / "
                "4 divides every width fitted to groups."
            )
        if round(width / ratio) % group:
            raise ValueError(
                f"Stage {stage + 1}: the {round(width / ratio)} channels of the 3x3 convolution "
                f"(width {width} / bottleneck ratio {ratio}) are not divisible by the group width "
                f"{group}. `fit_to_groups` gives the nearest widths that are, for ratios such as "
                "1, 2, 4, 1 / 2, 1 / 4."
            )

    @property
    def inner_widths(self):
        """The channels of the 3x3 convolution per stage."""
        return tuple(round(w / b) for w, b in zip(self.widths, self.bottleneck_ratios))


def fit_to_groups(widths, bottleneck_ratios, group_widths):
    """Adjusts widths to the nearest ones that the groups divide, after clamping each group width to
    the inner width: pycls' rule.

    Returns:
        (widths, group_widths), tuples of ints. Halves round to even, as in the published nets.

    >>> fit_to_groups((80, 232), (1, 1), (120, 120))
    ((80, 240), (80, 120))
    """
    pairs = [_fit_stage(*stage) for stage in zip(widths, bottleneck_ratios, group_widths)]
    return tuple(w for w, _ in pairs), tuple(g for _, g in pairs)


def _fit_stage(width, ratio, group_width):
    multiplier = 1.0 / ratio
    inner = max(1, int(width * multiplier))
    group = min(group_width, inner)
    unit = math.lcm(group, int(multiplier)) if multiplier > 1 else group
    inner = max(unit, round(inner / unit) * unit)
    return int(inner / multiplier), group


def anynet_trunk(spec, name, output_stride=32, drop_path_rate=0.0, imagenet=None):
    """The `Trunk` of a spec; `imagenet` is the id of its recommended checkpoint."""
    output_stride, drop_path_rate = check_strides_and_drops(output_stride, drop_path_rate)
    limit = output_stride.bit_length() - 1 if output_stride < 32 else len(spec.depths) + 1
    levels = [min(stage + 2, limit) for stage in range(len(spec.depths))]

    def body(x, deepest):
        x = conv_norm_act(x, spec.stem_width, 3, 2, name="stem")
        maps = {1: x}
        rates = iter(np.linspace(0.0, drop_path_rate, sum(spec.depths)).tolist())
        dilation = 1
        for index, level in enumerate(levels):
            if level > deepest:
                break
            stride = 2 if level > max(maps) else 1
            x, dilation = stage(x, spec, index, stride, dilation, rates)
            maps[level] = x
        return maps

    return Trunk(
        name,
        body,
        (1, *sorted(set(levels))),
        stem="stem_conv/kernel",
        stages=dict(enumerate(levels, 1)),
        stage_keys=ANYNET_STAGES,
        imagenet=imagenet,
    )


def stage(x, spec, index, stride, dilation, drop_rates):
    """Adds stage `index` (from 0) of a spec; a stage without stride doubles the dilation after its
    first block.

    Returns:
        (output tensor, dilation of the next stage's first block).
    """
    last_dilation = dilation * 2 if stride == 1 else dilation
    for number in range(spec.depths[index]):
        x = bottleneck_block(
            x,
            spec.widths[index],
            stride if number == 0 else 1,
            inner_width=spec.inner_widths[index],
            group_width=spec.group_widths[index],
            se_width=round(spec.se_ratio * x.shape[-1]),
            dilation=dilation if number == 0 else last_dilation,
            drop_rate=next(drop_rates),
            name=f"s{index + 1}_b{number + 1}",
        )
    return x, last_dilation


def bottleneck_block(
    x, width, stride, *, inner_width, group_width, se_width, dilation, drop_rate, name
):
    """1x1, grouped 3x3 with the stride, squeeze-and-excitation, 1x1, added to the (projected)
    input, ReLU."""
    shortcut = x
    if stride != 1 or x.shape[-1] != width:
        shortcut = conv_norm_act(x, width, 1, stride, activation=None, name=f"{name}_downsample")
    groups = inner_width // group_width
    y = conv_norm_act(x, inner_width, 1, name=f"{name}_conv1")
    y = conv_norm_act(
        y, inner_width, 3, stride, groups=groups, dilation_rate=dilation, name=f"{name}_conv2"
    )
    if se_width:
        y = SqueezeExcite(se_width, name=f"{name}_se")(y)
    y = conv_norm_act(y, width, 1, activation=None, name=f"{name}_conv3")
    # Even if its rate is 0: Keras orders layers by their depth in the graph, and the weights in a
    # .weights.h5 file in that order.
    y = StochasticDepth(drop_rate, name=f"{name}_drop")(y)
    y = keras.layers.Add(name=f"{name}_add")([shortcut, y])
    return keras.layers.Activation("relu", name=f"{name}_out")(y)


@constructor
def AnyNet(spec, *, output_stride=32, drop_path_rate=0.0):
    """Builds the net of an `AnyNetSpec`, with any number of stages
    (https://arxiv.org/abs/2003.13678).

    Args:
        spec: an `AnyNetSpec`; `RegNetSpec.to_anynet()` returns one.

    >>> spec = AnyNetSpec((1, 1, 2), (24, 48, 96), (1, 1, 1), (8, 8, 8), 0.25, stem_width=16)
    >>> model = AnyNet(spec, include_top=False, input_shape=(64, 96, 3), levels=(3, 4))
    >>> tuple(model.output["P4"].shape)
    (None, 4, 6, 96)
    """
    if not isinstance(spec, AnyNetSpec):
        raise ValueError(
            "`spec` must be an AnyNetSpec; `RegNetSpec.to_anynet()` returns one. Received: "
            f"spec={spec!r}"
        )
    return anynet_trunk(spec, "anynet", output_stride, drop_path_rate)
