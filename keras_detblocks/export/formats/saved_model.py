"""SavedModel export: TensorFlow Serving, TF.js and whatever else reads TensorFlow's own format."""

import logging

import tensorflow as tf

from ..check.detections import compare_detections
from ..check.outputs import ExportReport, compare_outputs, size_of, staged
from ..check.samples import comparison_samples
from ..detections import is_detector, metadata, raw_signature, with_detections, write_beside
from ..graph import as_float32, freeze, signature_of
from ..runtime.seal import seal


def to_saved_model(model, path, image_size=None, batch_size=None, representative_data=None):
    """Exports a model as a SavedModel folder with one signature, `serving_default`.

    Variables are constants in it (batch normalisation folds into convolutions when it is loaded),
    it computes in float32 whatever the model's dtype policy, and it runs with oneDNN on and off.

    Args:
        model: a functional or Sequential Keras model.
        path: of the folder. One that already holds a SavedModel is replaced.
        image_size: `(height, width)`, needed where the model's are dynamic; `(None, None)` keeps
            them dynamic in the file, except for a detector, and it is then compared at two sizes.
        batch_size: `None` for any.
        representative_data: inputs to compare on, as in `to_tflite`; random ones by default.

    A `Detector` gets decoding and suppression inside: `image` in; `boxes, scores, labels, count`
    out, as `Detector.predict` returns them; class names and letterboxing lie beside, in
    `keras_detblocks.json`.

    Returns:
        An `ExportReport`, after the folder was loaded in another process and its outputs compared
        with Keras.

    Raises:
        ExportError: if it does not load or differs; no folder is left then.
    """
    if is_detector(model):
        return _detector(model, path, image_size, batch_size, representative_data)
    signature = signature_of(as_float32(model), image_size, batch_size)
    with staged(path) as target:
        write_saved_model(signature, target)
        errors, _ = compare_outputs(
            target, signature, samples=comparison_samples(signature, representative_data)
        )
        size = size_of(target)
    return ExportReport(str(path), size, errors)


def _detector(detector, path, image_size, batch_size, representative_data):
    raw = raw_signature(detector, image_size, batch_size)

    def write(where, **trial):
        write_saved_model(with_detections(raw, detector, one_image=False, **trial), where)

    with staged(path) as target:
        write(target)
        write_beside(target, metadata(detector, image_size))
        errors, found, _ = compare_detections(
            target, raw, detector, write, samples=comparison_samples(raw, representative_data)
        )
        seal(target)
        size = size_of(target)
    return ExportReport(str(path), size, errors, detections=found)


def write_saved_model(signature, path, unfused=True):
    """Writes a signature as a SavedModel; `unfused` as in `native_convolutions`. Returns its
    graph."""
    function, graph_def = freeze(signature, unfused)
    module = tf.Module()
    module.serve = function
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        options = tf.saved_model.SaveOptions(
            experimental_custom_gradients=False
        )  # SiLU has one, of variables now constant
        tf.saved_model.save(
            module, str(path), signatures=function.get_concrete_function(), options=options
        )
    finally:
        logger.setLevel(level)
    return graph_def
