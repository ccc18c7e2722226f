"""Conv2D: grouped and dilated values and gradients against the dense convolution with a
block-diagonal kernel."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from cases import NEEDS_TORCH

import keras_detblocks as kdb

# Run in children: with oneDNN on and off, on the JAX backend, and on the PyTorch backend where
# torch is installed.
SCRIPT = """
import itertools
import keras, numpy as np
import keras_detblocks as kdb

def dense_kernel(kernel, groups):
    kh, kw, cin, cout = kernel.shape
    dense = np.zeros((kh, kw, cin * groups, cout), "float32")
    for g in range(groups):
        outs = slice(g * cout // groups, (g + 1) * cout // groups)
        dense[:, :, g * cin : (g + 1) * cin, outs] = kernel[..., outs]
    return dense

def reference(x, kernel, stride, dilation):
    # Every tap by NumPy: no convolution of any framework.
    p = dilation
    x = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
    h, w = (x.shape[1] - 2 * p - 1) // stride + 1, (x.shape[2] - 2 * p - 1) // stride + 1
    return [(i, j, x[:, i * dilation :, j * dilation :][:, : stride * (h - 1) + 1 : stride, : stride * (w - 1) + 1 : stride])
            for i in range(3) for j in range(3)]

def gradients(layer, x):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        with tf.GradientTape() as tape:
            x = tf.convert_to_tensor(x)
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) ** 2) / 2
        return [np.asarray(g) for g in tape.gradient(loss, [x, layer.kernel.value])]
    if keras.backend.backend() == "torch":
        import torch
        x = torch.tensor(x, requires_grad=True)
        (layer(x) ** 2).sum().div(2).backward()
        return [x.grad.numpy(), layer.kernel.value.grad.numpy()]
    import jax
    def loss(x, kernel):
        y, _ = layer.stateless_call([kernel], [], x)
        return (y ** 2).sum() / 2
    return [np.asarray(g) for g in jax.grad(loss, (0, 1))(x, layer.kernel.value)]

rng = np.random.default_rng(0)
for groups, stride, dilation, size in itertools.product((1, 4, 16), (1, 2), (1, 2), ((9, 7), (8, 10))):
    layer = kdb.Conv2D(16, 3, stride, dilation_rate=dilation, groups=groups, use_bias=False)
    x = rng.normal(size=(2, *size, 16)).astype("float32")
    layer.build(x.shape)
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    dense = dense_kernel(kernel, groups)
    taps = reference(x, dense, stride, dilation)
    y = sum(t @ dense[i, j] for i, j, t in taps)
    got = keras.ops.convert_to_numpy(layer(x))
    case = (groups, stride, dilation, size)
    np.testing.assert_allclose(got, y, atol=1e-4, err_msg=str(case))
    assert got.shape == layer.compute_output_shape(x.shape), case
    dx, dk = gradients(layer, x)
    dense_dk = np.zeros_like(dense)
    padded = np.zeros((2, size[0] + 2 * dilation, size[1] + 2 * dilation, 16), "float32")
    h, w = y.shape[1:3]
    for i, j, t in taps:
        dense_dk[i, j] = np.einsum("bhwc,bhwd->cd", t, y)
        view = padded[:, i * dilation :, j * dilation :]
        view[:, : stride * (h - 1) + 1 : stride, : stride * (w - 1) + 1 : stride] += y @ dense[i, j].T
    np.testing.assert_allclose(dx, padded[:, dilation:-dilation, dilation:-dilation], atol=1e-3, err_msg=str(case))
    n = 16 // groups
    for g in range(groups):
        block = dense_dk[:, :, g * n : (g + 1) * n, g * n : (g + 1) * n]
        np.testing.assert_allclose(dk[..., g * n : (g + 1) * n], block, rtol=1e-3, atol=1e-3, err_msg=str(case))
print("equal")
"""


def run(**environment):
    root = str(pathlib.Path(__file__).parents[2])
    everything = {**os.environ, "PYTHONPATH": root, **environment}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=everything
    )


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(dict(TF_ENABLE_ONEDNN_OPTS="1"), id="oneDNN"),
        pytest.param(dict(TF_ENABLE_ONEDNN_OPTS="0"), id="without oneDNN"),
        pytest.param(dict(KERAS_BACKEND="jax"), id="JAX"),
        pytest.param(dict(KERAS_BACKEND="torch"), id="PyTorch", marks=NEEDS_TORCH),
    ],
)
def test_values_and_gradients(environment):
    done = run(**environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("equal")


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
