"""Conv2D: grouped and dilated values and gradients against the dense convolution with a
block-diagonal kernel."""

import functools

import keras
import numpy as np
import pytest

import keras_detblocks as kdb


@pytest.mark.parametrize(
    "dtype, tolerance", [("mixed_bfloat16", 0.03), ("mixed_float16", 0.005), ("float64", 1e-5)]
)
@pytest.mark.parametrize("groups, dilation", [(6, 1), (1, 2), (6, 2), (24, 2)])
def test_other_precisions_train(dtype, tolerance, groups, dilation):
    """TensorFlow's CPU kernels differentiate grouped and dilated convolutions in float32 alone; the
    layer finds another way."""
    step, exact = (_step(groups, dilation, policy) for policy in (dtype, "float32"))
    assert np.abs(step - exact).max() <= tolerance * np.abs(exact).max()


@functools.cache
def _step(groups, dilation, policy):
    """What one step of training takes off the kernel."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(2, 10, 11, 24)).astype("float32")
    layer = kdb.Conv2D(
        24,
        3,
        groups=groups,
        dilation_rate=dilation,
        dtype=policy,
        kernel_initializer=kdb.fan_out_normal(),
    )
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    before = np.asarray(layer.kernel, "float64")
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.train_on_batch(x, np.zeros_like(x))
    return before - np.asarray(layer.kernel, "float64")
