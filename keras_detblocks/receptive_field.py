"""What a unit of a map sees: the theoretical receptive field, and the effective one (https://arxiv.org/abs/1701.04128)."""

import functools
import math
from dataclasses import dataclass

import keras
import numpy as np

from .analysis import as_model

__all__ = ["ReceptiveField", "effective_receptive_field", "theoretical_receptive_field"]

LARGEST_PROBE = 4096  # pixels along a side; a field that does not fit is called infinite
_IMPULSE = 1e4  # outweighs what an image normalisation subtracts


def theoretical_receptive_field(model_or_layer, channels=None):
    """The side, in input pixels, of the smallest square that holds everything a unit of the output can see.

    Measured, not derived from layer names, so that it works for any model and layer: with positive weights, no biases and a zero
    image, an output unit differs from zero exactly where it sees an impulse. Nothing of the model is changed. Where maps are
    upsampled the field depends on the unit's position, and the number holds up to the coarsest stride. Gates computed from a
    global average (squeeze-and-excitation) do not count, an image-level pooling branch does.

    Args:
        model_or_layer: a model with one input of dynamic height and width, or a layer that takes one map.
        channels: number of input channels, for a layer.

    Returns:
        An int, `math.inf` where the field is the whole image; a dict of such numbers where the output is a dict.

    Raises:
        ValueError: if the input or an output is not a feature map, or the model's input has a fixed size.

    >>> theoretical_receptive_field(keras.layers.Conv2D(4, 3, dilation_rate=2, padding="same"), channels=3)
    5
    """
    model = _dynamic_model(model_or_layer, channels)
    names = _output_names(model)
    sides = dict(zip(names, _sides(model)))
    return sides if isinstance(model.output, dict) else sides[names[0]]


def effective_receptive_field(model_or_layer, input_shape=None, output=None, samples=8, seed=0, inputs=None):
    """How strongly each input pixel acts on the centre unit of the output: the gradient's magnitude, averaged over inputs.

    Paper: https://arxiv.org/abs/1701.04128. The unit's channels are weighted at random for each input, so that they do not cancel.

    Args:
        model_or_layer: a model with one input, or a layer that takes one map.
        input_shape: `(H, W, C)` of the inputs; needed where the model does not fix it.
        output: the name of the output for models with several, `"P4"`.
        samples: number of random inputs, standard normal. seed: of these.
        inputs: `(B, H, W, C)`, real inputs in place of random ones.

    Returns:
        A `ReceptiveField`.

    Raises:
        ValueError: if sizes are missing, or the output is unknown or not a feature map.

    >>> layer = keras.layers.DepthwiseConv2D(3, padding="same", depthwise_initializer="ones")
    >>> effective_receptive_field(layer, (9, 9, 1)).size
    3.0
    """
    rng = np.random.default_rng(seed)
    if inputs is None:
        inputs = rng.normal(size=(samples, *_fixed_shape(model_or_layer, input_shape))).astype("float32")
    inputs = np.asarray(inputs, "float32")
    model = _model(model_or_layer, inputs.shape[1:])
    names = _output_names(model)
    if output is not None and output not in names:
        raise ValueError(f"`output` must be one of {names}. Received: output={output!r}")
    index = names.index(output) if output is not None else 0
    total = np.zeros(inputs.shape[1:3])
    for image in inputs:
        total += np.abs(_centre_gradient(model, image[None], index, rng)).sum(axis=(0, -1))
    return ReceptiveField(total / max(total.max(), np.finfo("float32").tiny))


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """An effective receptive field. `map`: `(H, W)`, the gradient's magnitude, 1 at its largest."""

    map: np.ndarray

    @property
    def size(self):
        """Side of the square of as many pixels as lie within two standard deviations of a Gaussian: 4.55 % of the largest."""
        return float(np.sqrt((self.map > 1 - 0.9545).sum()))

    @property
    def extent(self):
        """Height and width of the region with any gradient."""
        rows, columns = (np.flatnonzero(self.map.max(axis=axis)) for axis in (1, 0))
        return tuple(int(i[-1] - i[0] + 1) if len(i) else 0 for i in (rows, columns))

    def side(self, share=0.95):
        """Side of the smallest centred square that holds this share of the gradient's sum."""
        rows, columns = np.indices(self.map.shape)
        centre = [_centre(n) for n in self.map.shape]
        distance = np.maximum(abs(rows - centre[0]), abs(columns - centre[1]))
        held = np.cumsum(np.bincount(distance.ravel(), weights=self.map.ravel()))
        return int(2 * np.searchsorted(held, share * held[-1] * (1 - 1e-9)) + 1)


def _centre(n):
    return n // 2


def _model(model_or_layer, shape):
    if isinstance(model_or_layer, keras.Model):
        return model_or_layer
    return as_model(model_or_layer, shape)


def _dynamic_model(model_or_layer, channels):
    if not isinstance(model_or_layer, keras.Model):
        if channels is None:
            raise ValueError(f"`channels` is needed for a layer. Received: {model_or_layer.name!r} without it")
        return as_model(model_or_layer, (None, None, channels))
    if len(model_or_layer.inputs) != 1 or model_or_layer.inputs[0].shape[1:3] != (None, None):
        shapes = [tuple(x.shape) for x in model_or_layer.inputs]
        raise ValueError(
            "Expected a model with one input of dynamic height and width: build it with input_shape=(None, None, C), as the "
            f"probe is taller than wide. Received: inputs of {shapes}"
        )
    return model_or_layer


def _fixed_shape(model_or_layer, input_shape):
    if input_shape is None and isinstance(model_or_layer, keras.Model) and len(model_or_layer.inputs) == 1:
        input_shape = model_or_layer.inputs[0].shape[1:]
    if input_shape is None or len(input_shape) != 3 or None in input_shape:
        raise ValueError(f"Give `input_shape=(H, W, C)`, or `inputs`. Received: input_shape={input_shape}")
    return tuple(input_shape)


def _output_names(model):
    names = list(model.output) if isinstance(model.output, dict) else [str(i) for i in range(len(model.outputs))]
    for name, y in zip(names, keras.tree.flatten(model.output)):
        if len(y.shape) != 4:
            raise ValueError(f"Expected outputs (B, H, W, C): take the model without its head. Received: {name} of {y.shape}")
    return names


def _sides(model):
    """The field's side for every output: the larger one of the two axes."""
    values = [[_probe_value(v) for v in group] for group in (model.trainable_variables, model.non_trainable_variables)]
    spec = model.compute_output_spec(keras.KerasTensor((1, 1024, 1024, model.inputs[0].shape[-1])))
    sides = []
    for index, y in enumerate(keras.tree.flatten(spec)):
        probes = [_Probe(model, values, index, axis, max(1, round(1024 / y.shape[axis]))) for axis in (1, 2)]
        sides.append(max(probe.side() for probe in probes))
    return sides


@dataclass(frozen=True)
class _Probe:
    """Measures the field of one output of a model along one axis (1: height, 2: width)."""

    model: keras.Model
    values: list
    index: int
    axis: int
    stride: int

    def side(self):
        length = 64  # it doubles until the field fits wherever the impulse is
        while length <= LARGEST_PROBE:
            side = self.field(length)
            if side < length // 2:
                return side
            length *= 2
        return math.inf

    def field(self, length):
        """The number of pixels that one unit sees, or `length` where it sees too many.

        An impulse at pixel p is seen by the units low(p) to high(p). With the output's stride s these rise by one from p to
        p + s, so that unit 0 sees the pixels from the least p - s * high(p) to the largest p - s * low(p).
        """
        zero = self.response(length)

        @functools.cache
        def units(p):
            seen = np.flatnonzero((self.response(length, length // 2 + p) != zero).any(axis=-1))
            return (seen[0], seen[-1]) if len(seen) else (0, -1)

        first, last = units(0)
        if last - first + 1 >= len(zero) // 2:
            return length
        before = [_last_before_rise(lambda p, end=end: units(p)[end], self.stride) for end in (0, 1)]
        lowest = before[1] + 1 if before[1] + 1 < self.stride else 0
        return int(before[0] - lowest + self.stride * (units(lowest)[1] - units(before[0])[0])) + 1

    def response(self, length, position=None):
        """The outputs `(length', C)` for an image of zeros, or with a line of impulses across it."""
        shape = (length, self.stride) if self.axis == 1 else (self.stride, length)
        x = np.zeros((1, *shape, self.model.inputs[0].shape[-1]), "float32")
        if position is not None:
            x[(slice(None),) * self.axis + (position,)] = _IMPULSE
        outputs, _ = self.model.stateless_call(*self.values, x, training=False)
        y = keras.ops.convert_to_numpy(keras.tree.flatten(outputs)[self.index])
        return y[0].max(axis=2 - self.axis)


def _last_before_rise(value, count):
    """The last p below `count` with value(p) == value(0), for values that rise at most once."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle) == value(0) else (low, middle)
    return low


def _probe_value(variable):
    """Kernels that average channels and add up pixels, identity normalisations: an impulse neither vanishes nor overflows."""
    name = variable.path.rpartition("/")[2]
    if "seed_generator" in variable.path:
        return variable.value
    if name in ("bias", "beta", "moving_mean"):
        return keras.ops.zeros_like(variable.value)
    fan_in = variable.shape[-2] if name == "kernel" and len(variable.shape) > 1 else 1
    return keras.ops.ones_like(variable.value) / fan_in


def _centre_gradient(model, image, index, rng):
    """The gradient `(1, H, W, C)` of the output's centre unit, its channels weighted at random, with respect to the image."""

    def unit(x):
        y = keras.tree.flatten(model(x, training=False))[index]
        weights = rng.normal(size=y.shape[-1]).astype("float32")
        return keras.ops.sum(keras.ops.cast(y[0, _centre(y.shape[1]), _centre(y.shape[2])], "float32") * weights)

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
