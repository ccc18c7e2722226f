"""Turns a Keras model into one frozen TensorFlow function of static shape with named inputs and
outputs, from which every format starts."""

import contextlib
import re
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ..checks import check_int, is_int, level_number, level_size
from ..layers.conv import native_convolutions
from .fold import without_normalization

# Names that Keras invents; a file for other people gets better ones.
_AUTOMATIC = re.compile(r"(keras_tensor|input_layer|input)(_?\d+)*")
# Sizes of images for comparing two implementations of dynamic size: odd at some level, not square.
_SAMPLE_SIZES = ((200, 312), (264, 168))
_OTHER_FLOATS = ("float16", "bfloat16", "float64")


@dataclass(frozen=True)
class Signature:
    """The names, static shapes and dtypes of a model's inputs and outputs, in the order of the
    traced function.

    `call` takes the inputs in that order and returns the outputs as a dict by name.
    """

    inputs: dict  # name -> (shape, dtype)
    outputs: tuple  # names
    call: object


class _Float32Policy(keras.DTypePolicy):
    """A policy that computes in float32 and leaves the variables' dtypes alone."""

    def __init__(self, variable_dtype):
        super().__init__("float32")
        self._variable_dtype = variable_dtype


@contextlib.contextmanager
def in_float32(model):
    """A context in which the layers of a model compute in float32, whatever their dtype policies.

    It changes the live layers and restores their policies at the end, so that nothing has to be
    rebuilt from a config, which fails for a `Lambda` or an unregistered class.
    """
    low = [layer for layer in model._flatten_layers() if layer.compute_dtype in _OTHER_FLOATS]
    kept = [layer._dtype_policy for layer in low]
    for layer in low:
        layer._dtype_policy = _Float32Policy(layer.variable_dtype)
    try:
        yield
    finally:
        for layer, policy in zip(low, kept):
            layer._dtype_policy = policy


@contextlib.contextmanager
def _as_constants(model):
    """A context in which the variables of a model become constants of any function that TensorFlow
    traces: replacing them afterward takes longer than the trace."""
    if tf.executing_eagerly():
        yield
        return
    with tf.init_scope():
        values = [np.asarray(variable) for variable in model.variables]
    constants = [
        (variable, tf.constant(value, name=re.sub(r"[^\w/]", "_", variable.path)))
        for variable, value in zip(model.variables, values)
    ]
    with keras.StatelessScope(state_mapping=constants, initialize_variables=False):
        yield


def signature_of(model, image_size=None, batch_size=1):
    """The `Signature` of a model, in float32, in which every size but the batch is known, unless
    `image_size` leaves it open.

    Args:
        model: a functional or built Sequential Keras model.
        image_size: `(height, width)` for inputs of dynamic size (maps named `P3` get `ceil(size /
            8)`, and so on), or a dict from input name to `(height, width)`; `None` in it leaves
            that side dynamic.
        batch_size: an int, or `None` for any.

    Raises:
        ValueError: if the model has no inputs to read shapes from, or was quantized by Keras.
    """
    model = _with_graph(model)
    _check_not_quantized(model)
    batch_size = check_int(batch_size, "batch_size", optional=True)
    for size in image_size.values() if isinstance(image_size, dict) else [image_size]:
        check_size(size)
    structure = model._inputs_struct
    names = _input_names(structure)
    inputs = {
        name: (_static(tensor, name, image_size, batch_size), _dtype(tensor))
        for name, tensor in zip(names, keras.tree.flatten(structure))
    }

    def call(*values):
        packed = keras.tree.pack_sequence_as(structure, list(values))
        with in_float32(model), _as_constants(model):
            found = keras.tree.flatten(model(packed, training=False))
        return dict(zip(outputs, (_as_float32(x) for x in found), strict=True))

    # In ONNX a name is one tensor: the P3 that leaves a neck cannot have the name of the P3 that
    # enters it.
    outputs = tuple(
        f"{name}_out" if name in inputs else name
        for name in _names(model._outputs_struct, "output")
    )
    return Signature(inputs, outputs, call)


def check_size(size):
    """Refuses anything but `(height, width)`, in which `None` leaves a side open."""
    pair = isinstance(size, (tuple, list, np.ndarray)) and len(size) == 2
    if size is not None and not (pair and all(side is None or is_int(side) for side in size)):
        raise ValueError(
            "`image_size` must be a pair (height, width) of ints of at least 1, or of None for "
            "sides "
            f"that stay open. Received: image_size={size!r}"
        )


def _with_graph(model):
    """The model itself if it has a graph; for a built `keras.Sequential`, a functional model around
    it."""
    if isinstance(model, keras.Sequential):
        if not getattr(model, "inputs", None):
            raise ValueError(
                f"{model.name!r} is not built. Begin it with `keras.Input((height, width, "
                "channels))`, or call `build`."
            )
        return keras.Model(model.inputs[0], model(model.inputs[0]), name=model.name)
    if not hasattr(model, "_inputs_struct"):
        raise ValueError(
            "Expected a functional or Sequential keras.Model, whose inputs tell their shapes; a "
            "layer becomes one by `keras_detblocks.as_model(layer, input_shape)`. Received: "
            f"{type(model).__name__} {getattr(model, 'name', model)!r}"
        )
    return model


def _check_not_quantized(model):
    quantized = [layer for layer in model._flatten_layers() if layer.quantization_mode]
    if quantized:
        raise ValueError(
            "Export the model as it was before `quantize`: these files cannot hold its integer "
            "kernels, and `to_tflite(..., quantization='int8')` makes its own. Received: "
            f"{quantized[0].name!r} in {quantized[0].quantization_mode!r}"
        )


def _dtype(tensor):
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return "float32" if dtype in _OTHER_FLOATS else dtype


def _as_float32(x):
    return tf.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in _OTHER_FLOATS else x


def _input_names(structure):
    names = _names(structure, "input")
    tensors = keras.tree.flatten(structure)
    if isinstance(structure, dict):
        return names
    given = [None if _AUTOMATIC.fullmatch(t.name) else re.sub(r"\W", "_", t.name) for t in tensors]
    if len(tensors) == 1 and not given[0]:
        return ("image" if tensors[0].shape[-1] == 3 else "x",)
    return tuple(own or name for own, name in zip(given, names))


def _names(structure, stem):
    """One name per tensor: dict keys joined by `_`, positions elsewhere, `stem` for a single
    tensor."""
    paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
    if len(paths) == 1 and not paths[0]:
        return (stem,)
    if len(paths) == 1 and paths[0] == (0,):
        return (stem,)
    return tuple(
        "_".join(str(k) if isinstance(k, str) else f"{stem}_{k}" for k in path) for path in paths
    )


def _static(tensor, name, image_size, batch_size):
    shape = tuple(tensor.shape)[1:]
    size = image_size.get(name) if isinstance(image_size, dict) else image_size
    if len(shape) == 3 and None in shape[:2] and size is not None:
        wanted = size if isinstance(image_size, dict) else _of_level(name, size)
        return (batch_size, *(w if s is None else s for s, w in zip(shape, wanted)), shape[2])
    if None in shape:
        raise ValueError(
            f"Input {name!r} has dynamic sides {tuple(tensor.shape)}: give `image_size=(height, "
            "width)`, or a dict from input name to it; SavedModel and ONNX files keep them "
            f"dynamic with (None, None). Received: image_size={image_size}"
        )
    return (batch_size, *shape)


def _of_level(name, size):
    """The size of the map with this name, for an image of this size: that of level l if it is
    called `Pl`, else the image's."""
    return level_size(size, level_number(name) or 0)


def freeze(signature, unfused=False, pairs=False):
    """The signature as a concrete TensorFlow function whose variables are constants, and whose
    normalization of images is part of its first convolution (`fold`).

    Args:
        signature: what to trace.
        unfused: as in `native_convolutions`.
        pairs: as in `without_normalization`.

    Returns:
        `(function, graph_def)`: a `tf.function` with the signature's input names that returns a
        dict, and its graph.
    """
    specs = [
        tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in signature.inputs.items()
    ]

    def as_list(*values):  # flattening would sort a dict by key
        outputs = signature.call(*values)
        return [outputs[name] for name in signature.outputs]

    with native_convolutions(unfused):
        concrete = tf.function(as_list, autograph=False).get_concrete_function(*specs)
    frozen, graph_def = _frozen(concrete)
    inputs, outputs = ([t.name for t in each] for each in (frozen.inputs, frozen.outputs))
    folded = without_normalization(graph_def, [name.split(":")[0] for name in inputs], pairs)

    def run(*values):
        found = frozen(*values)
        return dict(zip(signature.outputs, found))

    def run_folded(*values):
        found = tf.graph_util.import_graph_def(folded, dict(zip(inputs, values)), outputs, name="")
        return dict(zip(signature.outputs, found))

    call = run if folded is None else run_folded
    return tf.function(call, input_signature=specs, autograph=False), folded or graph_def


def _frozen(concrete):
    """A concrete function in which every variable is a constant, and its graph."""
    graph_def = concrete.graph.as_graph_def()
    # Variables that are not Keras', and functions inside the function.
    if concrete.captured_inputs or graph_def.library.function:
        concrete = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        graph_def = concrete.graph.as_graph_def()
    return concrete, graph_def


def nodes_of(graph_def, operators):
    """The names of the nodes with one of `operators`, including those in function bodies: they show
    which layer an error is about."""
    nodes = [*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)]
    return [f"{node.name} ({node.op})" for node in nodes if node.op in operators]


def sample_inputs(signature, seed=0):
    """Makes inputs for comparing two implementations: pictures from 0 to 255 for `image`, normal
    numbers for others.

    Dynamic sides get different numbers for each seed.
    """
    rng = np.random.default_rng(seed)
    shapes = {
        name: _sample_shape(name, shape, seed) for name, (shape, _) in signature.inputs.items()
    }
    return {
        name: (picture_like(shape, seed) if name == "image" else rng.normal(size=shape)).astype(
            signature.inputs[name][1]
        )
        for name, shape in shapes.items()
    }


def is_dynamic(signature):
    """Whether sides of inputs, and not only the batch, are left open."""
    return any(None in shape[1:] for shape, _ in signature.inputs.values())


def _sample_shape(name, shape, seed):
    """The shape with numbers for open sides: those of an image, of its level for a map called `Pl`,
    of P3 for others."""
    size = _SAMPLE_SIZES[seed % len(_SAMPLE_SIZES)]
    sides = _of_level(
        "P0" if name == "image" else name if level_number(name) is not None else "P3", size
    )
    return tuple(
        2 if n is None and i == 0 else sides[i - 1] if n is None else n for i, n in enumerate(shape)
    )


def picture_like(shape, seed=0):
    """Draws soft random shapes and noise, closer to a photograph than noise alone, so that
    activations are ordinary."""
    rng = np.random.default_rng(seed)
    batch, height, width, channels = (s or 2 for s in shape)
    coarse = (
        rng.uniform(0, 255, (batch, -(-height // 8), -(-width // 8), channels))
        .repeat(8, 1)
        .repeat(8, 2)
    )
    return np.clip(
        np.rint(coarse[:, :height, :width] + rng.normal(0, 10, (batch, height, width, channels))),
        0,
        255,
    )
