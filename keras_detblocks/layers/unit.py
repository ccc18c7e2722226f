"""Convolution, normalization, activation: the unit of which everything here is made, as three
layers of a graph and as one layer."""

import keras

from ..checks import check_choice, check_flag, check_int, one_or_pair
from .activation import activation_layer, check_activation
from .block import Block
from .conv import PADDINGS, Conv2D
from .folding import normalized
from .initializer import clone, fan_out_normal
from .normalization import (
    NORMALIZATIONS,
    check_group_width,
    check_norm_options,
    normalization_layer,
)


def conv_norm_act(
    x,
    filters,
    kernel_size=1,
    strides=1,
    *,
    groups=1,
    dilation_rate=1,
    activation="relu",
    normalization="batch",
    name=None,
    **norm,
):
    """Adds convolution, normalization and activation to a functional graph, as three stock layers.

    Args:
        x: `(B, H, W, C)`.
        filters, kernel_size, strides, groups, dilation_rate: of the convolution, as in `Conv2D`.
        activation, normalization: names that `activation_layer` and `normalization_layer` know, or
            `None`.
        name: prefix of the layers' names.
        **norm: further arguments of `normalization_layer`.

    The layers are named `<name>_conv`, `<name>_bn` and `<name>_act`, by Keras where `name` is
    `None`; the convolution has a bias only without normalization.
    """
    x = Conv2D(
        filters,
        kernel_size,
        strides,
        dilation_rate=dilation_rate,
        groups=groups,
        use_bias=normalization is None,
        kernel_initializer=fan_out_normal(),
        name=name and f"{name}_conv",
    )(x)
    if normalization is not None:
        x = normalization_layer(normalization, name=name and f"{name}_bn", **norm)(x)
    return x if activation is None else activation_layer(activation, name=name and f"{name}_act")(x)


@keras.saving.register_keras_serializable(package="keras_detblocks")
class ConvNormAct(Block):
    """Convolution, normalization, activation as one layer: the unit that necks, context blocks and
    heads are made of.

    Args:
        filters, kernel_size, strides, groups, dilation_rate, padding: as in `Conv2D`.
        normalization: `"batch"`, `"group"` or `None` (`normalization_layer`).
        activation: a name that `activation_layer` knows, or `None`.
        use_bias: whether the convolution has a bias; `None` for only without normalization.
        epsilon: of the normalization. momentum: of batch normalization.
        kernel_initializer: of the convolution.
        norm_groups: of group normalization.

    Input shape `(B, H, W, C)`, output shape `(B, ceil(H / strides), ceil(W / strides), filters)`
    for an odd kernel.

    Raises:
        ValueError: on an argument of the wrong type or out of range.

    Example:

    >>> tuple(ConvNormAct(16, 3, strides=2, activation="silu")(keras.ops.ones((1, 9, 8, 4))).shape)
    (1, 5, 4, 16)
    """

    def __init__(
        self,
        filters,
        kernel_size=1,
        strides=1,
        groups=1,
        dilation_rate=1,
        normalization="batch",
        activation="relu",
        use_bias=None,
        epsilon=1e-5,
        momentum=0.9,
        kernel_initializer="he_normal",
        padding="symmetric",
        norm_groups=32,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = check_int(filters, "filters")
        self.kernel_size = one_or_pair(kernel_size, "kernel_size")
        self.strides = one_or_pair(strides, "strides")
        self.groups = check_int(groups, "groups")
        self.dilation_rate = one_or_pair(dilation_rate, "dilation_rate")
        self.normalization = check_choice(normalization, "normalization", NORMALIZATIONS)
        self.activation = check_activation(activation)
        self.use_bias = None if use_bias is None else check_flag(use_bias, "use_bias", "None")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.padding = check_choice(padding, "padding", PADDINGS)
        check_norm_options(self, epsilon, momentum, norm_groups)
        self.conv = self._convolution()
        self.norm = self._normalization()
        self.act = None
        if activation is not None:
            self.act = activation_layer(activation, name="act", dtype=self.dtype_policy)

    def _convolution(self):
        return Conv2D(
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
            use_bias=(self.normalization is None) if self.use_bias is None else self.use_bias,
            kernel_initializer=clone(self.kernel_initializer),
            name="conv",
            dtype=self.dtype_policy,
        )

    def _normalization(self):
        if self.normalization is None:
            return None
        check_group_width(self.filters, self.normalization, self.norm_groups)
        return normalization_layer(
            self.normalization,
            epsilon=self.epsilon,
            momentum=self.momentum,
            groups=self.norm_groups,
            name="norm",
            dtype=self.dtype_policy,
        )

    def build_parts(self, input_shape):
        self.conv.build(input_shape)
        if self.norm is not None:
            self.norm.build(self.conv.compute_output_shape(input_shape))

    def call(self, x, training=None):
        x = normalized(self.conv, self.norm, x, training)
        return x if self.act is None else self.act(x)

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "groups": self.groups,
            "dilation_rate": self.dilation_rate,
            "normalization": self.normalization,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "padding": self.padding,
            "norm_groups": self.norm_groups,
        }


class SeparableUnit(Block):
    """A depthwise unit and a 1x1 unit, each with normalization and activation. Not public: it takes
    the place of a `ConvNormAct` in a block that configures it.

    Args:
        filters, kernel_size, strides: of the pair.
        **options: of each `ConvNormAct`.

    Input and output shape as `ConvNormAct`.
    """

    def __init__(self, filters, kernel_size=3, strides=1, name=None, dtype=None, **options):
        super().__init__(name=name, dtype=dtype)
        self.filters, self.kernel_size, self.strides = filters, kernel_size, strides
        self.depthwise = None
        self._options = {**options, "dtype": self.dtype_policy}
        self.pointwise = ConvNormAct(filters, name="pointwise", **self._options)

    def make_parts(self, input_shape):
        channels = input_shape[-1]
        self.depthwise = ConvNormAct(
            channels,
            self.kernel_size,
            self.strides,
            groups=channels,
            name="depthwise",
            **self._options,
        )

    def build_parts(self, input_shape):
        self.depthwise.build(input_shape)
        self.pointwise.build(self.depthwise.compute_output_shape(input_shape))

    def call(self, x, training=None):
        return self.pointwise(self.depthwise(x, training=training), training=training)

    def compute_output_shape(self, input_shape):
        return self.pointwise.compute_output_shape(self.depthwise.compute_output_shape(input_shape))
