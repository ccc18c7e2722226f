"""Turns raw outputs into detections as exported files do: decoding for known and unknown sizes, and
suppression by one operator of the runtime."""

import math

import tensorflow as tf

from ..checks import level_number
from ..detection.boxes import distances_to_boxes
from ..detection.decode import (
    DISTANCES,
    LOGITS,
    candidate_count,
    candidates,
    decode,
    level_names,
    non_max_suppression,
)


def decode_any(outputs, size):
    """Decodes like `detection.decode.decode`, but the size `(height, width)` may be a tensor
    too."""
    if not tf.is_tensor(size):
        return decode(outputs, size)
    names = level_names(outputs)
    boxes = tf.concat([_level_boxes(outputs, name, size) for name in names], axis=1)
    logits = tf.concat([_rows(outputs[f"{name}_{LOGITS}"]) for name in names], axis=1)
    limits = tf.cast(tf.gather(size, [1, 0, 1, 0]), "float32")
    return tf.minimum(tf.maximum(boxes, 0.0), limits), tf.sigmoid(logits)


def _rows(maps):
    """Reshapes `(B, h, w, C)` to `(B, h w, C)`."""
    shape = tf.shape(maps)
    return tf.reshape(maps, (shape[0], shape[1] * shape[2], maps.shape[-1]))


def _level_boxes(outputs, name, size):
    distances = outputs[f"{name}_{DISTANCES}"]
    stride = 2 ** level_number(name)
    centers, spacings = [], []
    for cells, side in zip(tf.unstack(tf.shape(distances)[1:3]), tf.unstack(size)):
        # Not -(-side // stride): ONNX rounds quotients toward zero.
        regular = tf.equal(cells, (side + stride - 1) // stride)
        spacing = tf.where(
            regular, float(stride), tf.cast(side, "float32") / tf.cast(cells, "float32")
        )
        centers.append((tf.cast(tf.range(cells), "float32") + 0.5) * spacing)
        spacings.append(spacing)
    y, x = tf.meshgrid(*centers, indexing="ij")
    points = tf.reshape(tf.stack([x, y], axis=-1), (-1, 2))
    strides = tf.stack(spacings[::-1])[None]
    return distances_to_boxes(tf.maximum(_rows(distances), 0.0), points, strides)


def as_keras(boxes, scores, detector, size, threshold):
    """The suppression of `Detector.predict`: a loop in every format, and the reference for
    files."""
    count = candidate_count(detector.max_detections)
    found = candidates(boxes, scores, count, size, detector.class_agnostic, threshold)
    return non_max_suppression(found, detector.iou_threshold, detector.max_detections)


def any_batch(boxes, scores, detector, size, threshold):
    """Suppression by `CombinedNonMaxSuppression`: one operator for a batch, without a loop, in
    TensorFlow and in ONNX. `threshold` may be a tensor."""
    most, classes = detector.max_detections, scores.shape[-1]
    flat = tf.reshape(scores, (tf.shape(scores)[0], tf.shape(scores)[1] * classes))
    count = tf.minimum(candidate_count(most), tf.shape(flat)[1])
    if scores.shape[1] is not None:
        count = min(candidate_count(most), scores.shape[1] * classes)
    top, index = tf.math.top_k(flat, count)
    labels = index % classes
    picked = tf.gather(boxes, index // classes, batch_dims=1)
    separated = _separated(picked, labels, detector, size)
    chosen, chosen_scores, _, found = tf.raw_ops.CombinedNonMaxSuppression(
        boxes=separated[:, :, None],
        scores=top[..., None],
        max_output_size_per_class=most,
        max_total_size=most,
        iou_threshold=float(detector.iou_threshold),
        score_threshold=tf.cast(threshold, "float32"),
        clip_boxes=False,
    )
    # It returns copies of boxes, not their indices: the index is that of the equal box.
    same = tf.reduce_all(chosen[:, :, None] == separated[:, None], axis=-1)
    same = tf.logical_and(same, chosen_scores[:, :, None] == top[:, None])
    place = tf.argmax(tf.cast(same, "float32"), axis=-1, output_type="int32")
    there = tf.range(most)[None] < found[:, None]
    boxes, labels = (tf.gather(each, place, batch_dims=1) for each in (picked, labels))
    return {
        "boxes": tf.where(there[..., None], boxes, 0.0),
        "scores": tf.where(there, chosen_scores, 0.0),
        "labels": tf.where(there, labels, -1),
        "count": found,
    }


def one_image(boxes, scores, detector, size, threshold):
    """Suppression of batch 1 by `NonMaxSuppressionV5`: one builtin in TFLite, one node in ONNX."""
    classes, most = scores.shape[-1], detector.max_detections
    top, index = tf.math.top_k(
        tf.reshape(scores, (-1,)), min(candidate_count(most), boxes.shape[1] * classes)
    )
    labels = index % classes if classes > 1 else tf.zeros_like(index)
    picked = tf.gather(boxes[0], index // classes if classes > 1 else index)
    keep, _, count = tf.raw_ops.NonMaxSuppressionV5(
        boxes=_separated(picked, labels, detector, size),
        scores=top,
        max_output_size=most,
        iou_threshold=float(detector.iou_threshold),
        score_threshold=float(threshold),
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


def _separated(boxes, labels, detector, size):
    """Moves boxes apart by class, so that one suppression serves them all."""
    if detector.class_agnostic:
        return boxes
    step = tf.cast(tf.reduce_max(size) + 1, "float32")
    if not tf.is_tensor(size):
        step = float(math.ceil(max(size)) + 1)
    return boxes + tf.cast(labels, "float32")[..., None] * step
