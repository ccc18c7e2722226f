"""Looks at a built layer or model: wrapping a layer as a model, counting, the table of backbones."""

import math
import re

import keras

from .backbones import catalogue
from .backbones.complexity import Complexity
from .backbones.complexity import complexity as spec_complexity

__all__ = ["as_model", "complexity", "model_table", "parameters", "print_model_table"]

# The layers with kernels; separable convolutions count as their two kernels.
_COUNTED = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3D,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
_STATE = re.compile(r"moving_(mean|variance)$|seed_generator")


def as_model(layer, input_shape, batch_size=None, name=None):
    """Wraps a layer, neck or context block into a functional model, for summary, plotting, export and timing.

    Args:
        layer: any Keras layer.
        input_shape: shape without the batch, `(H, W, C)` with `None` for a dynamic side, or a dict of such shapes for layers
            that take a dict of levels.
        batch_size: fixed batch size, or `None`.
        name: of the model; the layer's name with `_model` by default.

    Returns:
        A `keras.Model`; with a dict of shapes its input is a dict of the same keys.

    Example:

    >>> as_model(keras.layers.ReLU(), (8, 8, 3)).output_shape
    (None, 8, 8, 3)
    """
    if isinstance(input_shape, dict):
        inputs = {key: keras.Input(shape=shape, batch_size=batch_size, name=key) for key, shape in input_shape.items()}
    else:
        inputs = keras.Input(shape=tuple(input_shape), batch_size=batch_size, name="image" if input_shape[-1] == 3 else "x")
    return keras.Model(inputs, layer(inputs), name=name or f"{layer.name}_model")


def complexity(model_or_spec, image_size=224, classes=1000):
    """Counts multiply-adds, parameters and activations in the RegNet paper's way (https://arxiv.org/abs/2003.13678, figure 12).

    One multiply-add counts 1, biases count, batch normalisation only its scale and offset (as parameters); activations are the
    sizes of all outputs of convolutions and dense layers. A spec is counted in closed form, without building a model; a model
    is traced once, so that layers inside layers and layers called several times count as often as they run.

    Args:
        model_or_spec: a built `keras.Model`, an `AnyNetSpec` or a `RegNetSpec`.
        image_size: side of the square image, of a spec and of the dynamic sides of a model.
        classes: width of a spec's classifier.

    Returns:
        `Complexity(macs, params, activations)`, ints.

    >>> complexity(kdb.RegNetX002()).macs == 199_040_872
    True
    """
    if not isinstance(model_or_spec, keras.Model):
        return spec_complexity(model_or_spec, image_size, classes)
    calls = []
    leaves = [layer for layer in model_or_spec._flatten_layers() if isinstance(layer, _COUNTED)]
    for layer in leaves:
        layer.__dict__["call"] = _recording(layer, calls)
    try:
        _Trace(model_or_spec).compute_output_spec(keras.tree.map_structure(lambda t: _static(t, image_size), model_or_spec.input))
    finally:
        for layer in leaves:
            del layer.__dict__["call"]
    counts = [_layer_counts(*call) for call in calls]
    return Complexity(sum(macs for macs, _ in counts), parameters(model_or_spec), sum(size for _, size in counts))


def parameters(model):
    """Number of parameters, without the moving statistics of batch normalisation and the states of random generators."""
    return sum(math.prod(v.shape) for v in model.weights if not _STATE.search(v.path))


class _Trace(keras.Operation):
    """A model as one operation, whose output spec comes from running it symbolically down to its innermost layers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        return self.model(inputs, training=False)


def _static(tensor, side):
    return keras.KerasTensor((1, *(side if n is None else n for n in tensor.shape[1:])), dtype=tensor.dtype)


def _recording(layer, calls):
    """The layer's call, noting the shapes."""
    call = layer.call

    def recorded(inputs, *args, **kwargs):
        outputs = call(inputs, *args, **kwargs)
        calls.append((layer, tuple(inputs.shape), tuple(outputs.shape)))
        return outputs

    return recorded


def _layer_counts(layer, input_shape, output_shape):
    """(multiply-adds, activations) of one call."""
    positions = input_shape if isinstance(layer, keras.layers.Conv2DTranspose) else output_shape
    kernels = [w for w in layer.weights if w.path.endswith("kernel")]
    macs = sum(math.prod(kernel.shape) for kernel in kernels) * math.prod(positions[1:-1])
    size = math.prod(output_shape[1:])
    return macs + (size if layer.use_bias else 0), size


def model_table(filter=""):
    """One row per backbone that `keras_detblocks.list_models()` names.

    Args:
        filter: only names that contain it, in any case.

    Returns:
        A list of dicts: name, params, macs and activations (at 224x224, 1000 classes), strides and channels of P2 to P5, weights
        (id of the recommended checkpoint or None), top1 (its published accuracy in percent) and licence.
    """
    return [catalogue.row(name) for name in catalogue.list_models() if filter.lower() in name.lower()]


def print_model_table(filter=""):
    """Prints `model_table`."""
    rows = model_table(filter)
    title = "channels of P2 to P5 (strides 4 to 32)"
    heading = f"{'model':16}{'params':>9}{'MACs':>10}{'acts':>9}  {title:40}{'top-1':>6}"
    print(f"{heading}  weights, licence")
    for row in rows:
        channels = ", ".join(map(str, row["channels"]))
        weights = f"{row['weights']}, {row['licence']}" if row["weights"] else "none published"
        top1 = f"{row['top1']:.2f}" if row["top1"] else "-"
        size = f"{row['params'] / 1e6:8.2f}M{row['macs'] / 1e9:9.2f}G{row['activations'] / 1e6:8.2f}M"
        print(f"{row['name']:16}{size}  {channels:40}{top1:>6}  {weights}")
    if not rows:
        print(f"No model has {filter!r} in its name.")
