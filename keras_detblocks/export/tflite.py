"""TFLite (LiteRT) export: float32, float16 weights, or full int8; builtin operators only."""

import contextlib
import os
import re
import tempfile
import warnings

import numpy as np

from .graph import as_float32, nodes_of, signature_of
from .saved_model import write_saved_model
from .verify import ExportError, ExportReport, compare, size_of, staged

QUANTIZATIONS = (None, "fp16", "int8")
# Samples of the calibration data that the written file is compared on.
_COMPARED = 4


def to_tflite(model, path, quantization=None, representative_data=None, image_size=None, input_dtype="float32", tolerance=None):
    """Exports a model as a TFLite file of batch 1.

    Args:
        model: a functional or Sequential Keras model.
        path: of the file.
        quantization: `None` (float32), `"fp16"` (weights in half the size) or `"int8"` (weights and activations).
        representative_data: for int8: an iterable of inputs such as the model will meet: batches of images `(B, H, W, 3)` for a
            model of one input, else dicts of arrays by input name. A hundred images do.
        image_size: `(height, width)`, needed where the model's are dynamic.
        input_dtype: `"float32"`, or `"uint8"` for inputs that take a camera's bytes.
        tolerance: of the comparison with Keras (`verify.TOLERANCES`).

    Returns:
        An `ExportReport`, after the file was opened in another process and its outputs compared with Keras.

    Raises:
        ExportError: naming the operators and layers if something has no builtin operator, or if the outputs differ.
        ImportError: without the extra `keras_detblocks[export]`.
        ValueError: on another quantization or input dtype, or int8 without representative data.
    """
    check_arguments(quantization, representative_data, input_dtype)
    signature = signature_of(as_float32(model), image_size)
    samples = calibration_samples(signature, representative_data) if quantization == "int8" else None
    content, mended = convert(signature, quantization, samples, input_dtype)
    return write_tflite(content, path, signature, quantization, samples and samples[:_COMPARED], tolerance, mended)


def check_arguments(quantization, representative_data, input_dtype):
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"`quantization` must be one of {QUANTIZATIONS}. Received: {quantization!r}")
    if input_dtype not in ("float32", "uint8"):
        raise ValueError(f"`input_dtype` must be 'float32' or 'uint8'. Received: {input_dtype!r}")
    if quantization == "int8" and representative_data is None:
        raise ValueError("int8 needs `representative_data`: batches of inputs such as the model will meet, to find its ranges.")
    _tools()


def write_tflite(content, path, signature, quantization=None, samples=None, tolerance=None, mended=()):
    """Writes a converted file beside `path`, compares it with Keras and moves it there; returns its `ExportReport`."""
    from .flatbuffer import operators

    with staged(path) as target:
        target.write_bytes(content)
        errors, partitions = compare(target, signature, quantization, samples, tolerance)
        size = size_of(target)
    return ExportReport(str(path), size, errors, operators(content), partitions, tuple(mended))


def calibration_samples(signature, representative_data):
    """Representative batches as a list of dicts of single inputs `(1, ...)`."""
    samples = []
    for batch in representative_data:
        if not isinstance(batch, dict):
            parts = batch[: len(signature.inputs)] if isinstance(batch, (list, tuple)) else [batch]
            batch = dict(zip(signature.inputs, parts))
        if set(batch) != set(signature.inputs):
            raise ValueError(f"Representative data must have the inputs {list(signature.inputs)}. Received: {list(batch)}")
        rows = {name: np.asarray(value) for name, value in batch.items()}
        for name, (shape, _) in signature.inputs.items():
            if rows[name].shape[1:] != shape[1:]:
                raise ValueError(
                    f"Representative data for {name!r} must be batches {(None, *shape[1:])}. Received: {rows[name].shape}"
                )
        for i in range(len(next(iter(rows.values())))):
            samples.append({n: rows[n][i : i + 1].astype(dtype) for n, (_, dtype) in signature.inputs.items()})
    if not samples:
        raise ValueError("`representative_data` is empty; int8 needs a few dozen inputs to find the ranges of activations.")
    return samples


def convert(signature, quantization=None, samples=None, input_dtype="float32"):
    """The bytes of a TFLite file, and the names of the tensors mended for int8."""
    from .flatbuffer import custom_operators, mend_dead_tensors

    if quantization != "int8" and input_dtype == "uint8":
        signature = _from_bytes(signature)
    with tempfile.TemporaryDirectory() as folder:
        graph_def = write_saved_model(signature, folder, unfused=False)
        content = _run_converter(_converter(folder, signature, quantization, samples, input_dtype), graph_def)
    custom = custom_operators(content)
    if custom:
        raise ExportError(_no_builtin(custom, graph_def))
    return mend_dead_tensors(content) if quantization == "int8" else (content, [])


def _from_bytes(signature):
    """The signature with uint8 inputs, cast to float first."""
    import tensorflow as tf

    call = signature.call
    inputs = {name: (shape, "uint8") for name, (shape, _) in signature.inputs.items()}
    return type(signature)(inputs, signature.outputs, lambda *values: call(*(tf.cast(v, "float32") for v in values)))


def _converter(folder, signature, quantization, samples, input_dtype):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantization is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: iter(samples)
        converter.inference_input_type = getattr(tf, input_dtype)
    return converter


def _run_converter(converter, graph_def):
    try:
        with _quiet(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
            return converter.convert()
    except Exception as error:  # the converter has its own classes of them, and plain RuntimeErrors
        text = str(error)
        operators = set(re.findall(r"'?tf\.(\w+)'? op", text)) | set(re.findall(r"^\s*(?:Flex|Custom) ops?: (\w+)", text, re.M))
        if operators:
            raise ExportError(_no_builtin(operators, graph_def)) from error
        raise ExportError(f"The TFLite converter failed: {text[:500]}") from error


def _no_builtin(operators, graph_def):
    operators = {name.removeprefix("Flex") for name in operators}
    where = nodes_of(graph_def, operators) or sorted(operators)
    return f"TFLite has no builtin operator for: {'; '.join(where[:5])}. Replace these operations in the model."


@contextlib.contextmanager
def _quiet():
    """Hides what the converter writes to the process's standard error, straight from C++."""
    keep = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)


def _tools():
    try:
        import ai_edge_litert  # noqa: F401
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise ImportError(f"TFLite export needs {error.name}: pip install 'keras_detblocks[export]'") from error
