"""The export of detectors: decoding and suppression inside the file, and the metadata that travel
with it."""

import json
import pathlib

import tensorflow as tf

from ..checks import level_number
from ..detection import Detector
from ..detection.decode import DISTANCES, LOGITS, level_names
from ..images.letterbox import FILL
from .check.outputs import keras_outputs
from .graph import Signature, check_size, sample_inputs, signature_of
from .runtime.archive import METADATA_FILE
from .runtime.forms import FORMS
from .runtime.seal import BLANK, SEALED_VERSION
from .suppression import any_batch, decode_any, one_image


def is_detector(model):
    return isinstance(model, Detector)


def size_for(detector, image_size):
    """The `(height, width)` of a file; sides that `image_size` leaves open are `None`."""
    check_size(image_size)
    size = detector.image_size or image_size
    if size is None:
        raise ValueError(
            "The detector takes images of any size, and an exported file of one: give "
            "`image_size=(height, width)`; ONNX and SavedModel files also take (None, None)."
        )
    if image_size is not None and tuple(image_size) != tuple(size):
        raise ValueError(
            f"The detector takes images of {tuple(size)} alone, which need no `image_size`. "
            f"Received: "
            f"image_size={image_size}"
        )
    return tuple(s if s is None else int(s) for s in size)


_BOXES = {
    "mediapipe": "y_min, x_min, y_max, x_max as shares of the input's height and width",
    "pixels": "x_min, y_min, x_max, y_max in pixels of the input",
    "raw": "left, top, right, bottom of each point, in strides",
}


def metadata(detector, image_size, form="pixels", raw=None):
    """The metadata that a program needs, as a dict for JSON; `raw` is the signature of a file
    without decoding."""
    size = size_for(detector, image_size)
    about = {
        "format": "keras_detblocks.detector",
        "version": SEALED_VERSION,
        "image_size": None if None in size else list(size),
        "stride": 2 ** max(map(level_number, level_names(detector.output))),
        "class_names": list(detector.class_names),
        "resize": detector.resize,
        "letterbox": {"position": "top_left", "fill": FILL, "resize": "bilinear"},
        "input": {"name": "image", "channels": "RGB", "range": [0, 255]},
        "outputs": {"form": form, "names": list(FORMS[form] if raw is None else raw.outputs)},
        "boxes": _BOXES[form],
        "score_threshold": detector.score_threshold,
        "best_score_threshold": detector.best_score_threshold,
        "iou_threshold": detector.iou_threshold,
        "max_detections": detector.max_detections,
        "class_agnostic": detector.class_agnostic,
        "sha256": BLANK,
        **({"run": detector.run_record} if detector.run_record else {}),
    }
    return about if raw is None else about | {"levels": _levels(detector, raw)}


def _levels(detector, raw):
    """The data that decoding needs: each level's outputs, and its number, from which its stride
    follows."""
    return [
        {"logits": f"{name}_{LOGITS}", "distances": f"{name}_{DISTANCES}", "level": number}
        for name, number in ((n, level_number(n)) for n in level_names(raw.outputs))
    ]


def raw_signature(detector, image_size=None, batch_size=1):
    """The signature of the detector's raw outputs, in float32, with its one input called
    `image`."""
    raw = signature_of(detector, size_for(detector, image_size), batch_size)
    return Signature({"image": next(iter(raw.inputs.values()))}, raw.outputs, raw.call)


def with_detections(raw, detector, suppress, form="pixels", **trial):
    """A raw signature followed by decoding and suppression, as `detections` does them, in one of
    `FORMS`."""
    size = image_size_of(raw)

    def call(image):
        sides = tf.shape(image)[1:3] if None in size else size
        found = detections(raw.call(image), detector, sides, suppress, **trial)
        return _in_form(found, form, sides)

    return Signature(raw.inputs, FORMS[form], call)


def with_threshold(raw, detector, shift=0.0):
    """The same as `with_detections`, with the score threshold as a second input."""
    size = image_size_of(raw)

    def call(image, threshold):
        sides = tf.shape(image)[1:3] if None in size else size
        return detections(raw.call(image), detector, sides, any_batch, shift, threshold)

    inputs = {**raw.inputs, "score_threshold": ((), "float32")}
    return Signature(inputs, FORMS["pixels"], call)


def tail(raw, detector, form="pixels", **trial):
    """Decoding and suppression without the network: from the raw outputs of one image to
    detections."""
    size = image_size_of(raw)
    spec = keras_outputs(raw, sample_inputs(raw))
    inputs = {name: (spec[name].shape, "float32") for name in raw.outputs}

    def call(*values):
        found = detections(dict(zip(inputs, values)), detector, size, one_image, **trial)
        return _in_form(found, form, size)

    return Signature(inputs, FORMS[form], call)


def image_size_of(raw):
    """The `(height, width)` of a signature's only input; open sides are `None`."""
    return next(iter(raw.inputs.values()))[0][1:3]


def _in_form(found, form, size):
    """Converts detections in pixels to another of `FORMS`; `as_pixels` converts back."""
    if form == "pixels":
        return found
    height, width = size
    x_min, y_min, x_max, y_max = tf.unstack(found["boxes"], axis=-1)
    return {
        "locations": tf.stack([y_min / height, x_min / width, y_max / height, x_max / width], -1),
        "classes": tf.cast(tf.maximum(found["labels"], 0), "float32"),
        "scores": found["scores"],
        "number": tf.cast(found["count"], "float32"),
    }


def detections(outputs, detector, size, suppress, shift=0.0, score_threshold=None):
    """Decodes and suppresses raw outputs.

    Args:
        outputs: raw outputs by name.
        detector: the `Detector`, for its settings.
        size: `(height, width)` of the image, a tensor if it is not known.
        suppress: a function of `suppression`.
        shift: added to the logits, for trials (`check.detections`).
        score_threshold: replaces the detector's, for trials as well.
    """
    threshold = detector.score_threshold if score_threshold is None else score_threshold
    if shift:
        outputs = {
            name: value + shift if name.endswith(LOGITS) else value
            for name, value in outputs.items()
        }
    return suppress(*decode_any(outputs, size), detector, size, threshold)


def write_beside(folder, about):
    """Writes the metadata into a SavedModel's folder."""
    (pathlib.Path(folder) / METADATA_FILE).write_text(json.dumps(about, indent=1))
