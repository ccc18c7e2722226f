"""What is particular to a detector: decoding and suppression inside the file, and what travels with
it."""

import json
import pathlib

import tensorflow as tf

from ..detection import Detector
from ..detection.decode import LOGITS, candidates, decode, non_max_suppression
from ..detection.detector import candidate_count
from ..images.letterbox import FILL
from .check.outputs import METADATA_FILE, keras_outputs
from .graph import Signature, as_float32, sample_inputs, signature_of
from .runtime.seal import BLANK

DETECTIONS = ("boxes", "scores", "labels", "count")


def is_detector(model):
    return isinstance(model, Detector)


def size_for(detector, image_size):
    size = detector.image_size or image_size
    if size is None or None in size:
        raise ValueError(
            "The detector takes images of any size, and an exported file of one: give "
            "`image_size=(height, width)`."
        )
    return tuple(int(s) for s in size)


def metadata(detector, image_size):
    """What a program needs beside the numbers, as a dict for JSON."""
    height, width = size_for(detector, image_size)
    return {
        "format": "keras_detblocks.detector",
        "version": 1,
        "image_size": [height, width],
        "class_names": list(detector.class_names),
        "letterbox": {"position": "top_left", "fill": FILL, "resize": "bilinear"},
        "input": {"name": "image", "channels": "RGB", "range": [0, 255]},
        "boxes": "x_min, y_min, x_max, y_max in pixels of the input",
        "score_threshold": detector.score_threshold,
        "iou_threshold": detector.iou_threshold,
        "max_detections": detector.max_detections,
        "sha256": BLANK,
        **({"run": detector.run_record} if detector.run_record else {}),
    }


def raw_signature(detector, image_size=None, batch_size=1):
    """The signature of the detector's raw outputs, in float32, with its one input called
    `image`."""
    raw = signature_of(as_float32(detector), size_for(detector, image_size), batch_size)
    return Signature({"image": next(iter(raw.inputs.values()))}, raw.outputs, raw.call)


def with_detections(raw, detector, one_image, **trial):
    """A raw signature followed by decoding and suppression, as `detections` does them."""
    size = next(iter(raw.inputs.values()))[0][1:3]
    return Signature(
        raw.inputs,
        DETECTIONS,
        lambda *values: detections(raw.call(*values), detector, size, one_image, **trial),
    )


def tail(raw, detector, **trial):
    """Decoding and suppression alone: from the raw outputs of one image to detections."""
    size = next(iter(raw.inputs.values()))[0][1:3]
    spec = keras_outputs(raw, sample_inputs(raw))
    inputs = {name: (spec[name].shape, "float32") for name in raw.outputs}
    return Signature(
        inputs,
        DETECTIONS,
        lambda *values: detections(dict(zip(inputs, values)), detector, size, True, **trial),
    )


def detections(outputs, detector, size, one_image, shift=0.0, score_threshold=None):
    """Decoding and suppression of raw outputs.

    With `one_image` the suppression is TensorFlow's operator, one builtin in TFLite and one node in
    ONNX, for batch 1; without, that of `Detector.predict`, for any batch. `shift` is added to the
    logits, and `score_threshold` stands for the detector's: for trials (`matching`).
    """
    threshold = detector.score_threshold if score_threshold is None else score_threshold
    if shift:
        outputs = {
            name: value + shift if name.endswith(LOGITS) else value
            for name, value in outputs.items()
        }
    boxes, scores = decode(outputs, size)
    if one_image:
        return _one_image(boxes, scores, detector, size, threshold)
    found = candidates(
        boxes,
        scores,
        candidate_count(detector.max_detections),
        size,
        detector.class_agnostic,
        threshold,
    )
    return non_max_suppression(found, detector.iou_threshold, detector.max_detections)


def _one_image(boxes, scores, detector, size, score_threshold):
    classes, most = scores.shape[-1], detector.max_detections
    top, index = tf.math.top_k(
        tf.reshape(scores, (-1,)), min(candidate_count(most), boxes.shape[1] * classes)
    )
    labels = index % classes if classes > 1 else tf.zeros_like(index)
    picked = tf.gather(boxes[0], index // classes if classes > 1 else index)
    # Classes are moved apart, so that one suppression serves them all.
    offset = (
        0.0
        if detector.class_agnostic
        else tf.cast(labels, "float32")[:, None] * float(max(size) + 1)
    )
    keep, _, count = tf.raw_ops.NonMaxSuppressionV5(
        boxes=picked + offset,
        scores=top,
        max_output_size=most,
        iou_threshold=float(detector.iou_threshold),
        score_threshold=float(score_threshold),
        soft_nms_sigma=0.0,
        pad_to_max_output_size=True,
    )
    keep = tf.ensure_shape(keep, (most,))
    found = tf.range(most) < count
    return {
        "boxes": (tf.gather(picked, keep) * tf.cast(found, "float32")[:, None])[None],
        "scores": (tf.gather(top, keep) * tf.cast(found, "float32"))[None],
        "labels": tf.where(found, tf.gather(labels, keep), -1)[None],
        "count": tf.reshape(count, (1,)),
    }


def write_beside(folder, about):
    """Writes the metadata into a SavedModel's folder."""
    (pathlib.Path(folder) / METADATA_FILE).write_text(json.dumps(about, indent=1))
