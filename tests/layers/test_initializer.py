"""The initializer of convolution kernels: its moments, its seeds."""

import keras
import numpy as np
import pytest
from scipy import stats

import keras_detblocks as kdb


def draw(seed=None, shape=(3, 3, 8, 64)):
    initializer = kdb.fan_out_normal()
    initializer = initializer if seed is None else type(initializer)(seed)
    return keras.ops.convert_to_numpy(initializer(shape))


def test_normal_by_fan_out():
    """Of variance 2 / (3 * 3 * 64), and normal by the Kolmogorov-Smirnov test."""
    values = draw(1, (3, 3, 50, 64)).ravel() / np.sqrt(2 / (9 * 64))
    assert stats.kstest(values, "norm").pvalue > 0.01


def test_seeds():
    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
    keras.utils.set_random_seed(5)
    first, second = draw(), draw()
    assert not np.array_equal(first, second)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(draw(), first)


def test_a_seed_generator_is_keras_own():
    seed = keras.random.SeedGenerator(7)
    values = type(kdb.fan_out_normal())(seed)((1, 1, 4, 100))
    assert float(keras.ops.std(values)) == pytest.approx(np.sqrt(2 / 100), rel=0.2)


def test_config_and_dtype():
    initializer = type(kdb.fan_out_normal())(11)
    again = keras.initializers.deserialize(keras.initializers.serialize(initializer))
    np.testing.assert_array_equal(again((1, 1, 4, 4)), initializer((1, 1, 4, 4)))
    assert (
        keras.backend.standardize_dtype(initializer((1, 1, 4, 4), "bfloat16").dtype) == "bfloat16"
    )


def test_an_initializer_of_the_user_is_cloned_per_layer():
    """Unseeded, one instance gives every convolution values of its own; seeded, the same ones, as
    in Keras' own layers."""
    for seed, equal in ((None, False), (3, True)):
        shared = keras.initializers.HeNormal(seed=seed)
        layers = [kdb.ConvNormAct(4, 3, kernel_initializer=shared) for _ in range(2)]
        for layer in layers:
            layer.build((1, 8, 8, 4))
        first, second = (np.asarray(layer.conv.kernel) for layer in layers)
        assert np.array_equal(first, second) == equal


def test_an_initializer_may_be_any_callable():
    class Halves:
        seed = 1

        def __call__(self, shape, dtype=None):
            return keras.ops.full(shape, 0.5, dtype)

    layer = kdb.ConvNormAct(4, 3, kernel_initializer=Halves())
    layer.build((1, 8, 8, 4))
    assert (np.asarray(layer.conv.kernel) == 0.5).all()
