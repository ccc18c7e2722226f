"""TFLite (LiteRT) export: float32, float16 weights, or full int8; builtin operators only."""

import re
import tempfile
import warnings

import tensorflow as tf

from ...checks import check_choice, check_flag, check_number, check_path
from ...startup import hidden_stderr
from ..check.detections import compare_detections
from ..check.outputs import ExportError, ExportReport, compare_outputs, size_of, staged
from ..check.samples import COMPARED, calibration_samples, check_quantization
from ..detections import is_detector, metadata, raw_signature, tail, with_detections
from ..graph import is_dynamic, nodes_of, signature_of
from ..runtime.archive import packed, with_files
from ..runtime.device import leave_program
from ..runtime.forms import FORMS
from ..runtime.seal import seal
from ..suppression import one_image
from .flatbuffer import (
    custom_operators,
    join,
    mend_dead_tensors,
    operators,
    with_late_casts,
)
from .mediapipe import as_mediapipe
from .saved_model import write_saved_model

# The most partitions with which an int8 network still pays off; a neck's resizes make three or
# five.
MOST_PARTITIONS = 5


def to_tflite(
    model,
    path,
    quantization=None,
    representative_data=None,
    image_size=None,
    input_dtype="float32",
    tolerance=None,
    outputs="mediapipe",
    postprocess=True,
):
    """Exports a model as a TFLite file of batch 1.

    Args:
        model: a functional or Sequential Keras model.
        path: of the file.
        quantization: `None` (float32), `"fp16"` (weights in half the size) or `"int8"` (weights and
            activations).
        representative_data: an iterable of inputs like those that the model will see: batches of
            images `(B, H, W, 3)`, alone or followed by targets, for a model of one input, else
            dicts of arrays by input name. int8 takes its ranges from them (a hundred images are
            enough); every file is compared on a few of them, by default on random ones.
        image_size: `(height, width)`, needed where the model's are dynamic.
        input_dtype: `"float32"`, or `"uint8"` to take a camera's bytes.
        tolerance: of the comparison with Keras (`check.outputs.TOLERANCES`).
        outputs: of a detector. `"mediapipe"`: the ecosystem's four tensors, in this order:
            `locations` `(1, M, 4)` as y_min, x_min, y_max, x_max in shares of the input's sides,
            `classes`, `scores`, `number`, all floats, with TFLite metadata, so that MediaPipe's
            ObjectDetector and programs for EfficientDet-Lite take the file. `"pixels"`: `boxes,
            scores, labels, count`, as `Detector.predict` returns them; MediaPipe refuses these.
        postprocess: `False` exports a detector's raw outputs, for decoding on the device
            (`tflite/README.md` describes it).

    A `Detector` gets decoding and suppression inside. With int8 both stay in float. Image
    size, class names and letterboxing are packed into the file, as `labels.txt` and
    `keras_detblocks.json`. MediaPipe does not letterbox: it stretches every picture to the input.
    `detect.py`, which runs the file without Keras and this package, is written beside it.

    Returns:
        An `ExportReport`, after the file was opened in another process and its outputs compared
        with Keras.

    Raises:
        ExportError: naming the operators and layers if something has no builtin operator, or if the
            outputs differ.
        ImportError: without the extra `keras_detblocks[export]`.
        ValueError: on another quantization or input dtype, or int8 without representative data.
    """
    check_arguments(quantization, representative_data, input_dtype, outputs)
    tolerance = check_number(tolerance, "tolerance", above=0, optional=True)
    postprocess, path = check_flag(postprocess, "postprocess"), check_path(path, "path")
    if is_detector(model) and postprocess:
        return _detector(
            model,
            path,
            quantization,
            representative_data,
            image_size,
            input_dtype,
            tolerance,
            outputs,
        )
    signature = _static_signature(model, image_size)
    samples = _samples(signature, quantization, representative_data)
    content, mended = convert(signature, quantization, samples, input_dtype)
    if is_detector(model):
        content = with_files(content, packed(metadata(model, image_size, "raw", signature)))
    with staged(path) as target:
        target.write_bytes(content)
        errors, partitions = compare_outputs(
            target, signature, quantization, samples and samples[:COMPARED], tolerance
        )
        if is_detector(model):
            seal(target)
        size = size_of(target)
    if quantization == "int8":
        warn_of_partitions(content, partitions)
    return ExportReport(str(path), size, errors, operators(content), partitions, tuple(mended))


def warn_of_partitions(content, partitions):
    """Warns if XNNPACK leaves so much of an int8 network to other kernels that float may be
    faster."""
    if partitions <= MOST_PARTITIONS:
        return
    from ..runtime.benchmark import left_out

    where = [
        f"{name} ({len(places)} times: {', '.join(places[:3])})"
        for name, places in left_out(content).items()
    ]
    warnings.warn(
        f"The CPU delegate runs this int8 network in {partitions} parts, since it leaves out "
        f"{'; '.join(where)}. It may be slower than float32: use layers that int8 has kernels for "
        f"(ReLU or SiLU in place of a hard activation).",
        stacklevel=4,
    )


def _static_signature(model, image_size):
    """The static signature of a model, or of a detector's raw outputs."""
    if is_detector(model):
        signature = raw_signature(model, image_size)
    else:
        signature = signature_of(model, image_size)
    if is_dynamic(signature):
        raise ValueError(
            f"TFLite files have one size: give `image_size=(height, width)`. Received: "
            f"image_size={image_size}"
        )
    return signature


def _samples(signature, quantization, representative_data):
    """All representative inputs for int8, else a few to compare on; `None` without any."""
    most = None if quantization == "int8" else COMPARED
    return (
        None
        if representative_data is None
        else calibration_samples(signature, representative_data, most)
    )


def _detector(
    detector, path, quantization, representative_data, image_size, input_dtype, tolerance, form
):
    raw = _static_signature(detector, image_size)
    samples = _samples(raw, quantization, representative_data)
    compared = samples and samples[:COMPARED]
    about = packed(metadata(detector, image_size, form))

    def write(where, **trial):
        if quantization == "int8":
            content, dead = join(body, convert(tail(raw, detector, form, **trial))[0]), mended
        else:
            content, dead = convert(
                with_detections(raw, detector, one_image, form, **trial),
                quantization,
                None,
                input_dtype,
            )
        if form == "mediapipe":
            content = as_mediapipe(content)
        where.write_bytes(with_files(content, about))
        return content, dead

    with staged(path) as target:
        network = None
        if quantization == "int8":
            # Boxes and scores would lose too much in eight bits: the network is int8, decoding and
            # suppression float.
            body, mended = convert(raw, quantization, samples, input_dtype)
            network = target.with_name("network.tflite")
            network.write_bytes(body)
            _, parts = compare_outputs(network, raw, quantization, compared, tolerance)
            warn_of_partitions(body, parts)
        content, mended = write(target)
        errors, found, partitions = compare_detections(
            target, raw, detector, write, quantization, compared, network
        )
        seal(target)
        size = size_of(target)
    return ExportReport(
        str(path),
        size,
        errors,
        operators(content),
        partitions,
        tuple(mended),
        found,
        str(leave_program(path)),
    )


def check_arguments(quantization, representative_data, input_dtype, outputs="mediapipe"):
    check_quantization(quantization, representative_data)
    check_choice(outputs, "outputs", tuple(FORMS))
    check_choice(input_dtype, "input_dtype", ("float32", "uint8"))
    _tools()


def convert(signature, quantization=None, samples=None, input_dtype="float32"):
    """Returns the bytes of a TFLite file, and the names of the tensors repaired for int8."""
    if quantization != "int8" and input_dtype == "uint8":
        signature = _from_bytes(signature)
    with tempfile.TemporaryDirectory() as folder:
        graph_def = write_saved_model(
            signature, folder, unfused=False, pairs=quantization == "int8"
        )
        content = _run_converter(
            _converter(folder, signature, quantization, samples, input_dtype), graph_def
        )
    custom = custom_operators(content)
    if custom:
        raise ExportError(_no_builtin(custom, graph_def))
    if quantization == "int8":
        return mend_dead_tensors(content)
    return (with_late_casts(content) if quantization == "fp16" else content), []


def _from_bytes(signature):
    """The signature with uint8 inputs, cast to float first."""
    call = signature.call
    inputs = {name: (shape, "uint8") for name, (shape, _) in signature.inputs.items()}
    return type(signature)(
        inputs, signature.outputs, lambda *values: call(*(tf.cast(v, "float32") for v in values))
    )


def _converter(folder, signature, quantization, samples, input_dtype):
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
        with hidden_stderr(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
            return converter.convert()
    # the converter raises its own classes of errors, and plain RuntimeErrors
    except Exception as error:
        text = str(error)
        operators = set(re.findall(r"'?tf\.(\w+)'? op", text)) | set(
            re.findall(r"^\s*(?:Flex|Custom) ops?: (\w+)", text, re.M)
        )
        if operators:
            raise ExportError(_no_builtin(operators, graph_def)) from error
        raise ExportError(f"The TFLite converter failed: {text[:500]}") from error


def _no_builtin(operators, graph_def):
    operators = {name.removeprefix("Flex") for name in operators}
    where = nodes_of(graph_def, operators) or sorted(operators)
    return (
        f"TFLite has no builtin operator for: {'; '.join(where[:5])}. Replace these operations in "
        "the model."
    )


def _tools():
    try:
        import ai_edge_litert  # noqa: F401
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"TFLite export needs {error.name}: pip install 'keras_detblocks[export]'"
        ) from error
