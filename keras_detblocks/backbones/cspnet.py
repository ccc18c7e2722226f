"""CSPNet: stages in which half of the channels bypass the blocks.

"CSPNet: A New Backbone that can Enhance Learning Capability of CNN"
(https://arxiv.org/abs/1911.11929). The nets are those of timm
(https://github.com/huggingface/pytorch-image-models, Apache-2.0), whose published weights load
unchanged: LeakyReLU slope 0.01, one expanding 1x1 convolution whose output is split.
`CSPDarknet53Cfg` is the authors' own form
(https://github.com/WongKinYiu/CrossStagePartialNetworks): two 1x1 convolutions, slope 0.1. For a
block of your own, see `CrossStage`.
"""

from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops

from ..layers import MaxPool2D, StochasticDepth, activation_layer, conv_norm_act
from .applications import Trunk, check_strides_and_drops
from .checkpoints import CSPNET_STAGES, imagenet
from .constructor import constructor


@dataclass(frozen=True)
class CSPSpec:
    """A CSP net in timm's terms; every tuple has one entry per stage (`stem`: per convolution).

    Attributes:
        stem: (filters, kernel, stride) per convolution.
        depths, widths, strides: number of blocks, output channels and stride of each stage.
        block_ratios: block output over stage width.
        bottle_ratios: block inner width over block output.
        expand_ratios: width of the expanding convolution over stage width.
        stem_pool: whether a 3x3 stride-2 max-pool follows the stem.
        kind: "csp" (second half through the blocks, two transitions), "cs3" (first half, one
            transition), "dark" (no split), "cfg" (as csp, with separate 1x1 convolutions and the
            concatenation order of the authors' files).
        block: "bottle" (1x1, 3x3, 1x1) or "dark" (1x1, 3x3).
        groups: of the stage's 3x3 convolutions.
        cross_linear: no activation on the expanding convolution.
        down_growth: the strided convolution already has the stage's width.
    """

    stem: tuple
    depths: tuple
    widths: tuple
    strides: tuple
    block_ratios: tuple
    bottle_ratios: tuple
    expand_ratios: tuple
    stem_pool: bool = False
    kind: str = "csp"
    block: str = "bottle"
    groups: int = 1
    cross_linear: bool = False
    down_growth: bool = False
    activation: str = "leaky_relu"
    epsilon: float = 1e-5


_RESNET = CSPSpec(
    stem=((64, 7, 2),),
    depths=(3, 3, 5, 2),
    widths=(128, 256, 512, 1024),
    strides=(1, 2, 2, 2),
    block_ratios=(1.0,) * 4,
    bottle_ratios=(0.5,) * 4,
    expand_ratios=(2.0,) * 4,
    stem_pool=True,
    cross_linear=True,
)
_DEEP_STEM = ((32, 3, 2), (32, 3, 1), (64, 3, 1))
_WIDE = dict(widths=(256, 512, 1024, 2048), block_ratios=(0.5,) * 4, expand_ratios=(1.0,) * 4)
_DARKNET = CSPSpec(
    stem=((32, 3, 1),),
    depths=(1, 2, 8, 8, 4),
    widths=(64, 128, 256, 512, 1024),
    strides=(2,) * 5,
    block_ratios=(1.0, 0.5, 0.5, 0.5, 0.5),
    bottle_ratios=(0.5, 1.0, 1.0, 1.0, 1.0),
    expand_ratios=(2.0, 1.0, 1.0, 1.0, 1.0),
    block="dark",
    down_growth=True,
)


def _cs3(width, depth):
    """CS3Darknet at multiples of the large net's width and depth."""
    return CSPSpec(
        stem=((int(32 * width), 3, 2), (int(64 * width), 3, 1)),
        depths=tuple(int(d * depth) for d in (3, 6, 9, 3)),
        widths=tuple(int(w * width) for w in (128, 256, 512, 1024)),
        strides=(2,) * 4,
        block_ratios=(0.5,) * 4,
        bottle_ratios=(1.0,) * 4,
        expand_ratios=(1.0,) * 4,
        kind="cs3",
        block="dark",
        activation="silu",
    )


CSP_VARIANTS = {
    "cspresnet50": _RESNET,
    "cspresnet50d": replace(_RESNET, stem=_DEEP_STEM),
    "cspresnet50w": replace(_RESNET, stem=_DEEP_STEM, bottle_ratios=(0.25,) * 4, **_WIDE),
    "cspresnext50": replace(_RESNET, bottle_ratios=(1.0,) * 4, groups=32, **_WIDE),
    "cspdarknet53": _DARKNET,
    "cspdarknet53_cfg": replace(_DARKNET, kind="cfg", activation="darknet_leaky_relu"),
    "darknet53": replace(_DARKNET, kind="dark", block_ratios=(1.0,) * 5, bottle_ratios=(0.5,) * 5),
    "cs3darknet_s": _cs3(0.5, 0.5),
    "cs3darknet_m": _cs3(0.75, 0.67),
    "cs3darknet_l": _cs3(1.0, 1.0),
    "cs3darknet_x": _cs3(1.25, 1.33),
}


def csp_trunk(spec, name, output_stride=32, drop_path_rate=0.0):
    """The `Trunk` of a spec."""
    output_stride, drop_path_rate = check_strides_and_drops(output_stride, drop_path_rate)
    stem_level = sum(stride == 2 for _, _, stride in spec.stem)
    deepest_level = output_stride.bit_length() - 1
    levels, level = [], stem_level + spec.stem_pool
    for stride in spec.strides:
        level = min(level + (stride == 2), deepest_level)
        levels.append(level)

    def body(x, deepest):
        for number, (filters, kernel, stride) in enumerate(spec.stem, 1):
            x = _unit(x, spec, f"stem_conv{number}", filters, kernel, stride)
        maps = {stem_level: x}
        if spec.stem_pool:
            x = MaxPool2D(3, strides=2, name="stem_pool")(x)
        level, dilation = stem_level + spec.stem_pool, 1
        rates = iter(np.linspace(0.0, drop_path_rate, sum(spec.depths)).tolist())
        for index, stage_level in enumerate(levels):
            if stage_level > deepest:
                break
            first = dilation
            if spec.strides[index] == 2 and stage_level == level:
                dilation *= 2
            x = csp_stage(x, spec, index, 2 if stage_level > level else 1, first, dilation, rates)
            level = stage_level
            maps[level] = x
        return maps

    return Trunk(
        name,
        body,
        tuple(sorted({stem_level, *levels})),
        stem="stem_conv1_conv/kernel",
        stages=dict(enumerate(levels)),
        stage_keys=CSPNET_STAGES,
        imagenet=imagenet(name),
        default_size=256,
    )


def csp_stage(x, spec, index, stride, first_dilation=1, dilation=1, drop_rates=None, name=None):
    """Adds stage `index` (from 0) of a spec.

    Args:
        stride, first_dilation: of the strided 3x3 convolution, which is missing in a stage with
            neither stride nor new dilation.
        dilation: of the blocks.
        drop_rates: iterator over the stochastic-depth rates of the blocks.
        name: prefix of the layer names.
    """
    name = f"stages_{index}" if name is None else name
    width = spec.widths[index]
    exp, inner = round(width * spec.expand_ratios[index]), round(width * spec.block_ratios[index])
    if stride != 1 or first_dilation != dilation:
        grown = width if spec.down_growth or spec.kind == "dark" else x.shape[-1]
        x = _unit(
            x,
            spec,
            f"{name}_conv_down",
            grown,
            3,
            stride,
            groups=spec.groups,
            dilation_rate=first_dilation,
        )
    if spec.kind == "dark":
        return _blocks(x, spec, index, inner, dilation, drop_rates, name)
    bypass, processed = _split(x, spec, exp, name)
    processed = _blocks(processed, spec, index, inner, dilation, drop_rates, name)
    if spec.kind != "cs3":
        processed = _unit(processed, spec, f"{name}_conv_transition_b", exp // 2)
    pair = [bypass, processed] if spec.kind == "csp" else [processed, bypass]
    x = keras.layers.Concatenate(name=f"{name}_concat")(pair)
    return _unit(x, spec, f"{name}_conv_transition", width)


def _split(x, spec, exp, name):
    """(bypass, processed part): two convolutions in the authors' files, one and a split in timm."""
    if spec.kind == "cfg":
        return _unit(x, spec, f"{name}_conv_cross", exp // 2), _unit(
            x, spec, f"{name}_conv_in", exp // 2
        )
    x = _unit(
        x, spec, f"{name}_conv_exp", exp, activation=None if spec.cross_linear else spec.activation
    )
    first, second = ops.split(x, 2, axis=-1)
    return (second, first) if spec.kind == "cs3" else (first, second)


def _blocks(x, spec, index, width, dilation, drop_rates, name):
    inner = round(width * spec.bottle_ratios[index])
    block = bottle_block if spec.block == "bottle" else dark_block
    for number in range(spec.depths[index]):
        rate = next(drop_rates) if drop_rates is not None else 0.0
        x = block(x, spec, inner, width, dilation, rate, f"{name}_blocks_{number}")
    return x


def bottle_block(x, spec, inner, width, dilation, drop_rate, name):
    """1x1, 3x3, 1x1 added to the input, activation after the addition."""
    y = _unit(x, spec, f"{name}_conv1", inner)
    y = _unit(y, spec, f"{name}_conv2", inner, 3, groups=spec.groups, dilation_rate=dilation)
    y = _unit(y, spec, f"{name}_conv3", width, activation=None)
    return activation_layer(spec.activation, name=f"{name}_out")(_add(x, y, drop_rate, name))


def dark_block(x, spec, inner, width, dilation, drop_rate, name):
    """1x1, 3x3 added to the input, no activation after the addition."""
    y = _unit(x, spec, f"{name}_conv1", inner)
    y = _unit(y, spec, f"{name}_conv2", width, 3, groups=spec.groups, dilation_rate=dilation)
    return _add(x, y, drop_rate, name)


def _add(x, y, drop_rate, name):
    # Whatever its rate: see `anynet.bottleneck_block`.
    y = StochasticDepth(drop_rate, name=f"{name}_drop")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def _unit(x, spec, name, filters, kernel=1, stride=1, activation="default", **kwargs):
    activation = spec.activation if activation == "default" else activation
    return conv_norm_act(
        x, filters, kernel, stride, activation=activation, name=name, epsilon=spec.epsilon, **kwargs
    )


def _named(name, variant, title):
    """The constructor of a variant, such as `CSPDarknet53`."""

    def trunk(*, output_stride=32, drop_path_rate=0.0):
        return csp_trunk(CSP_VARIANTS[variant], variant, output_stride, drop_path_rate)

    return constructor(trunk, name, title)


_PAPER = "(https://arxiv.org/abs/1911.11929)"
CSPResNet50 = _named(
    "CSPResNet50",
    "cspresnet50",
    f"CSPResNet-50 {_PAPER} of timm: bottleneck blocks, depths 3, 3, 5, 2.",
)
CSPResNet50D = _named(
    "CSPResNet50D",
    "cspresnet50d",
    f"CSPResNet-50 {_PAPER} of timm with a stem of three 3x3 convolutions.",
)
CSPResNet50W = _named(
    "CSPResNet50W",
    "cspresnet50w",
    f"CSPResNet-50 {_PAPER} of timm, wider, with a stem of three 3x3\nconvolutions.",
)
CSPResNeXt50 = _named(
    "CSPResNeXt50",
    "cspresnext50",
    f"CSPResNeXt-50 {_PAPER} of timm: 3x3 convolutions in 32 groups.",
)
CSPDarknet53 = _named(
    "CSPDarknet53",
    "cspdarknet53",
    f"CSPDarknet-53 {_PAPER} of timm: Darknet's residual blocks in\n"
    "cross-stage partial stages, LeakyReLU of slope 0.01.",
)
CSPDarknet53Cfg = _named(
    "CSPDarknet53Cfg",
    "cspdarknet53_cfg",
    f"CSPDarknet-53 {_PAPER} as in the authors' cfg file: separate 1x1\n"
    "convolutions into the two parts, LeakyReLU of slope 0.1.",
)
Darknet53 = _named(
    "Darknet53",
    "darknet53",
    "Darknet-53 (https://arxiv.org/abs/1804.02767) of timm, without partial stages.",
)
CS3DarknetS = _named(
    "CS3DarknetS", "cs3darknet_s", f"CS3Darknet {_PAPER} of timm, small: fusion first, SiLU."
)
CS3DarknetM = _named(
    "CS3DarknetM", "cs3darknet_m", f"CS3Darknet {_PAPER} of timm, medium: fusion first, SiLU."
)
CS3DarknetL = _named(
    "CS3DarknetL", "cs3darknet_l", f"CS3Darknet {_PAPER} of timm, large: fusion first, SiLU."
)
CS3DarknetX = _named(
    "CS3DarknetX",
    "cs3darknet_x",
    f"CS3Darknet {_PAPER} of timm, extra large: fusion first, SiLU.",
)
