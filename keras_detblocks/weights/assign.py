"""Assigns a checkpoint to the variables of a layer or model: everything, exactly once, or an error
that names the tensors.

`Layout` objects hold the names of a class's variables in a reference implementation; they are in
`checkpoints.py` beside the classes (`layouts_for`), and those of whole nets are registered with
`register_model_layout`. The layout with the most keys in the checkpoint is used.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..checks import check_layer
from .folded import unfolded
from .keras_file import check_same_net, whole
from .read import Checkpoint, is_keras_file, read

# PyTorch state dicts hold these beside the weights; Keras has no counterpart.
IGNORED_KEYS = re.compile(r"(^|\.)num_batches_tracked$")

_SUFFIXES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class Layout:
    """The names and the storage of weights in one reference implementation.

    Attributes:
        name: for messages ("timm", "torchvision").
        key: maps a variable's path relative to the layer or model ("lateral_3/kernel") to the
            reference's key.
        transform: maps (key, array) to another array before `to_keras`, for conversions that
            `to_keras` does not do.
        copy_of: maps a key to the one that the checkpoint repeats under it (one module used in
            several places); equal copies are skipped, different ones are an error.
        mark: regular expression for keys that no other reference has; it decides between references
            that share all of the target's keys.
    """

    name: str
    key: Callable[[str], str]
    transform: Callable | None = None
    copy_of: Callable[[str], str] | None = None
    mark: str | None = None


def torch_key(*rules):
    """Returns the `key` function of a PyTorch layout: the rules, then the usual suffixes, with `.`
    for `/`.

    Args:
        *rules: pairs `(pattern, replacement)` of regular expressions, applied in order to the
            variable's path.

    >>> torch_key((r"^predictions/", "head.fc/"))("predictions/kernel")
    'head.fc.weight'
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def key(path):
        for pattern, replacement in compiled:
            path = pattern.sub(replacement, path)
        stem, _, suffix = path.rpartition("/")
        return f"{stem}/{_SUFFIXES.get(suffix, suffix)}".lstrip("/").replace("/", ".")

    return key


_MODEL_LAYOUTS = []
_LAYER_LAYOUTS = {}  # class -> function from a layer to its layouts
_KERAS = Layout("Keras", key=lambda path: path)


def checkpoint_of(model, source, config=None):
    """The weights of a Keras model as a `Checkpoint`, by the variables' paths.

    Args:
        model: a `keras.Model`.
        source: where they came from, for messages.
        config: the checkpoint's settings, a dict.
    """
    return Checkpoint({v.path: np.asarray(v) for v in _stored(model)}, source, config or {}, _KERAS)


def layouts_for(*kinds):
    """Decorates a function from a layer of these classes, or of subclasses, to the list of layouts
    that `load` tries for it.

    A class of your own can have a method `weight_layouts()` that returns the list instead.
    """

    def register(function):
        _LAYER_LAYOUTS.update(dict.fromkeys(kinds, function))
        return function

    return register


def layer_layouts(layer):
    """The layouts that `load` tries for a layer, or `None` if it has none of its own."""
    if hasattr(layer, "weight_layouts"):
        return layer.weight_layouts()
    known = [kind for kind in type(layer).__mro__ if kind in _LAYER_LAYOUTS]
    return _LAYER_LAYOUTS[known[0]](layer) if known else None


def register_model_layout(layout):
    """Adds a layout that `load` tries for functional models; returns it."""
    _MODEL_LAYOUTS.append(layout)
    return layout


def load(target, source, prefix="", skip=(), unused=None, adapt=None):
    """Assigns the weights of a reference checkpoint to a built layer or model.

    Args:
        target: a built layer of this package, a model of one such layer (`as_model`), or one of our
            backbones.
        source: a dict of NumPy arrays under the reference implementation's key names (PyTorch's
            layout), the path of a `.safetensors` file, a Hugging Face id, or for a model a `.keras`
            or `.weights.h5` file of the same model (which Keras loads, without the arguments
            below).
        prefix: of the keys to use; others are ignored and the prefix is dropped (`"neck."`).
        skip: paths of variables to leave as they are, such as a head for other classes.
        unused: regular expression for reference keys that the target need not use, such as those of
            stages that were not built.
        adapt: functions by variable path, (array in Keras' order, variable) -> array, or None to
            leave the variable as it is.

    Returns:
        The layout's name, followed by ", folded" if the file had its batch normalizations folded
        into the convolutions: those of the target then only add the file's bias.

    Raises:
        ValueError: if a tensor is missing, unused or misshapen; the message names all of them, and
            nothing is assigned.
    """
    check_layer(target, "target")
    if is_keras_file(source):
        check_same_net(target, source)
        with whole(source):
            target.load_weights(source)
        return "Keras"
    checkpoint = read(source)
    tensors = {
        key[len(prefix) :]: value
        for key, value in checkpoint.tensors.items()
        if key.startswith(prefix) and not IGNORED_KEYS.search(key)
    }
    variables, layouts = _variables_and_layouts(target)
    variables = {path: variable for path, variable in variables.items() if path not in skip}
    if not layouts:
        raise ValueError(
            f"No reference key names are known for {target.name!r} ({type(target).__name__})."
        )
    layout = checkpoint.layout or max(
        layouts, key=lambda each: _agreement(each, variables, tensors)
    )
    tensors = _without_copies(tensors, layout)
    tensors, folded = unfolded(target, variables, layout, tensors)
    allowed = {layout.key(path) for path in skip} | {
        key for key in tensors if unused and re.search(unused, key)
    }
    _assign(variables, layout, tensors, checkpoint.source, allowed, adapt or {})
    return f"{layout.name}, folded" if folded else layout.name


def _agreement(layout, variables, tensors):
    """The number of the variables' keys that the checkpoint has, then whether it has the layout's
    mark."""
    marked = layout.mark is not None and any(re.search(layout.mark, key) for key in tensors)
    return sum(layout.key(path) in tensors for path in variables), marked


def _without_copies(tensors, layout):
    """The tensors without those that repeat another one in the reference's files."""
    if layout.copy_of is None:
        return tensors
    first = {key: layout.copy_of(key) for key in tensors}
    unlike = [
        key
        for key, other in first.items()
        if other in tensors and not np.array_equal(tensors[key], tensors[other])
    ]
    if unlike:
        raise ValueError(
            f"Read as {layout.name}, these should repeat one shared tensor and differ from it: "
            f"{', '.join(unlike[:8])}. Build the layer with separate weights (`shared=False`). "
            "Nothing was loaded."
        )
    return {
        key: value
        for key, value in tensors.items()
        if first[key] == key or first[key] not in tensors
    }


def _variables_and_layouts(target):
    """The variables by path relative to the target, and the layouts to try."""
    layouts = layer_layouts(target)
    if layouts is not None:
        return {_below(v.path, target.name): v for v in _stored(target)}, layouts
    owners = [layer for layer in getattr(target, "layers", ()) if layer.weights]
    if len(owners) == 1 and layer_layouts(owners[0]) is not None:
        return _variables_and_layouts(owners[0])
    return {v.path: v for v in _stored(target)}, _MODEL_LAYOUTS


def _stored(target):
    if not target.built:
        raise ValueError(
            f"{target.name!r} has no weights yet: call or build it before loading weights into it."
        )
    return [v for v in target.weights if "seed_generator" not in v.path]


def _below(path, name):
    return re.sub(rf"^(.*/)?{re.escape(name)}/", "", path, count=1)


def _assign(variables, layout, tensors, source, unused_allowed, adapt):
    keys = {path: layout.key(path) for path in variables}
    missing = sorted({key for key in keys.values() if key not in tensors})
    unused = sorted(set(tensors) - set(keys.values()) - unused_allowed)
    arrays, misshapen = {}, []
    for path, key in keys.items():
        if key in tensors:
            array = (
                tensors[key] if layout.transform is None else layout.transform(key, tensors[key])
            )
            array = array if layout is _KERAS else to_keras(array, variables[path])
            array = adapt[path](array, variables[path]) if path in adapt else array
            if array is not None and array.shape != tuple(variables[path].shape):
                misshapen.append(
                    f"{key}: expected {tuple(variables[path].shape)}, received {array.shape}"
                )
            arrays[path] = array
    problems = [
        f"{title}: {', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}"
        for title, names in (
            ("missing", missing),
            ("unused", unused),
            ("misshapen (Keras order)", misshapen),
        )
        if names
    ]
    if problems:
        raise ValueError(
            f"The weights of {source} do not fit, read as {layout.name}. {'. '.join(problems)}. "
            f"Nothing was loaded."
        )
    for path, array in arrays.items():
        if array is not None:
            variables[path].assign(array)


def to_keras(array, variable):
    """Converts an array from PyTorch's layout to Keras' order: convolution kernels OIHW -> HWIO,
    linear weights (out, in) -> (in, out)."""
    array = np.asarray(array)
    if variable.path.rpartition("/")[2] != "kernel":
        return array if array.ndim == len(variable.shape) else array.reshape(variable.shape)
    if array.ndim == 4 and len(variable.shape) == 2:
        array = array.reshape(array.shape[:2])
    if array.ndim == 2 and len(variable.shape) == 4:
        array = array[:, :, None, None]
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
