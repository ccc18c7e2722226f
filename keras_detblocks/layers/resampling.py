"""Resamples between pyramid levels, in a form that equals PyTorch's at any size and is short in
TFLite."""

import keras
import numpy as np
from keras import ops

from ..checks import check_choice, check_int, check_pair, one_or_pair
from .conv import PADDINGS, for_devices

METHODS = ("nearest", "bilinear")


def upsample_to(x, like, method="nearest", factor=None):
    """Upsamples `x` by a power of two and crops it to the height and width of `like`.

    Nearest x2 and crop equals PyTorch's size-based nearest interpolation for the ceil-halved maps
    of a pyramid, odd sizes included; Keras' own resize to the target size does not. `method` is
    `"nearest"` or `"bilinear"` (half-pixel centers).

    Args:
        x: `(B, h, w, C)`.
        like: `(B, H, W, C')`, with `h <= H <= 2 ** k * h` for some k, likewise the width.
        factor: the power of two if it is known; otherwise it follows from the sizes (2 if these are
            dynamic).

    Returns:
        `(B, H, W, C)`.
    """
    check_choice(method, "method", METHODS)
    factor = check_int(factor, "factor", optional=True) or _factor(x, like)
    if factor & (factor - 1):
        raise ValueError(f"`factor` must be a power of two. Received: factor={factor}")
    if factor == 1:
        return x
    height, width = ops.shape(like)[1], ops.shape(like)[2]
    if method == "nearest" and for_devices():
        y = _nearest_by_depth(x, factor)
    elif None in x.shape[1:3]:
        if method == "nearest":
            y = ops.repeat(ops.repeat(x, factor, axis=1), factor, axis=2)
        else:
            y = _linear(_linear(x, factor, 1), factor, 2)
    else:
        # One RESIZE operator in TFLite, where UpSampling2D becomes twelve.
        size = (x.shape[1] * factor, x.shape[2] * factor)
        y = ops.image.resize(x, size, interpolation=method, data_format="channels_last")
    if (y.shape[1], y.shape[2]) == (like.shape[1], like.shape[2]) and None not in y.shape[1:3]:
        return y
    return y[:, :height, :width]


def resize_to(x, like, method="nearest"):
    """Resizes `x` to the height and width of `like`, whatever their ratio.

    For exact powers of two `upsample_to` is
    the shorter graph.

    Args:
        x: `(B, h, w, C)`. like: `(B, H, W, C')`.
        method: `"nearest"` takes source index floor(i * a / b), as PyTorch's size-based nearest
            interpolation; `"bilinear"` has half-pixel centers and repeated edges.

    Returns:
        `(B, H, W, C)`.
    """
    check_choice(method, "method", METHODS)
    for axis in (1, 2):
        here = x.shape[axis] if x.shape[axis] is not None else ops.shape(x)[axis]
        there = like.shape[axis] if like.shape[axis] is not None else ops.shape(like)[axis]
        known = isinstance(here, int) and isinstance(there, int)
        if known and here == there:
            continue
        # NumPy for known sizes: outside of a step, JAX would compile each single operator.
        numbers, cast = (np, _as_type) if known else (ops, ops.cast)
        steps = numbers.arange(there, dtype="int32")
        if method == "nearest":
            x = ops.take(x, steps * here // there, axis=axis)
            continue
        here_float, there_float = (float(n) if known else cast(n, "float32") for n in (here, there))
        source = (cast(steps, "float32") + 0.5) * here_float / there_float - 0.5
        source = numbers.clip(source, 0.0, here_float - 1)
        low = cast(numbers.floor(source), "int32")
        weight = numbers.reshape(
            source - numbers.floor(source), (-1, 1, 1) if axis == 1 else (-1, 1)
        )
        weight = ops.cast(weight, x.dtype)
        below, above = (
            ops.take(x, low, axis=axis),
            ops.take(x, numbers.minimum(low + 1, here - 1), axis=axis),
        )
        x = below * (1 - weight) + above * weight
    return x


def _as_type(array, dtype):
    return array.astype(dtype)


def _nearest_by_depth(x, factor):
    """Upsamples (nearest) by a power of two by copying channels, as exported files do.

    XNNPACK and phones' GPU delegates do not take a nearest resize and split the graph at it; ONNX
    has no equivalent of TensorFlow's. In training on CPU this takes twice the time of the resize.
    """
    import tensorflow as tf

    while factor > 1:
        x, factor = tf.nn.depth_to_space(tf.concat([x] * 4, axis=-1), 2), factor // 2
    return x


def _linear(x, factor, axis):
    """Interpolates linearly along one axis of unknown length, with half-pixel centers and repeated
    edges: one phase per offset."""
    first, last = (
        (slice(None),) * axis + (slice(None, 1),),
        (slice(None),) * axis + (slice(-1, None),),
    )
    but_first, but_last = (
        (slice(None),) * axis + (slice(1, None),),
        (slice(None),) * axis + (slice(None, -1),),
    )
    before = ops.concatenate([x[first], x[but_last]], axis)
    after = ops.concatenate([x[but_first], x[last]], axis)
    phases = []
    for offset in ((p + 0.5) / factor - 0.5 for p in range(factor)):
        phases.append(x * (1 - abs(offset)) + (before if offset < 0 else after) * abs(offset))
    shape = list(ops.shape(x))
    shape[axis] *= factor
    return ops.reshape(ops.stack(phases, axis + 1), shape)


def _factor(x, like):
    """The power of two that reaches the size of `like`; two if the sizes are not known before run
    time."""
    pairs = [
        (n, m) for n, m in zip(x.shape[1:3], like.shape[1:3]) if n is not None and m is not None
    ]
    factor = 1
    while any(n * factor < m for n, m in pairs):
        factor *= 2
    return factor if pairs else 2


@keras.saving.register_keras_serializable(package="keras_detblocks")
class MaxPool2D(keras.layers.Layer):
    """Max-pooling with `padding="symmetric"`: minus infinity on both sides, as in PyTorch; or
    Keras' `"same"` or `"valid"`.

    A symmetric strided window is computed as a stride-1 `same` window and a subsampling, which is
    exact at every size and needs no padding operator (a pad of minus infinity would ruin the ranges
    of an int8 file).

    Args:
        pool_size: int or pair, odd for symmetric padding. strides: int or pair.
        padding: `"symmetric"`, `"same"` or `"valid"`.

    Input shape `(B, H, W, C)`, output shape `(B, ceil(H / strides), ceil(W / strides), C)` unless
    `"valid"`.

    >>> tuple(MaxPool2D(3, strides=2)(keras.ops.ones((1, 8, 7, 2))).shape)
    (1, 4, 4, 2)
    """

    def __init__(self, pool_size, strides=1, padding="symmetric", **kwargs):
        super().__init__(**kwargs)
        self.pool_size = one_or_pair(pool_size, "pool_size")
        self.strides = one_or_pair(strides, "strides")
        self.padding = check_choice(padding, "padding", PADDINGS)
        if padding == "symmetric" and any(side % 2 == 0 for side in self._window):
            raise ValueError(
                f"Symmetric padding needs an odd window; padding='same' takes this one. Received: "
                f"pool_size={pool_size}"
            )

    @property
    def _window(self):
        return check_pair(self.pool_size, "pool_size")

    @property
    def _steps(self):
        return check_pair(self.strides, "strides")

    def call(self, x):
        window, steps, padding = self._window, self._steps, self.padding
        if padding == "symmetric":
            if window != (1, 1):
                x = ops.max_pool(x, window, 1, "same", data_format="channels_last")
            window, padding = (1, 1), "valid"
        if window == steps == (1, 1):
            return x
        return ops.max_pool(x, window, steps, padding, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        lost = [k - 1 if self.padding == "valid" else 0 for k in self._window]
        sides = [
            None if n is None else -(-(n - less) // step)
            for n, less, step in zip(input_shape[1:3], lost, self._steps)
        ]
        return (input_shape[0], *sides, input_shape[3])

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }
