"""ONNX export through tf2onnx, which only logs what it cannot convert; here that is an error."""

import collections
import contextlib
import json
import logging
import warnings

import tensorflow as tf

from ..check.detections import compare_detections
from ..check.outputs import (
    METADATA_KEY,
    ExportError,
    ExportReport,
    compare_outputs,
    size_of,
    staged,
)
from ..check.samples import comparison_samples
from ..detections import is_detector, metadata, raw_signature, with_detections
from ..graph import as_float32, freeze, nodes_of, signature_of
from ..runtime.seal import seal

OPSET = 18


def to_onnx(model, path, image_size=None, batch_size=1, opset=OPSET, representative_data=None):
    """Exports a model as an ONNX file.

    Args:
        model: a functional or Sequential Keras model; images stay channels-last.
        path: of the file.
        image_size: `(height, width)`, needed where the model's are dynamic; `(None, None)` keeps
            them dynamic in the file, except for a detector, and it is then compared at two sizes.
        batch_size: of the file; 1 by default.
        opset: ONNX operator set.
        representative_data: inputs to compare on, as in `to_tflite`; random ones by default.

    A `Detector` (batch 1) gets decoding and suppression inside: `image` in; `boxes, scores, labels,
    count` out; image size, class names and letterboxing are in the file's metadata under
    `keras_detblocks`.

    Returns:
        An `ExportReport`, after onnxruntime opened the file and its outputs were compared with
        Keras.

    Raises:
        ExportError: naming the operators and layers if something has no ONNX form, or if the
            outputs differ.
        ImportError: without the extra `keras_detblocks[export]`.
    """
    if is_detector(model):
        return _detector(model, path, image_size, batch_size, opset, representative_data)
    signature = signature_of(as_float32(model), image_size, batch_size)
    with staged(path) as target:
        operators = write_onnx(signature, target, opset)
        errors, _ = compare_outputs(
            target, signature, samples=comparison_samples(signature, representative_data)
        )
        size = size_of(target)
    return ExportReport(str(path), size, errors, operators)


def _detector(detector, path, image_size, batch_size, opset, representative_data):
    if batch_size != 1:
        raise ValueError(
            f"A detector's ONNX file takes one image, for its suppression does. Received: "
            f"batch_size={batch_size}"
        )
    raw = raw_signature(detector, image_size)
    about = {METADATA_KEY: json.dumps(metadata(detector, image_size))}

    def write(where, **trial):
        return write_onnx(
            with_detections(raw, detector, one_image=True, **trial), where, opset, about
        )

    with staged(path) as target:
        operators = write(target)
        errors, found, _ = compare_detections(
            target, raw, detector, write, samples=comparison_samples(raw, representative_data)
        )
        seal(target)
        size = size_of(target)
    return ExportReport(str(path), size, errors, operators, detections=found)


def write_onnx(signature, path, opset=OPSET, metadata=None):
    """Converts a signature and writes it; returns how often each operator occurs."""
    tf2onnx, onnx = _tools()
    function, graph_def = freeze(signature)
    specs = [
        tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in signature.inputs.items()
    ]
    try:
        with _quiet():
            proto, _ = tf2onnx.convert.from_function(function, specs, opset=opset)
    except Exception as error:
        raise ExportError(f"tf2onnx could not convert the model: {error}") from error
    unknown = {n.op_type for n in proto.graph.node if not n.domain and not onnx.defs.has(n.op_type)}
    if unknown:
        where = nodes_of(graph_def, unknown) or [
            f"{n.name} ({n.op_type})" for n in proto.graph.node if n.op_type in unknown
        ]
        raise ExportError(
            f"No ONNX form for: {'; '.join(where[:5])}. Replace these operations in the model."
        )
    _rename(
        proto.graph, {name: f"{name}:0" for name in signature.inputs} | _outputs(proto, signature)
    )
    for key, value in (metadata or {}).items():
        proto.metadata_props.add(key=key, value=value)
    onnx.save(proto, str(path))
    return dict(collections.Counter(node.op_type for node in proto.graph.node))


def _tools():
    try:
        import onnx
        import onnxruntime  # noqa: F401  (needed by the comparison; better to say so before converting)
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            f"ONNX export needs {error.name}: pip install 'keras_detblocks[export]'"
        ) from error
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        patch_tf2onnx()  # Keras' own repair of tf2onnx for NumPy 2
    return tf2onnx, onnx


@contextlib.contextmanager
def _quiet():
    """tf2onnx logs progress, and errors that we raise ourselves."""
    logger = logging.getLogger("tf2onnx")
    level, disabled = logger.level, logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(disabled)
        logger.setLevel(level)


def _outputs(proto, signature):
    """Wanted output name -> the name in the file (tf2onnx names them by the dict's keys, or lists
    them in sorted order)."""
    present = [value.name for value in proto.graph.output]
    wanted = present if set(present) == set(signature.outputs) else sorted(signature.outputs)
    return dict(zip(wanted, present, strict=True))


def _rename(graph, wanted):
    """Renames tensors: `wanted` maps the new name to the present one."""
    new = {old: name for name, old in wanted.items() if old != name}
    for value in [*graph.input, *graph.output]:
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = new.get(name, name)
