"""Stochastic depth (https://arxiv.org/abs/1603.09382)."""

import keras
from keras import ops

from ..checks import check_int, check_number
from .block import declare_to_tensorflow


@keras.saving.register_keras_serializable(package="keras_detblocks")
class StochasticDepth(keras.layers.Layer):
    """In training drops a residual branch, image by image, with probability `rate`, and scales the
    kept ones by `1 / (1 - rate)`.

    Args:
        rate: from 0 to below 1.
        seed: an int for the same draws in every run, or `None`.

    Input and output shape `(B, ...)`. Outside training it is the identity.

    >>> float(StochasticDepth(0.5)(keras.ops.ones((1, 1)))[0, 0])
    1.0
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = check_number(rate, "rate", least=0, below=1)
        self.seed = check_int(seed, "seed", least=0, optional=True)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        declare_to_tensorflow(self)

    def call(self, x, training=False):
        if not training or self.rate == 0.0:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        kept = keras.random.uniform(shape, seed=self.seed_generator) >= self.rate
        return x * ops.cast(kept, x.dtype) / (1.0 - self.rate)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
