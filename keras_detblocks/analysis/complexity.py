"""Counts the costs of a model: multiply-adds, parameters, activations."""

import inspect
import math
import re
import warnings

import keras

from ..backbones import AnyNetSpec, RegNetSpec, catalog
from ..backbones.complexity import Complexity
from ..backbones.complexity import complexity as spec_complexity
from ..checks import check_int, check_layer

__all__ = ["complexity", "parameters"]

_STATE = re.compile(r"moving_(mean|variance)$|seed_generator")


def complexity(model_or_spec, image_size=224, classes=1000):
    """Counts multiply-adds, parameters and activations in the RegNet paper's way
    (https://arxiv.org/abs/2003.13678, figure 12).

    One multiply-add counts as 1, biases count, batch normalization counts only its scale and offset
    (as parameters); activations are the sizes of all outputs of convolutions and dense layers. A
    spec is counted in closed form, without building a model; a model is traced once, so that layers
    inside layers and layers called several times count as often as they run. Of attention, the
    projections and the two products of `MultiHeadAttention` are counted; a warning names the types
    of layers that are not counted, such as recurrent ones.

    Args:
        model_or_spec: a functional or built sequential `keras.Model`, an `AnyNetSpec`, a
            `RegNetSpec`, or the name of one of our backbones (`list_models()`), in any case.
        image_size: side of the square image for a spec, a named backbone, and dynamic sides of a
            model.
        classes: width of the classifier, for a spec or a named backbone.

    Returns:
        `Complexity(macs, params, activations)`, ints.

    Raises:
        ValueError: for an unknown name, with the nearest known ones; for a model without defined
            inputs, and for anything else.

    >>> complexity(kdb.RegNetX002()).macs == complexity("regnetx002").macs == 199_040_872
    True
    """
    image_size, classes = check_int(image_size, "image_size"), check_int(classes, "classes")
    if isinstance(model_or_spec, str):
        model_or_spec = _named(model_or_spec, image_size, classes)
    if isinstance(model_or_spec, (AnyNetSpec, RegNetSpec)):
        return spec_complexity(model_or_spec, image_size, classes)
    model, inputs = model_or_spec, _inputs(model_or_spec)
    uncounted = _uncounted_types(model)
    if uncounted:
        warnings.warn(
            f"The multiply-adds of these layers are not counted: {', '.join(uncounted)}.",
            stacklevel=2,
        )
    counts = _traced_counts(
        model, keras.tree.map_structure(lambda t: _static(t, image_size), inputs)
    )
    return Complexity(
        sum(macs for macs, _ in counts), parameters(model), sum(size for _, size in counts)
    )


def _named(name, image_size, classes):
    """The spec or the model of a backbone."""
    spec = catalog.spec(catalog.find(name))
    return spec or catalog.constructor(name)(
        input_shape=(image_size, image_size, 3), classes=classes
    )


def _inputs(model):
    """The inputs of a model, in the structure that it takes."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            "Expected a keras.Model, an AnyNetSpec, a RegNetSpec or a name of `list_models()`. "
            f"Received: {model!r} ({type(model).__name__}); call a constructor first, and make a "
            "model of a layer with `as_model(layer, input_shape)`."
        )
    try:
        # A sequential model knows its one input without having been called.
        return model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    except AttributeError as error:
        raise ValueError(
            "Expected a model whose inputs are defined: functional, or sequential and built. "
            f"Received: {model.name!r} ({type(model).__name__}); build it, or count "
            "`as_model(model, input_shape)`."
        ) from error


def _traced_counts(model, inputs):
    """The (multiply-adds, activations) of each call of a layer in `_COUNTERS`."""
    calls = []
    leaves = [layer for layer in model._flatten_layers() if isinstance(layer, tuple(_COUNTERS))]
    for layer in leaves:
        layer.__dict__["call"] = _recording(layer, calls)
    try:
        _Trace(model).compute_output_spec(inputs)
    finally:
        for layer in leaves:
            del layer.__dict__["call"]
    return [
        next(count for kind, count in _COUNTERS.items() if isinstance(layer, kind))(
            layer, inputs, output
        )
        for layer, inputs, output in calls
    ]


def parameters(model):
    """The number of parameters of a `model`, without the moving statistics of batch normalization
    and the states of random generators."""
    weights = check_layer(model).weights
    return sum(math.prod(v.shape) for v in weights if not _STATE.search(v.path))


class _Trace(keras.Operation):
    """A model as one operation, whose output spec comes from running it symbolically down to its
    innermost layers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        return self.model(inputs, training=False)


def _static(tensor, side):
    return keras.KerasTensor(
        (1, *(side if n is None else n for n in tensor.shape[1:])), dtype=tensor.dtype
    )


def _recording(layer, calls):
    """The layer's call, which also records shapes: of the inputs by argument name, and of the
    output."""
    call, signature = layer.call, inspect.signature(layer.call)

    def recorded(*args, **kwargs):
        output = call(*args, **kwargs)
        tensors = signature.bind(*args, **kwargs).arguments
        shapes = {
            name: tuple(value.shape) for name, value in tensors.items() if hasattr(value, "shape")
        }
        calls.append((layer, shapes, tuple(keras.tree.flatten(output)[0].shape)))
        return output

    return recorded


def _dense(layer, inputs, output):
    """Counts every kernel entry once per position of the output."""
    return _at_positions(layer, output[1:-1], output)


def _transposed(layer, inputs, output):
    """Counts every kernel entry once per position of the input."""
    return _at_positions(layer, _first(inputs)[1:-1], output)


def _at_positions(layer, sides, output):
    size = math.prod(output[1:])
    # There are two for a separable convolution.
    kernels = [w for w in layer.weights if w.path.endswith("kernel")]
    macs = sum(math.prod(kernel.shape) for kernel in kernels) * math.prod(sides)
    return macs + (size if layer.use_bias else 0), size


def _einsum(layer, inputs, output):
    """Counts every combination of the equation's indices once."""
    size = math.prod(output[1:])
    read, kernel = layer.equation.partition("->")[0].split(",")
    macs = math.prod(_first(inputs)) * math.prod(
        n for label, n in zip(kernel, layer.kernel.shape) if label not in read
    )
    return macs + (size if layer.bias is not None else 0), size


def _first(inputs):
    return next(iter(inputs.values()))


def _attention(layer, inputs, output):
    """Counts the products of queries with keys and of weights with values; the projections are
    separate layers."""
    queries, values = inputs["query"], inputs["value"]
    axes = layer.attention_axes or range(1, len(values) - 1)
    pairs = math.prod(queries[1:-1]) * math.prod(values[axis] for axis in axes)
    return layer.num_heads * pairs * (layer.key_dim + layer.value_dim), 0


# How a call is counted: (layer, shapes of the inputs by name, shape of the output) ->
# (multiply-adds, activations), batch 1.
_COUNTERS = {
    keras.layers.Conv1D: _dense,
    keras.layers.Conv1DTranspose: _transposed,
    keras.layers.Conv2D: _dense,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.Conv3D: _dense,
    keras.layers.Conv3DTranspose: _transposed,
    keras.layers.Dense: _dense,
    keras.layers.DepthwiseConv1D: _dense,
    keras.layers.DepthwiseConv2D: _dense,
    keras.layers.EinsumDense: _einsum,
    keras.layers.MultiHeadAttention: _attention,
    keras.layers.SeparableConv1D: _dense,
    keras.layers.SeparableConv2D: _dense,
}
# Free in this way of counting, whatever the shape of their weights: look-ups, element-wise scales,
# and operations that only run in training.
_FREE = (
    keras.layers.BatchNormalization,
    keras.layers.Embedding,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.PReLU,
    keras.layers.RMSNormalization,
    keras.layers.SpectralNormalization,
)
# Products of two inputs, which have no weight.
_PRODUCTS = (
    keras.layers.AdditiveAttention,
    keras.layers.Attention,
    keras.layers.Dot,
    keras.layers.GroupQueryAttention,
)


def _uncounted_types(model):
    """The names of the layer types that multiply matrices in ways that `_COUNTERS` does not
    know."""
    unknown = [
        layer for layer in model._flatten_layers() if not isinstance(layer, (*_COUNTERS, *_FREE))
    ]
    return sorted(
        {
            type(layer).__name__
            for layer in unknown
            if isinstance(layer, _PRODUCTS) or _has_matrix(layer)
        }
    )


def _has_matrix(layer):
    """Whether a weight of the layer itself, not of a sublayer, is more than a vector along the last
    axis."""
    inner = {
        id(weight)
        for child in layer._flatten_layers(include_self=False)
        for weight in child.weights
    }
    return any(
        math.prod(weight.shape[:-1]) > 1 for weight in layer.weights if id(weight) not in inner
    )
