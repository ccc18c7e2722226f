"""Initial values of convolution kernels."""

import math

import keras
import numpy as np
from keras import ops


def fan_out_normal():
    """He's normal initializer by fan-out (https://arxiv.org/abs/1502.01852), as used for the
    published RegNets and CSPNets."""
    return FanOutNormal()


@keras.saving.register_keras_serializable(package="keras_detblocks")
class FanOutNormal(keras.initializers.VarianceScaling):
    """Draws normal values of variance 2 / fan-out with NumPy, in a third of the time of
    TensorFlow's operator.

    Drawing takes most of the time in which a large net is built. It is seeded like Keras'
    initializers: by `seed`, else by `keras.utils.set_random_seed`; the numbers are the same on
    every backend.

    Args:
        seed: an int, or `None` for one that is drawn at construction.

    >>> FanOutNormal(seed=1)((3, 3, 8, 16)).shape == (3, 3, 8, 16)
    True
    """

    def __init__(self, seed=None):
        super().__init__(2.0, mode="fan_out", distribution="untruncated_normal", seed=seed)

    def __call__(self, shape, dtype=None):
        if not isinstance(self.seed, int):  # a SeedGenerator's state may be symbolic
            return super().__call__(shape, dtype)
        values = np.random.Generator(np.random.SFC64(self.seed)).standard_normal(shape, "float32")
        values *= math.sqrt(2.0 / (math.prod(shape[:-2]) * shape[-1]))
        return ops.convert_to_tensor(values, dtype or keras.config.floatx())

    def get_config(self):
        return {"seed": super().get_config()["seed"]}


def clone(initializer):
    """Returns an initializer like this one that draws other values, unless the user gave it a seed.

    An initializer always returns the same values for the same shape, so two layers must not share
    one.
    """
    return initializer.clone() if hasattr(initializer, "clone") else initializer
