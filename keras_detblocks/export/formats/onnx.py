"""ONNX export through tf2onnx, which only logs what it cannot convert; here that is an error."""

import collections
import contextlib
import json
import logging
import os
import warnings

import numpy as np
import tensorflow as tf

from ...checks import check_flag, check_int, check_path
from ..check.detections import compare_detections
from ..check.outputs import (
    ExportError,
    ExportReport,
    compare_outputs,
    size_of,
    staged,
)
from ..check.samples import COMPARED, calibration_samples, check_quantization
from ..detections import is_detector, metadata, raw_signature, with_detections
from ..graph import freeze, is_dynamic, nodes_of, signature_of
from ..runtime.archive import METADATA_KEY
from ..runtime.seal import seal
from ..suppression import any_batch, one_image
from .onnx_small import halve, quantize

OPSET = 18
OPSETS = range(13, 19)


def to_onnx(
    model,
    path,
    image_size=None,
    batch_size=1,
    opset=OPSET,
    representative_data=None,
    quantization=None,
    postprocess=True,
):
    """Exports a model as an ONNX file.

    Args:
        model: a functional or Sequential Keras model; images stay channels-last.
        path: of the file.
        image_size: `(height, width)`, needed where the model's are dynamic; `(None, None)` keeps
            them dynamic in the file, which is then compared at two sizes.
        batch_size: of the file; 1 by default, `None` for any.
        opset: ONNX operator set, 13 to 18.
        representative_data: inputs to compare on, as in `to_tflite`; random ones by default.
            int8 takes its ranges from them.
        quantization: `None` (float32), `"fp16"` (weights in half the size) or `"int8"` (QDQ, by
            onnxruntime's tool: the network in eight bits, decoding in float).
        postprocess: `False` exports a detector's raw outputs, without decoding and suppression.

    A `Detector` gets decoding and suppression inside: `image` in; `boxes, scores, labels,
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
    opset = check_int(opset, "opset", least=OPSETS[0], most=OPSETS[-1])
    check_quantization(quantization, representative_data)
    postprocess, path = check_flag(postprocess, "postprocess"), check_path(path, "path")
    if is_detector(model):
        make = _detector if postprocess else _raw_detector
        return make(model, path, image_size, batch_size, opset, representative_data, quantization)
    signature = signature_of(model, image_size, batch_size)
    return _network(signature, path, opset, representative_data, quantization)


def _network(signature, path, opset, representative_data, quantization, about=None):
    samples = _samples(signature, quantization, representative_data)
    with staged(path) as target:
        operators = _write_small(signature, target, opset, about, quantization, samples)
        errors, _ = compare_outputs(target, signature, quantization, samples and samples[:COMPARED])
        if about is not None:
            seal(target)
        size = size_of(target)
    return ExportReport(str(path), size, errors, operators)


def _raw_detector(detector, path, image_size, batch_size, opset, data, quantization):
    raw = raw_signature(detector, image_size, batch_size)
    about = {METADATA_KEY: json.dumps(metadata(detector, image_size, "raw", raw))}
    return _network(raw, path, opset, data, quantization, about)


def _detector(detector, path, image_size, batch_size, opset, data, quantization):
    raw = raw_signature(detector, image_size, batch_size)
    about = {METADATA_KEY: json.dumps(metadata(detector, image_size))}
    suppress = one_image if batch_size == 1 and not is_dynamic(raw) else any_batch
    samples = _samples(raw, quantization, data)
    compared = samples and samples[:COMPARED]

    def write(where, **trial):
        whole = with_detections(raw, detector, suppress, **trial)
        return _write_small(whole, where, opset, about, quantization, samples)

    with staged(path) as target:
        network = None
        if quantization == "int8":
            network = target.with_name("network.onnx")
            _write_small(raw, network, opset, None, quantization, samples)
            compare_outputs(network, raw, quantization, compared)
        operators = write(target)
        errors, found, _ = compare_detections(
            target, raw, detector, write, quantization, compared, network
        )
        seal(target)
        size = size_of(target)
    return ExportReport(str(path), size, errors, operators, detections=found)


def _samples(signature, quantization, data):
    """All representative inputs for int8, else a few to compare on; `None` without any."""
    if data is None:
        return None
    return calibration_samples(signature, data, None if quantization == "int8" else COMPARED)


def _write_small(signature, path, opset, about, quantization, samples):
    """Writes a signature in a precision; returns how often each operator occurs."""
    operators = write_onnx(signature, path, opset, about)
    if quantization == "fp16":
        halve(path)
    if quantization == "int8":
        with _quiet():
            operators = quantize(path, samples)
    return operators


def write_onnx(signature, path, opset=OPSET, metadata=None):
    """Converts a signature and writes it; returns how often each operator occurs."""
    tf2onnx, onnx = _tools()
    function, graph_def = freeze(signature)
    specs = [
        tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in signature.inputs.items()
    ]
    try:
        with _quiet():
            proto = _converted(tf2onnx, function, specs, opset)
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
    _standardize_resizes(proto.graph)
    _list_limits(proto.graph)
    _swap_gathers(proto.graph, onnx)
    for key, value in (metadata or {}).items():
        proto.metadata_props.add(key=key, value=value)
    onnx.save(proto, str(path))
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"The file that tf2onnx made is not valid ONNX: {error}") from error
    return dict(collections.Counter(node.op_type for node in proto.graph.node))


def _converted(tf2onnx, function, specs, opset):
    """Returns tf2onnx's model. tf2onnx copies the graph before each of its optimizers in case one
    fails; here it does so only once one has failed."""
    copies = tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS
    kept = os.environ.get(copies)
    try:
        os.environ[copies] = "FALSE"
        return tf2onnx.convert.from_function(function, specs, opset=opset)[0]
    except Exception:
        os.environ.pop(copies)
        return tf2onnx.convert.from_function(function, specs, opset=opset)[0]
    finally:
        os.environ.pop(copies, None)
        if kept is not None:
            os.environ[copies] = kept


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
    """A context that silences tf2onnx, which logs progress, and errors that we raise ourselves."""
    logger = logging.getLogger("tf2onnx")
    level, disabled = logger.level, logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(disabled)
        logger.setLevel(level)


def _outputs(proto, signature):
    """Returns wanted output name -> name in the file (tf2onnx names outputs by the dict's keys, or
    lists them in sorted order)."""
    present = [value.name for value in proto.graph.output]
    wanted = present if set(present) == set(signature.outputs) else sorted(signature.outputs)
    return dict(zip(wanted, present, strict=True))


def _standardize_resizes(graph):
    """Rewrites TensorFlow's nearest resize, which operator sets from 13 on do not know, in their
    terms: both take the source pixel `floor((x + 0.5) / scale)`."""
    for node in graph.node:
        given = {attribute.name: attribute for attribute in node.attribute}
        mode = given.get("coordinate_transformation_mode")
        if node.op_type == "Resize" and mode is not None and mode.s == b"tf_half_pixel_for_nn":
            mode.s = b"half_pixel"
            given["nearest_mode"].s = b"round_prefer_ceil"


def _list_limits(graph):
    """Writes the limits of a suppression as lists of one number, the form of ONNX's own examples
    and the only one that its reference implementation runs; TensorFlow has plain numbers."""
    numbers = {tensor.name: tensor for tensor in graph.initializer if not tensor.dims}
    limits = {}
    for node in graph.node:
        if node.op_type == "NonMaxSuppression":
            for i, name in enumerate(node.input):
                if name in numbers:
                    node.input[i] = limits.setdefault(name, f"{name}_list")
    for name, new in limits.items():
        limit = graph.initializer.add()
        limit.CopyFrom(numbers[name])
        limit.name = new
        limit.dims.append(1)
        if not any(name in node.input for node in graph.node):
            graph.initializer.remove(numbers[name])


def _swap_gathers(graph, onnx):
    """Expresses the two gathers in tf2onnx's suppression of a batch by each other, which gives the
    same elements.

    ONNX's reference implementation runs neither as it is: its `GatherElements` chooses from at most
    64 (NumPy's `choose`), and its `GatherND` fails on zero rows."""
    for place, node in reversed(list(enumerate(graph.node))):
        by_rows = node.op_type == "GatherND" and [a.i for a in node.attribute] == [1]
        if "CombinedNonMaxSuppression" not in node.name:
            continue
        if not by_rows and node.op_type != "GatherElements":
            continue
        last = f"{node.name}/last"
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1], "int64"), last))
        make, (data, rows), between = onnx.helper.make_node, node.input, f"{node.name}/rows"
        if by_rows:
            first = make("GatherElements", [data, rows], [between], f"{node.name}_rows", axis=1)
            second = make("Squeeze", [between, last], node.output, node.name)
        else:
            first = make("Unsqueeze", [rows, last], [between], f"{node.name}_rows")
            second = make("GatherND", [data, between], node.output, node.name, batch_dims=1)
        node.CopyFrom(second)
        graph.node.insert(place, first)


def _rename(graph, wanted):
    """Renames tensors: `wanted` maps the new name to the current one."""
    new = {old: name for name, old in wanted.items() if old != name}
    for value in [*graph.input, *graph.output]:
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = new.get(name, name)
