"""CSPDenseNet and CSPPeleeNet: partial dense blocks between partial transitions
(https://arxiv.org/abs/1911.11929).

The authors published neither configurations nor weights for these, so the definition is ours.
CSPDenseNet: DenseNet (https://arxiv.org/abs/1608.06993) with growth rate 32, bottleneck 4, and each
dense block inside a `CrossStage` of full fusion, whose transitions both halve the channels; the
last stage has only the first. CSPPeleeNet: PeleeNet (https://arxiv.org/abs/1804.06882), whose
transitions keep the channels. Pooling comes after the second transition.
"""

import keras
from keras import ops

from ..checks import check_int, check_number
from ..layers import (
    Conv2D,
    ConvNormAct,
    CrossStage,
    activation_layer,
    conv_norm_act,
    normalization_layer,
)
from ..layers.activation import check_activation
from ..layers.block import Block
from ..layers.folding import normalized
from ..layers.resampling import MaxPool2D
from .applications import Trunk, check_strides_and_drops
from .checkpoints import DENSENET_STAGES
from .constructor import constructor

DENSENET_DEPTHS = {
    "121": (6, 12, 24, 16),
    "169": (6, 12, 32, 32),
    "201": (6, 12, 48, 32),
    "264": (6, 12, 64, 48),
}
PELEENET_DEPTHS, PELEENET_WIDTHS = (3, 4, 8, 6), (16, 32, 64, 64)


@keras.saving.register_keras_serializable(package="keras_detblocks")
class DenseBlock(Block):
    """Layers that each append `growth_rate` channels to their input: norm, act, 1x1, norm, act, 3x3
    (DenseNet).

    Args:
        num_layers: number of layers.
        growth_rate: channels that each layer adds.
        bottleneck: width of the 1x1 convolution over `growth_rate`.
        activation: before each convolution.
        dilation_rate: of the 3x3 convolutions.

    Input shape `(B, H, W, C)`, output shape `(B, H, W, C + num_layers * growth_rate)`.

    >>> tuple(DenseBlock(3, growth_rate=8)(keras.ops.ones((1, 6, 5, 16))).shape)
    (1, 6, 5, 40)
    """

    def __init__(
        self, num_layers, growth_rate=32, bottleneck=4, activation="relu", dilation_rate=1, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_layers = check_int(num_layers, "num_layers")
        self.growth_rate = check_int(growth_rate, "growth_rate")
        self.bottleneck = check_int(bottleneck, "bottleneck")
        self.activation = check_activation(activation)
        self.dilation_rate = check_int(dilation_rate, "dilation_rate")
        self.act = activation_layer(activation, name="act", dtype=self.dtype_policy)
        self.norms1 = [
            normalization_layer("batch", name=f"layer_{i}_norm1", dtype=self.dtype_policy)
            for i in range(num_layers)
        ]
        self.norms2 = [
            normalization_layer("batch", name=f"layer_{i}_norm2", dtype=self.dtype_policy)
            for i in range(num_layers)
        ]
        self.convs1 = [
            self._conv(bottleneck * growth_rate, 1, 1, f"layer_{i}_conv1")
            for i in range(num_layers)
        ]
        self.convs2 = [
            self._conv(growth_rate, 3, dilation_rate, f"layer_{i}_conv2") for i in range(num_layers)
        ]

    def _conv(self, filters, kernel_size, dilation_rate, name):
        options = dict(
            use_bias=False, kernel_initializer="he_normal", name=name, dtype=self.dtype_policy
        )
        return Conv2D(filters, kernel_size, dilation_rate=dilation_rate, **options)

    def build_parts(self, input_shape):
        shape = tuple(input_shape)
        inner = (*shape[:-1], self.bottleneck * self.growth_rate)
        for norm1, conv1, norm2, conv2 in zip(self.norms1, self.convs1, self.norms2, self.convs2):
            norm1.build(shape)
            conv1.build(shape)
            norm2.build(inner)
            conv2.build(inner)
            shape = (*shape[:-1], shape[-1] + self.growth_rate)

    def call(self, x, training=None):
        for norm1, conv1, norm2, conv2 in zip(self.norms1, self.convs1, self.norms2, self.convs2):
            y = normalized(conv1, norm2, self.act(norm1(x, training=training)), training)
            y = conv2(self.act(y))
            x = ops.concatenate([x, y], axis=-1)
        return x

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + self.num_layers * self.growth_rate)

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "growth_rate": self.growth_rate,
            "bottleneck": self.bottleneck,
            "activation": self.activation,
            "dilation_rate": self.dilation_rate,
        }


@keras.saving.register_keras_serializable(package="keras_detblocks")
class TwoWayDenseBlock(Block):
    """PeleeNet's dense block: each layer appends half its growth from 1x1, 3x3 and half from 1x1,
    3x3, 3x3.

    Args:
        num_layers: number of layers.
        growth_rate: channels that each layer adds.
        filters: width of the 1x1 convolutions.
        activation: after each convolution.
        dilation_rate: of the 3x3 convolutions.

    Input shape `(B, H, W, C)`, output shape `(B, H, W, C + num_layers * growth_rate)`.
    """

    def __init__(
        self, num_layers, growth_rate=32, filters=16, activation="relu", dilation_rate=1, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_layers = check_int(num_layers, "num_layers")
        self.growth_rate = check_int(growth_rate, "growth_rate")
        if growth_rate % 2:
            raise ValueError(
                f"`growth_rate` must be even: each of two branches adds half. Received: "
                f"growth_rate={growth_rate}"
            )
        self.filters = check_int(filters, "filters")
        self.activation = check_activation(activation)
        self.dilation_rate = check_int(dilation_rate, "dilation_rate")
        self.short, self.long = [], []
        for i in range(num_layers):
            self.short.append(
                [
                    self._unit(filters, 1, f"layer_{i}_a1"),
                    self._unit(growth_rate // 2, 3, f"layer_{i}_a2"),
                ]
            )
            long = [self._unit(filters, 1, f"layer_{i}_b1")]
            self.long.append(
                long + [self._unit(growth_rate // 2, 3, f"layer_{i}_b{n}") for n in (2, 3)]
            )

    def _unit(self, filters, kernel_size, name):
        return ConvNormAct(
            filters,
            kernel_size,
            dilation_rate=self.dilation_rate if kernel_size > 1 else 1,
            activation=self.activation,
            name=name,
            dtype=self.dtype_policy,
        )

    def build_parts(self, input_shape):
        width = input_shape[-1]
        for branches in zip(self.short, self.long):
            for branch in branches:
                shape = (*input_shape[:-1], width)
                for unit in branch:
                    unit.build(shape)
                    shape = unit.compute_output_shape(shape)
            width += self.growth_rate

    def call(self, x, training=None):
        for short, long in zip(self.short, self.long):
            x = ops.concatenate([x, _run(short, x, training), _run(long, x, training)], axis=-1)
        return x

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + self.num_layers * self.growth_rate)

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "growth_rate": self.growth_rate,
            "filters": self.filters,
            "activation": self.activation,
            "dilation_rate": self.dilation_rate,
        }


def _run(units, x, training):
    for unit in units:
        x = unit(x, training=training)
    return x


def csp_densenet_trunk(
    name, depths, output_stride=32, drop_path_rate=0.0, part_ratio=0.5, growth_rate=32
):
    """The `Trunk` of a CSPDenseNet."""
    _check_drop_path(name, drop_path_rate)

    def stem(x):
        x = conv_norm_act(x, 64, 7, 2, name="stem")
        return x, MaxPool2D(3, strides=2, name="stem_pool")(x)

    def stage(x, index, dilation):
        last = index == len(depths) - 1
        block = DenseBlock(
            depths[index], growth_rate, dilation_rate=dilation, name=f"dense_{index}"
        )
        bypass = round(x.shape[-1] * part_ratio)
        processed = (x.shape[-1] - bypass + depths[index] * growth_rate) // 2
        x = CrossStage(
            block,
            filters=(bypass + processed) // 2,
            fusion="last" if last else "full",
            part_ratio=part_ratio,
            part_filters=processed,
            pre_activation=True,
            name=f"stages_{index}",
        )(x)
        if not last:
            return x
        return keras.layers.Activation("relu", name="relu")(
            normalization_layer("batch", name="norm")(x)
        )

    return _trunk(name, stem, stage, len(depths), output_stride, "stem_conv/kernel")


def csp_peleenet_trunk(name, output_stride=32, drop_path_rate=0.0, part_ratio=0.5):
    """The `Trunk` of CSPPeleeNet."""
    _check_drop_path(name, drop_path_rate)

    def stem(x):
        first = conv_norm_act(x, 32, 3, 2, name="stem_1")
        y = conv_norm_act(conv_norm_act(first, 16, name="stem_2a"), 32, 3, 2, name="stem_2b")
        pooled = MaxPool2D(3, strides=2, name="stem_pool")(first)
        return first, conv_norm_act(
            keras.layers.Concatenate(name="stem_concat")([y, pooled]), 32, name="stem_3"
        )

    def stage(x, index, dilation):
        block = TwoWayDenseBlock(
            PELEENET_DEPTHS[index],
            32,
            PELEENET_WIDTHS[index],
            dilation_rate=dilation,
            name=f"dense_{index}",
        )
        bypass = round(x.shape[-1] * part_ratio)
        processed = x.shape[-1] - bypass + PELEENET_DEPTHS[index] * 32
        return CrossStage(
            block,
            filters=bypass + processed,
            part_ratio=part_ratio,
            part_filters=processed,
            name=f"stages_{index}",
        )(x)

    return _trunk(name, stem, stage, len(PELEENET_DEPTHS), output_stride, "stem_1_conv/kernel")


def _trunk(name, stem, stage, stages, output_stride, stem_kernel):
    output_stride, _ = check_strides_and_drops(output_stride)
    levels = [min(index + 2, output_stride.bit_length() - 1) for index in range(stages)]

    def body(x, deepest):
        first, x = stem(x)
        maps, dilation = {1: first}, 1
        for index, level in enumerate(levels):
            if level > deepest:
                break
            if index and level > levels[index - 1]:
                # Keras' "same" average excludes the padding from the mean, and keeps the odd row.
                x = keras.layers.AveragePooling2D(2, padding="same", name=f"pool_{index}")(x)
            elif index:
                dilation *= 2
            x = maps[level] = stage(x, index, dilation)
        return maps

    return Trunk(
        name,
        body,
        (1, *sorted(set(levels))),
        stem=stem_kernel,
        stages=dict(enumerate(levels)),
        stage_keys=DENSENET_STAGES,
    )


def _check_drop_path(name, rate):
    if check_number(rate, "drop_path_rate"):
        raise ValueError(
            f"{name} has no residual branches to drop: leave `drop_path_rate` at 0. Received: "
            f"{rate}"
        )


_NO_DROP_PATH = "must be 0: there are no residual branches to drop"


def _densenet(size):
    """The constructor of a CSPDenseNet, such as `CSPDenseNet121`."""

    def trunk(*, output_stride=32, drop_path_rate=0.0):
        name = f"cspdensenet{size}"
        return csp_densenet_trunk(name, DENSENET_DEPTHS[size], output_stride, drop_path_rate)

    summary = (
        f"CSPDenseNet-{size} (https://arxiv.org/abs/1911.11929): partial dense blocks of "
        f"{DENSENET_DEPTHS[size]} layers.\n\n"
        "Its authors published neither configuration nor weights: the definition is this package's."
    )
    return constructor(trunk, f"CSPDenseNet{size}", summary, _NO_DROP_PATH)


CSPDenseNet121 = _densenet("121")
CSPDenseNet169 = _densenet("169")
CSPDenseNet201 = _densenet("201")
CSPDenseNet264 = _densenet("264")


def _peleenet(*, output_stride=32, drop_path_rate=0.0):
    return csp_peleenet_trunk("csppeleenet", output_stride, drop_path_rate)


CSPPeleeNet = constructor(
    _peleenet,
    "CSPPeleeNet",
    "CSPPeleeNet (https://arxiv.org/abs/1911.11929): partial two-way dense blocks, for phones.\n\n"
    "Its authors published neither configuration nor weights: the definition is this package's.",
    _NO_DROP_PATH,
)
