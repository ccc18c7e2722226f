"""Values and gradients of `Conv2D` against NumPy, on the backend of the process."""

import itertools

import keras
import numpy as np

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
    return [
        (
            i,
            j,
            x[:, i * dilation :, j * dilation :][
                :, : stride * (h - 1) + 1 : stride, : stride * (w - 1) + 1 : stride
            ],
        )
        for i in range(3)
        for j in range(3)
    ]


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
        return (y**2).sum() / 2

    return [np.asarray(g) for g in jax.jit(jax.grad(loss, (0, 1)))(x, layer.kernel.value)]


def check_values_and_gradients():
    rng = np.random.default_rng(0)
    for groups, stride, dilation, size in itertools.product(
        (1, 4, 16), (1, 2), (1, 2), ((9, 7), (8, 10))
    ):
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
            view[:, : stride * (h - 1) + 1 : stride, : stride * (w - 1) + 1 : stride] += (
                y @ dense[i, j].T
            )
        np.testing.assert_allclose(
            dx, padded[:, dilation:-dilation, dilation:-dilation], atol=1e-3, err_msg=str(case)
        )
        n = 16 // groups
        for g in range(groups):
            block = dense_dk[:, :, g * n : (g + 1) * n, g * n : (g + 1) * n]
            np.testing.assert_allclose(
                dk[..., g * n : (g + 1) * n], block, rtol=1e-3, atol=1e-3, err_msg=str(case)
            )
