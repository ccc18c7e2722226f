"""The start: weights that ship with the package, from which a compact detector begins its training.

They were learned from pictures made by formulas (`data.synthetic`) with
`examples/pretrain_start.py`, so that no photograph, and no photograph's license, is involved.
Formula-driven pretraining: https://arxiv.org/abs/2101.08515.
"""

import importlib.resources

import numpy as np
from keras import ops

from ..checks import check_path
from .model import check_detector

SHIPPED = "compact_start.safetensors"
OBJECT = "object"  # the class of the pretraining to which every object belongs
_CLASSIFIER = "classifier/"  # in a start file: the filter of that class


def shipped_start():
    """The path of the start that ships with the package."""
    return importlib.resources.files("keras_detblocks") / "weights" / SHIPPED


def start_weights(detector, path=None):
    """Gives a detector the start's weights, part by part, if its parts match those of the start.

    The backbone starts if all its kernels have the shapes in the start; the neck if the backbone
    did and its own kernels match too; the head if the neck did. Weights that the file lacks
    (normalizations of other levels) stay new. Every class begins as "any object".

    Args:
        detector: a `Detector`, such as from `build_detector(class_names, image_size)`.
        path: of a file written by `save_start`; by default the one that ships with the package.

    Returns:
        The names of the parts that were started: a tuple of none, some or all of `"backbone"`,
        `"neck"` and `"head"`, in this order.

    Raises:
        FileNotFoundError: `path` is not a file.

    >>> detector = build_detector(["cat"], (64, 64), neck="panet")
    >>> start_weights(detector)
    ('backbone',)
    """
    from safetensors.numpy import load_file

    check_detector(detector)
    path = check_path(path, "path", optional=True)
    tensors = load_file(str(path or shipped_start()))
    started = []
    for part, variables in _parts(detector):
        names = {_name(detector, variable): variable for variable in variables}
        kernels = {name: v for name, v in names.items() if len(v.shape) == 4}
        if not kernels or not all(_fits(tensors, name, v) for name, v in kernels.items()):
            break
        for name, variable in names.items():
            if _fits(tensors, name, variable):
                value = tensors[name].astype("float32")
                variable.assign(np.broadcast_to(value, variable.shape))
        started.append(part)
    return tuple(started)


def save_start(detector, path, metadata=None):
    """Writes a detector's weights as a start: in float16, and with `"object"` as the only class.

    Args:
        detector: a `Detector` with a class called `"object"`.
        path: of the `.safetensors` file to write.
        metadata: a dict of strings that travels in the file.

    Raises:
        ValueError: there is no such class.
    """
    from safetensors.numpy import save_file

    check_detector(detector)
    path = check_path(path, "path")
    if OBJECT not in detector.class_names:
        raise ValueError(
            f"A start needs the class {OBJECT!r}, to which every object belongs. Received the "
            f"classes {', '.join(detector.class_names[:8])}."
        )
    number = detector.class_names.index(OBJECT)
    tensors = {}
    for _, variables in _parts(detector):
        for variable in variables:
            name, value = _name(detector, variable), ops.convert_to_numpy(variable)
            value = value[..., number : number + 1] if name.startswith(_CLASSIFIER) else value
            tensors[name] = np.array(value, "float16", order="C")
    save_file(tensors, str(path), metadata)


def _parts(detector):
    """`(name, variables)` of backbone, neck (with the context block) and head."""
    backbone = {id(v) for v in detector.backbone.weights}
    head = {id(v) for v in detector.head.weights}
    variables = [v for v in detector.weights if "seed_generator" not in v.path]
    yield "backbone", [v for v in variables if id(v) in backbone]
    yield "neck", [v for v in variables if id(v) not in backbone | head]
    yield "head", [v for v in variables if id(v) in head]


def _name(detector, variable):
    """The name of a variable in the file: its path, without the name of a head or a model in
    front."""
    of_classes = getattr(detector.head, "classifier", None)
    if of_classes is not None and any(variable is v for v in of_classes.weights):
        return _CLASSIFIER + variable.path.rpartition("/")[2]
    return variable.path


def _fits(tensors, name, variable):
    if name not in tensors:
        return False
    shape = tensors[name].shape
    if name.startswith(_CLASSIFIER):
        return shape[:-1] == tuple(variable.shape)[:-1]
    return shape == tuple(variable.shape)
