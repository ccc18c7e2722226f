"""Initial values of convolution kernels."""

import math

import keras
import numpy as np
from keras import ops


def fan_out_normal():
    """He's normal initializer by fan-out (https://arxiv.org/abs/1502.01852), that of the published
    RegNets and CSPNets."""
    return FanOutNormal()


@keras.saving.register_keras_serializable(package="keras_detblocks")
class FanOutNormal(keras.initializers.VarianceScaling):
    """Normal values of variance 2 / fan-out, drawn by NumPy: a third of the time of TensorFlow's
    operator.

    Drawing is most of the time in which a large net is built. Seeded as Keras' initializers are: by
    `seed`, else by `keras.utils.set_random_seed`; the same numbers on every backend.

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
    """An initializer like this one that draws other values, unless the user gave it a seed.

    An initializer returns the same values whenever it is called with one shape, so two layers must
    not share one.
    """
    return initializer.clone() if hasattr(initializer, "clone") else initializer
