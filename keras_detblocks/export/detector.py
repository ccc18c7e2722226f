"""What is particular to a detector: decoding and suppression inside the file, what travels with it, matching its detections."""

import json
import pathlib

import numpy as np

from ..data.letterbox import FILL
from ..detection import Detector
from ..detection.decode import decode
from ..detection.detector import candidate_count
from .graph import Signature, as_float32, sample_inputs, signature_of
from .session import Session, SessionError
from .verify import METADATA_FILE, ExportError, cast_inputs, keras_outputs

DETECTIONS = ("boxes", "scores", "labels", "count")
# Detections of Keras from this score on must be found in the file. Below it, ties and the cut at the threshold decide.
_SURE = 0.3
# precision -> (least overlap, largest difference of scores, least share matched, largest mean difference of the ranked scores)
_MATCHING = {None: (0.99, 0.01, 0.99, 1e-3), "fp16": (0.9, 0.03, 0.95, 5e-3), "int8": (0.7, 0.2, 0.8, 0.05)}


def is_detector(model):
    return isinstance(model, Detector)


def size_for(detector, image_size):
    size = detector.image_size or image_size
    if size is None or None in size:
        raise ValueError("The detector takes images of any size, and an exported file of one: give `image_size=(height, width)`.")
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
    }


def raw_signature(detector, image_size=None, batch_size=1):
    """The signature of the detector's raw outputs, in float32, with its one input called `image`."""
    raw = signature_of(as_float32(detector), size_for(detector, image_size), batch_size)
    return Signature({"image": next(iter(raw.inputs.values()))}, raw.outputs, raw.call)


def with_detections(raw, detector, one_image):
    """A raw signature followed by decoding and suppression.

    With `one_image` the suppression is TensorFlow's operator, one builtin in TFLite and one node in ONNX, for batch 1; without,
    that of `Detector.predict`, for any batch.
    """
    shape = next(iter(raw.inputs.values()))[0]

    def call(*values):
        outputs = raw.call(*values)
        return _one_image(outputs, detector, shape[1:3]) if one_image else detector.postprocess(outputs, shape[1:3])

    return Signature(raw.inputs, DETECTIONS, call)


def tail(raw, detector):
    """Decoding and suppression alone: from the raw outputs of one image to detections."""
    size = next(iter(raw.inputs.values()))[0][1:3]
    spec = keras_outputs(raw, sample_inputs(raw))
    inputs = {name: (spec[name].shape, "float32") for name in raw.outputs}
    return Signature(inputs, DETECTIONS, lambda *values: _one_image(dict(zip(inputs, values)), detector, size))


def _one_image(outputs, detector, size):
    import tensorflow as tf

    boxes, scores = decode(outputs, size)
    classes, most = scores.shape[-1], detector.max_detections
    top, index = tf.math.top_k(tf.reshape(scores, (-1,)), min(candidate_count(most), boxes.shape[1] * classes))
    labels = index % classes if classes > 1 else tf.zeros_like(index)
    picked = tf.gather(boxes[0], index // classes if classes > 1 else index)
    # Classes are moved apart, so that one suppression serves them all.
    offset = 0.0 if detector.class_agnostic else tf.cast(labels, "float32")[:, None] * float(max(size) + 1)
    keep, _, count = tf.raw_ops.NonMaxSuppressionV5(
        boxes=picked + offset,
        scores=top,
        max_output_size=most,
        iou_threshold=float(detector.iou_threshold),
        score_threshold=float(detector.score_threshold),
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


def compare_detections(path, signature, precision=None, samples=None):
    """Runs a detector's file and Keras on pictures, and matches their detections by class, overlap and score.

    Args:
        path: of the file. signature: what Keras computes (`with_detections`).
        precision: `None`, `"fp16"` or `"int8"`.
        samples: list of dicts of arrays.

    Returns:
        `(errors by output, (matched, of how many), partitions)`; errors are those of the matched detections.

    Raises:
        ExportError: if the file fails, returns other shapes, misses sure detections or ranks scores otherwise.
    """
    samples = samples or [sample_inputs(signature, seed) for seed in range(2)]
    wanted = [keras_outputs(signature, arrays) for arrays in samples]
    try:
        with Session(path) as session:
            got = [session(**cast_inputs(arrays, session.inputs)) for arrays in samples]
            partitions = session.partitions
    except SessionError as error:
        raise ExportError(f"The exported file is unusable and was removed: {error}") from error
    overlap, score, share, ranked = _MATCHING[precision]
    total, pairs = 0, []
    for want, have in zip(wanted, got):
        _check_shapes(want, have)
        off = float(np.abs(want["scores"] - have["scores"]).mean())
        if not off <= ranked:
            raise ExportError(f"The scores of the exported file differ from Keras by {off:.3g} on average (allowed: {ranked}).")
        for row in range(len(want["scores"])):
            sure, matched = match(*({k: v[row] for k, v in each.items()} for each in (want, have)), overlap, score)
            total, pairs = total + sure, pairs + matched
    if len(pairs) < share * total:
        raise ExportError(
            f"Only {len(pairs)} of {total} detections of Keras are in the exported file (overlap {overlap}, score within {score})."
        )
    errors = {key: max((pair[i] for pair in pairs), default=0.0) for i, key in enumerate(("boxes", "scores"))}
    return errors, (len(pairs), total), partitions


def _check_shapes(want, have):
    for name in DETECTIONS:
        if name not in have or have[name].shape != want[name].shape or not np.isfinite(have[name]).all():
            raise ExportError(f"Output {name!r} should be finite and {want[name].shape}. Received: {have.get(name)}")


def match(want, have, overlap, score):
    """Matches the sure detections of one image: `(how many there are, [(largest box error, score error), ...] of the matched)`."""
    free = have["scores"] > 0
    matched = []
    sure = np.flatnonzero(want["scores"] >= _SURE)
    for i in sure:
        iou = _iou(want["boxes"][i], have["boxes"]) * (free & (have["labels"] == want["labels"][i]))
        j = int(np.argmax(iou))
        difference = float(abs(have["scores"][j] - want["scores"][i]))
        if iou[j] >= overlap and difference <= score:
            free[j] = False
            matched.append((float(np.abs(have["boxes"][j] - want["boxes"][i]).max()), difference))
    return len(sure), matched


def _iou(box, boxes):
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    inner = np.prod(np.maximum(sides, 0), axis=-1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) + np.prod(box[2:] - box[:2])
    return inner / np.maximum(areas - inner, 1e-9)


def write_beside(folder, about):
    """Writes the metadata into a SavedModel's folder."""
    (pathlib.Path(folder) / METADATA_FILE).write_text(json.dumps(about, indent=1))
