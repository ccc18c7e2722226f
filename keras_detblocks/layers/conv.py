"""The one convolution of the package.

Keras 3 sends every grouped convolution on TensorFlow through its own XLA function: the gradient is
two orders of magnitude slower on CPU, and the graph exports to neither ONNX nor TFLite. `Conv2D`
calls `tf.nn.conv2d` itself and keeps the variables, so weights are those of `keras.layers.Conv2D`.
On the JAX and PyTorch backends it goes through `keras.ops.conv`.
"""

import contextlib
import contextvars
import functools

import keras
from keras import ops

from ..checks import check_choice, check_flags, check_int, check_pair
from .folding import norm_within, scale_and_shift
from .lean import Lean

PADDINGS = ("symmetric", "same", "valid")

# TensorFlow's CPU kernel corrupts the heap when a strided 1x1 convolution with 8 or 12 input
# channels is trained (with 16 it does not).
_SAFE_STRIDED_1X1_CHANNELS = 16

# None, "native" or "unfused": see `native_convolutions`.
_TRACE = contextvars.ContextVar("trace", default=None)


@keras.saving.register_keras_serializable(package="keras_detblocks")
class Conv2D(Lean, keras.layers.Conv2D):
    """2D convolution with groups, dilation and symmetric padding that trains, and exports as one
    operator.

    Equal to `keras.layers.Conv2D` with the same weights if that layer accepts the arguments. In
    addition, `padding="symmetric"` pads `dilation * (kernel - 1) // 2` on both sides, as PyTorch
    does (Keras' `"same"` pads only after at stride 2 on even sizes, which shifts pretrained
    features by one pixel); strides and dilation may be combined.

    Args:
        filters: number of output channels.
        kernel_size: int or pair.
        strides: int or pair.
        padding: `"symmetric"`, `"same"` or `"valid"`.
        data_format: `None` or `"channels_last"`.
        dilation_rate: int or pair.
        groups: number of groups; input channels and `filters` must be divisible by it.
        **kwargs: the other arguments of `keras.layers.Conv2D` (activation, use_bias, initializers,
            regularizers, ...).

    Input shape: `(B, H, W, C)`. Output shape: `(B, H', W', filters)`, with `"symmetric"` and an odd
    kernel `ceil(H / stride)`.

    Raises:
        ValueError: on another `data_format`, an unknown padding, or channels that the groups do not
            divide.

    Example:

    >>> layer = Conv2D(128, 3, strides=2, groups=8)
    >>> tuple(layer(keras.ops.ones((1, 13, 10, 64))).shape)
    (1, 7, 5, 128)
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding="symmetric",
        data_format=None,
        dilation_rate=1,
        groups=1,
        **kwargs,
    ):
        check_choice(padding, "padding", PADDINGS)
        if data_format not in (None, "channels_last"):
            raise ValueError(
                "keras_detblocks is channels-last only: leave `data_format` at None or "
                "'channels_last' and transpose the images once. Received: "
                f"data_format={data_format!r}"
            )
        # The base class refuses our padding name and strides with dilation, so it is given values
        # that it accepts first.
        super().__init__(
            check_int(filters, "filters"),
            check_pair(kernel_size, "kernel_size"),
            strides=1,
            padding="valid",
            data_format="channels_last",
            groups=check_int(groups, "groups"),
            **check_flags(kwargs, "use_bias"),
        )
        self.strides = check_pair(strides, "strides")
        self.dilation_rate = check_pair(dilation_rate, "dilation_rate")
        self.padding = padding
        # Under XLA on CPU a grouped gradient is 100 times slower, so jit_compile="auto" becomes
        # False for a model with this layer.
        self.supports_jit = keras.backend.backend() != "tensorflow" or _has_accelerator()

    def call(self, inputs):
        norm = norm_within(self)
        return super().call(inputs) if norm is None else self.folded_call(inputs, norm)

    def folded_call(self, inputs, norm):
        """The convolution of `inputs`, and after it `norm`, whose statistics are fixed."""
        scale, shift = scale_and_shift(norm)
        outputs = self.convolution_op(inputs, self.kernel * scale)
        return ops.add(outputs, shift + self.bias * scale if self.use_bias else shift)

    def convolution_op(self, inputs, kernel):
        x, strides, padding = self._padded(inputs)
        if keras.backend.backend() == "tensorflow":
            return _tensorflow_conv(x, kernel, strides, self.dilation_rate, padding, self.groups)
        if max(strides) > 1 and max(self.dilation_rate) > 1 and keras.backend.backend() != "torch":
            y = ops.conv(
                x, kernel, 1, padding, dilation_rate=self.dilation_rate, data_format="channels_last"
            )
            return y[:, :: strides[0], :: strides[1]]
        return ops.conv(
            x,
            kernel,
            strides,
            padding,
            dilation_rate=self.dilation_rate,
            data_format="channels_last",
        )

    def _padded(self, x):
        """The input, strides and Keras padding name that together mean `self.padding`."""
        if self.kernel_size == (1, 1):
            if max(self.strides) > 1 and x.shape[-1] < _SAFE_STRIDED_1X1_CHANNELS:
                return x[:, :: self.strides[0], :: self.strides[1]], (1, 1), "valid"
            return x, self.strides, "valid"
        if self.padding != "symmetric":
            return x, self.strides, self.padding
        total = [d * (k - 1) for d, k in zip(self.dilation_rate, self.kernel_size)]
        # ONNX Runtime has no dilated SAME, and only for known sizes does the converter replace it
        # by numbers.
        writable = max(self.dilation_rate) == 1 or None not in x.shape[1:3]
        if self.strides == (1, 1) and writable and not any(t % 2 for t in total):
            return x, self.strides, "same"  # the same numbers, and one operator less in TFLite
        pads = [(0, 0), *((t // 2, t // 2) for t in total), (0, 0)]
        return ops.pad(x, pads), self.strides, "valid"

    def compute_output_shape(self, input_shape):
        sides = [self._output_side(n, axis) for axis, n in enumerate(input_shape[1:3])]
        return (input_shape[0], *sides, self.filters)

    def _output_side(self, n, axis):
        if n is None:
            return None
        reach = self.dilation_rate[axis] * (self.kernel_size[axis] - 1)
        padded = n + {"symmetric": reach // 2 * 2, "same": reach, "valid": 0}[self.padding]
        if padded <= reach:
            raise ValueError(
                f"Layer {self.name!r}: a side of {n} is too small for kernel {self.kernel_size}, "
                f"dilation {self.dilation_rate} and padding {self.padding!r}; use at least "
                f"{n + reach + 1 - padded}."
            )
        return (padded - reach - 1) // self.strides[axis] + 1


def _tensorflow_conv(x, kernel, strides, dilation, padding, groups):
    import tensorflow as tf

    if kernel.dtype != x.dtype:
        kernel = tf.cast(kernel, x.dtype)
    channels, filters = kernel.shape[2] * groups, kernel.shape[3]
    plain = max(dilation) == 1
    if groups > 1 and groups == channels == filters and plain and strides[0] == strides[1]:
        depthwise = tf.reshape(kernel, (*kernel.shape[:2], channels, 1))
        return tf.nn.depthwise_conv2d(x, depthwise, (1, *strides, 1), padding.upper())
    if (groups == 1 and plain) or _TRACE.get() or _native_gradients(x.dtype):
        y = tf.nn.conv2d(x, kernel, strides, padding.upper(), dilations=dilation)
        return tf.ensure_shape(y, y.shape) if groups > 1 and _TRACE.get() == "unfused" else y
    if x.dtype in (tf.float16, tf.bfloat16) and _native_gradients(tf.float32):
        y = _tensorflow_conv(
            tf.cast(x, tf.float32), tf.cast(kernel, tf.float32), strides, dilation, padding, groups
        )
        return tf.cast(y, x.dtype)
    # Without oneDNN, and in float64, the CPU kernel has no gradient for grouped and dilated
    # convolutions. Instead: one plain convolution per group, dilation through space-to-batch, and
    # the stride (which space-to-batch refuses) by slicing.
    step = (1, 1) if not plain else strides
    parts = [
        tf.nn.convolution(part, weights, step, padding.upper(), dilations=dilation)
        for part, weights in zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1))
    ]
    y = tf.concat(parts, axis=-1) if groups > 1 else parts[0]
    return y if step == strides else y[:, :: strides[0], :: strides[1]]


@functools.cache
def _native_gradients(dtype):
    """Whether this TensorFlow can differentiate a grouped, dilated convolution on its default
    device (tried once per dtype).

    On CPU it can only in float32 and with oneDNN, which importing this package turns on unless the
    user has set `TF_ENABLE_ONEDNN_OPTS`.
    """
    import tensorflow as tf

    # leaves the graph under construction; it also pauses tapes, hence the gradients' own operators
    with tf.init_scope():
        x, kernel = tf.ones((1, 5, 5, 4), dtype), tf.ones((3, 3, 2, 4), dtype)
        settings = {
            "out_backprop": x,
            "strides": (1, 1, 1, 1),
            "padding": "SAME",
            "dilations": (1, 2, 2, 1),
        }
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, **settings)
            tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **settings)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


@contextlib.contextmanager
def native_convolutions(unfused=False):
    """A context in which graphs are traced with one operator per convolution, whatever this machine
    can differentiate.

    It is for exports: TFLite and ONNX runtimes execute grouped and dilated convolutions themselves.
    With `unfused` (SavedModel), a grouped convolution is kept apart from the operator after it:
    TensorFlow's graph optimizer would fuse the bias into it, and without oneDNN the fused kernel
    refuses groups ("Fused conv implementation does not support grouped convolutions").
    """
    token = _TRACE.set("unfused" if unfused else "native")
    try:
        yield
    finally:
        _TRACE.reset(token)


def for_devices():
    """Whether a graph is being traced for runtimes other than TensorFlow."""
    return _TRACE.get() == "native"


@functools.cache
def _has_accelerator():
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))
