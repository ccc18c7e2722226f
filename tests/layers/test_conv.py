"""Conv2D: grouped and dilated values and gradients against the dense convolution with a
block-diagonal kernel."""

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
    x = np.random.default_rng(0).normal(size=(2, 10, 11, 24)).astype("float32")
    found, weights = [], None
    for policy in ("float32", dtype):
        layer = kdb.Conv2D(
            24,
            3,
            groups=groups,
            dilation_rate=dilation,
            dtype=policy,
            kernel_initializer=kdb.fan_out_normal(),
        )
        layer.build(x.shape)
        if weights is not None:
            layer.set_weights(weights)
        weights = layer.get_weights()
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(x, np.zeros_like(x))
        found.append(weights[0] - np.asarray(layer.kernel, "float64"))
    assert np.abs(found[1] - found[0]).max() <= tolerance * np.abs(found[0]).max()
