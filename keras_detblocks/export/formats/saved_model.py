"""SavedModel export, for TensorFlow Serving and whatever else reads TensorFlow's own format."""

import logging

import tensorflow as tf

from ...checks import check_flag, check_int, check_path
from ..check.detections import compare_detections
from ..check.outputs import ExportReport, compare_outputs, size_of, staged
from ..check.samples import comparison_samples
from ..detections import is_detector, metadata, raw_signature, write_beside
from ..graph import freeze, signature_of
from ..runtime.seal import seal
from .server import server_functions


def to_saved_model(
    model,
    path,
    image_size=None,
    batch_size=None,
    representative_data=None,
    postprocess=True,
    version=None,
):
    """Exports a model as a SavedModel folder.

    Its variables are constants (batch normalization folds into convolutions when it is loaded), it
    computes in float32 whatever the model's dtype policy, and it runs with and without oneDNN.

    Args:
        model: a functional or Sequential Keras model.
        path: of the folder. An existing SavedModel is replaced.
        image_size: `(height, width)`, needed where the model's are dynamic; `(None, None)` keeps
            them dynamic in the file, which is then compared at two sizes.
        batch_size: `None` for any.
        representative_data: inputs to compare on, as in `to_tflite`; random ones by default.
        postprocess: `False` exports a detector's raw outputs, without decoding and suppression.
        version: a number: the SavedModel is written to the folder of that name within `path`, as
            TensorFlow Serving expects.

    A `Detector` gets decoding and suppression inside. Its signature `serving_default` takes `image`
    and returns `boxes, scores, labels, count` as `Detector.predict` does. Its signature `encoded`
    takes `image_bytes` `(B,)`, JPEG, PNG, BMP or GIF files of any size (an EXIF orientation is not
    applied), and returns boxes in the pixels of each picture, and `names`; `encoded_above` takes a
    `score_threshold` `()` as well.
    Class names and letterboxing are in `keras_detblocks.json` in the folder.

    Returns:
        An `ExportReport`, after the folder was loaded in another process and its outputs compared
        with Keras.

    Raises:
        ExportError: if it does not load or differs; then no folder is left.
    """
    path, postprocess = check_path(path, "path"), check_flag(postprocess, "postprocess")
    version = check_int(version, "version", least=0, optional=True)
    if version is not None:
        path = path / str(version)
    if is_detector(model) and postprocess:
        return _detector(model, path, image_size, batch_size, representative_data)
    detector = model if is_detector(model) else None
    signature = (
        signature_of(model, image_size, batch_size)
        if detector is None
        else raw_signature(model, image_size, batch_size)
    )
    with staged(path) as target:
        write_saved_model(signature, target)
        if detector is not None:
            write_beside(target, metadata(detector, image_size, "raw", signature))
        errors, _ = compare_outputs(
            target, signature, samples=comparison_samples(signature, representative_data)
        )
        if detector is not None:
            seal(target)
        size = size_of(target)
    return ExportReport(str(path), size, errors)


def _detector(detector, path, image_size, batch_size, representative_data):
    raw = raw_signature(detector, image_size, batch_size)

    def write(where, **trial):
        _save(where, server_functions(raw, detector, **trial))

    with staged(path) as target:
        write(target)
        write_beside(target, metadata(detector, image_size))
        errors, found, _ = compare_detections(
            target, raw, detector, write, samples=comparison_samples(raw, representative_data)
        )
        seal(target)
        size = size_of(target)
    return ExportReport(str(path), size, errors, detections=found)


def write_saved_model(signature, path, unfused=True, pairs=False):
    """Writes a signature as a SavedModel; `unfused` and `pairs` as in `freeze`. Returns its
    graph."""
    function, graph_def = freeze(signature, unfused, pairs)
    _save(path, {"serving_default": function})
    return graph_def


def _save(path, functions):
    module = tf.Module()
    module.functions = functions
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        tf.saved_model.save(
            module,
            str(path),
            signatures={name: each.get_concrete_function() for name, each in functions.items()},
            # SiLU has a custom gradient over variables, which are constants here.
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )
    finally:
        logger.setLevel(level)
