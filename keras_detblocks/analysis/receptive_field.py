"""Measures what a unit of a map sees: the theoretical receptive field, and the effective one
(https://arxiv.org/abs/1701.04128)."""

import functools
import math
from dataclasses import dataclass

import keras
import numpy as np

from ..backbones.pyramid import functional_form
from ..checks import check_choice, check_int, check_number, check_shape
from .as_model import as_model

__all__ = ["ReceptiveField", "effective_receptive_field", "theoretical_receptive_field"]

LARGEST_PROBE = (
    16384  # pixels along a side; a field that does not fit into half of this counts as infinite
)
_IMPULSE = 1e4  # outweighs the mean that an image normalization subtracts


def theoretical_receptive_field(model_or_layer, channels=None):
    """The side, in input pixels, of the smallest square that holds everything a unit of the output
    can see.

    Measured, not derived from layer names, so that it works for any model and layer: with positive
    weights, no biases and a zero image, an output unit differs from zero exactly where it sees an
    impulse. The model is not changed. If maps are upsampled, the field depends on the unit's
    position, and the number is exact up to the coarsest stride. Gates computed from a global
    average (squeeze-and-excitation) do not count, an image-level pooling branch does.

    Args:
        model_or_layer: a model with one input of dynamic height and width, or a layer that takes
            one map.
        channels: number of input channels, for a layer or a subclassed model.

    Returns:
        An int, or `math.inf` if the field is the whole image (more than 8191 pixels); a dict of
        such numbers if the output is a dict.

    Raises:
        ValueError: if the input or an output is not a feature map, or the model's input has a fixed
            size.

    >>> layer = keras.layers.Conv2D(4, 3, dilation_rate=2, padding="same")
    >>> theoretical_receptive_field(layer, channels=3)
    5
    """
    model = _dynamic_model(model_or_layer, channels)
    sides = {name: _side(model, name) for name in _maps(model)}
    return sides if isinstance(model.output, dict) else next(iter(sides.values()))


def effective_receptive_field(
    model_or_layer, input_shape=None, output=None, samples=8, seed=0, inputs=None
):
    """Measures how strongly each input pixel acts on the center unit of the output: the gradient's
    magnitude, averaged over inputs.

    Paper: https://arxiv.org/abs/1701.04128. The unit's channels are weighted at random for each
    input, so that they do not cancel.

    Args:
        model_or_layer: a model with one input, or a layer that takes one map.
        input_shape: `(H, W, C)` of the inputs; needed if the model does not fix it.
        output: the name of the output, such as `"P4"`, for models with several.
        samples: number of random inputs, standard normal.
        seed: of the random inputs.
        inputs: `(B, H, W, C)`, real inputs instead of random ones.

    Returns:
        A `ReceptiveField`.

    Raises:
        ValueError: if sizes are missing, or the output is unknown or not a feature map.

    >>> layer = keras.layers.DepthwiseConv2D(3, padding="same", depthwise_initializer="ones")
    >>> effective_receptive_field(layer, (9, 9, 1)).size
    3.0
    """
    samples = check_int(samples, "samples")
    rng = np.random.default_rng(check_int(seed, "seed", least=0))
    if inputs is None:
        inputs = rng.normal(size=(samples, *_fixed_shape(model_or_layer, input_shape))).astype(
            "float32"
        )
    inputs = np.asarray(inputs, "float32")
    model = _model(model_or_layer, inputs.shape[1:])
    names = list(_maps(model))
    output = names[0] if output is None else check_choice(output, "output", names)
    total = np.zeros(inputs.shape[1:3])
    for image in inputs:
        total += np.abs(_center_gradient(model, image[None], output, rng)).sum(axis=(0, -1))
    return ReceptiveField(total / max(total.max(), np.finfo("float32").tiny))


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """An effective receptive field. `map`: `(H, W)`, the gradient's magnitude, 1 at its largest."""

    map: np.ndarray

    @property
    def size(self):
        """The side of a square with as many pixels as exceed 4.55 % of the largest: the share of a
        Gaussian beyond two standard deviations."""
        return float(np.sqrt((self.map > 1 - 0.9545).sum()))

    @property
    def extent(self):
        """The height and width of the region with any gradient."""
        rows, columns = (np.flatnonzero(self.map.max(axis=axis)) for axis in (1, 0))
        return tuple(int(i[-1] - i[0] + 1) if len(i) else 0 for i in (rows, columns))

    def side(self, share=0.95):
        """The side of the smallest centered square that holds this share of the gradient's sum."""
        share = check_number(share, "share", above=0, most=1)
        rows, columns = np.indices(self.map.shape)
        center = [_center(n) for n in self.map.shape]
        distance = np.maximum(abs(rows - center[0]), abs(columns - center[1]))
        held = np.cumsum(np.bincount(distance.ravel(), weights=self.map.ravel()))
        return int(2 * np.searchsorted(held, share * held[-1] * (1 - 1e-9)) + 1)


def _center(n):
    return n // 2


def _model(model_or_layer, shape):
    return functional_form(model_or_layer) or as_model(model_or_layer, shape)


def _dynamic_model(model_or_layer, channels):
    model = functional_form(model_or_layer)
    if model is None and channels is None:
        raise ValueError(
            f"`channels` is needed for a layer. Received: {model_or_layer!r} without it"
        )
    if model is None:
        return as_model(model_or_layer, (None, None, check_int(channels, "channels")))
    if len(model.inputs) != 1 or model.inputs[0].shape[1:3] != (None, None):
        shapes = [tuple(x.shape) for x in model.inputs]
        raise ValueError(
            "Expected a model with one input of dynamic height and width: build it with "
            "input_shape=(None, None, C), as the probe is taller than wide. Received: inputs of "
            f"{shapes}"
        )
    return model


def _fixed_shape(model_or_layer, input_shape):
    model = functional_form(model_or_layer)
    if input_shape is None and model is not None and len(model.inputs) == 1:
        input_shape = model.inputs[0].shape[1:]
    if input_shape is not None:
        input_shape = check_shape(input_shape, "input_shape", "(H, W, C)")
    if input_shape is None or None in input_shape:
        raise ValueError(
            f"Give `input_shape=(H, W, C)`, or `inputs`. Received: input_shape={input_shape}"
        )
    return input_shape


def _named(outputs):
    """A model's outputs by name; by number if they are not a dict."""
    return (
        outputs
        if isinstance(outputs, dict)
        else {str(i): y for i, y in enumerate(keras.tree.flatten(outputs))}
    )


def _maps(model):
    """The model's symbolic outputs by name, all of them feature maps."""
    for name, y in _named(model.output).items():
        if len(y.shape) != 4:
            raise ValueError(
                f"Expected outputs (B, H, W, C): take the model without its head. Received: "
                f"{name} of {y.shape}"
            )
    return _named(model.output)


def _side(model, name):
    """The field's side for one output: the larger one of the two axes."""
    values = [
        [_probe_value(v) for v in group]
        for group in (model.trainable_variables, model.non_trainable_variables)
    ]
    spec = model.compute_output_spec(keras.KerasTensor((1, 1024, 1024, model.inputs[0].shape[-1])))
    shape = _named(spec)[name].shape
    return max(
        _Probe(model, values, name, axis, max(1, round(1024 / shape[axis]))).side()
        for axis in (1, 2)
    )


@dataclass(frozen=True)
class _Probe:
    """Measures the field of one output of a model along one axis (1: height, 2: width)."""

    model: keras.Model
    values: list
    name: str
    axis: int
    stride: int

    def side(self):
        length = 64  # it doubles until the field fits, wherever the impulse is
        while length < 2 * self.stride * _widest_gap(self.model):
            length *= 2
        while length <= LARGEST_PROBE:
            side = self.field(length)
            if side < length // 2:
                return side
            length *= 2
        return math.inf

    def field(self, length):
        """The number of pixels that one unit sees, or `length` if it sees too many.

        An impulse at pixel p is seen by the units low(p) to high(p). With the output's stride s
        these rise by one from p to p + s, so that unit 0 sees the pixels from the least p - s *
        high(p) to the largest p - s * low(p).
        """
        zero = self.response(length)

        @functools.cache
        def units(p):
            seen = np.flatnonzero((self.response(length, length // 2 + p) != zero).any(axis=-1))
            return (seen[0], seen[-1]) if len(seen) else (0, -1)

        first, last = units(0)
        if last - first + 1 >= len(zero) // 2:
            return length
        before = [
            _last_before_rise(lambda p, end=end: units(p)[end], self.stride) for end in (0, 1)
        ]
        lowest = before[1] + 1 if before[1] + 1 < self.stride else 0
        return int(before[0] - lowest + self.stride * (units(lowest)[1] - units(before[0])[0])) + 1

    def response(self, length, position=None):
        """The outputs `(length', C)` for an image of zeros, or with a line of impulses across
        it."""
        shape = (length, self.stride) if self.axis == 1 else (self.stride, length)
        x = np.zeros((1, *shape, self.model.inputs[0].shape[-1]), "float32")
        if position is not None:
            x[(slice(None),) * self.axis + (position,)] = _IMPULSE
        outputs, _ = self.model.stateless_call(*self.values, x, training=False)
        y = keras.ops.convert_to_numpy(_named(outputs)[self.name])
        return y[0].max(axis=2 - self.axis)


def _widest_gap(model):
    """The distance from the first to the last tap of the most dilated convolution, in its own
    pixels: a short probe would miss these taps."""
    pairs = [
        (getattr(layer, "dilation_rate", 1), getattr(layer, "kernel_size", 1))
        for layer in model._flatten_layers()
    ]
    dilated = [pair for pair in pairs if all(isinstance(each, tuple) for each in pair)]
    return max(
        [d * (k - 1) for rates, sizes in dilated for d, k in zip(rates, sizes) if d > 1], default=0
    )


def _last_before_rise(value, count):
    """The last p below `count` with value(p) == value(0), for values that rise at most once."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle) == value(0) else (low, middle)
    return low


def _probe_value(variable):
    """The probe's value of a variable: kernels average channels and add up pixels, normalizations
    are the identity, so that an impulse neither vanishes nor overflows."""
    name = variable.path.rpartition("/")[2]
    if "seed_generator" in variable.path:
        return variable.value
    if name in ("bias", "beta", "moving_mean"):
        return keras.ops.zeros_like(variable.value)
    fan_in = variable.shape[-2] if name == "kernel" and len(variable.shape) > 1 else 1
    return keras.ops.ones_like(variable.value) / fan_in


def _center_gradient(model, image, name, rng):
    """The gradient `(1, H, W, C)` of the output's center unit, its channels weighted at random,
    with respect to the image."""

    def unit(x):
        y = _named(model(x, training=False))[name]
        weights = rng.normal(size=y.shape[-1]).astype("float32")
        return keras.ops.sum(
            keras.ops.cast(y[0, _center(y.shape[1]), _center(y.shape[2])], "float32") * weights
        )

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(image)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = unit(x)
        return tape.gradient(value, x).numpy()
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(unit)(image))
    x = keras.ops.convert_to_tensor(image).requires_grad_()
    unit(x).backward()
    return keras.ops.convert_to_numpy(x.grad)
