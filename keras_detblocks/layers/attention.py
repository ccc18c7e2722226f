"""Squeeze-and-excitation (https://arxiv.org/abs/1709.01507), as in RegNetY and the SE forms of
CSPNet."""

import keras
from keras import ops

from ..checks import check_int
from .activation import activation_layer, check_activation
from .block import Block
from .conv import Conv2D
from .initializer import fan_out_normal


@keras.saving.register_keras_serializable(package="keras_detblocks")
class SqueezeExcite(Block):
    """Scales each channel by a gate computed from the global average: 1x1, activation, 1x1,
    sigmoid, multiply.

    Args:
        filters: width of the squeezed vector (RegNetY: a quarter of the block's *input* width,
            rounded).
        activation: between the two 1x1 convolutions.
        gate_activation: `"sigmoid"` or `"hard_sigmoid"`.

    Input and output shape `(B, H, W, C)`.

    >>> tuple(SqueezeExcite(4)(keras.ops.ones((2, 5, 7, 16))).shape)
    (2, 5, 7, 16)
    """

    def __init__(self, filters, activation="relu", gate_activation="sigmoid", **kwargs):
        super().__init__(**kwargs)
        self.filters = check_int(filters, "filters")
        self.activation = check_activation(activation)
        self.gate_activation = check_activation(gate_activation, "gate_activation")
        self.fc1 = Conv2D(
            self.filters,
            1,
            kernel_initializer=fan_out_normal(),
            name="fc1",
            dtype=self.dtype_policy,
        )
        self.act = activation_layer(activation, name="act", dtype=self.dtype_policy)
        self.gate = activation_layer(gate_activation, name="gate", dtype=self.dtype_policy)
        self.fc2 = None

    def build_parts(self, input_shape):
        channels = input_shape[-1]
        self.fc2 = Conv2D(
            channels, 1, kernel_initializer=fan_out_normal(), name="fc2", dtype=self.dtype_policy
        )
        self.fc1.build((input_shape[0], 1, 1, channels))
        self.fc2.build((input_shape[0], 1, 1, self.filters))

    def call(self, x):
        s = ops.mean(x, axis=(1, 2), keepdims=True)
        return x * self.gate(self.fc2(self.act(self.fc1(s))))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "activation": self.activation,
            "gate_activation": self.gate_activation,
        }
