"""Turns a detector's raw outputs into boxes and scores, and those into detections (non-maximum
suppression)."""

from keras import ops

from ..checks import check_pair, finest_first, level_number
from .boxes import distances_to_boxes, iou_matrix, level_points

LOGITS, DISTANCES = "logits", "distances"


def level_names(outputs):
    """The names of the levels of raw outputs, finest first: `["P3", "P4"]` of `{"P3_logits": ...,
    "P3_distances": ..., "P4_logits": ...}`."""
    names = {key.removesuffix(f"_{LOGITS}") for key in outputs if key.endswith(f"_{LOGITS}")}
    return finest_first(names)


def flatten(outputs, image_size):
    """Joins the levels of raw outputs.

    Args:
        outputs: `{"P3_logits": (B, h, w, C), "P3_distances": (B, h, w, 4), ...}` with static h and
            w.
        image_size: `(height, width)` in pixels.

    Returns:
        `(logits, distances, points, strides)`: `(B, N, C)`, `(B, N, 4)`, `(N, 2)`, `(N, 2)`.
    """
    names = level_names(outputs)
    sizes = [tuple(outputs[f"{name}_{LOGITS}"].shape[1:3]) for name in names]
    is_open = isinstance(image_size, (tuple, list)) and None in image_size
    if is_open or any(None in size for size in sizes):
        raise ValueError(
            "The points of the maps need sizes that are known when the graph is traced, and a "
            "model that meets a second size is traced for unknown ones. Give every batch one size "
            "(`data.pipeline` does), or use `detect`, which takes any. Received: "
            f"image_size={image_size}"
        )
    image_size = check_pair(image_size, "image_size")
    points, strides = level_points(sizes, image_size, [level_number(name) for name in names])
    joined = [
        ops.concatenate(
            [
                ops.reshape(
                    outputs[f"{name}_{kind}"],
                    (-1, height * width, outputs[f"{name}_{kind}"].shape[-1]),
                )
                for name, (height, width) in zip(names, sizes)
            ],
            axis=1,
        )
        for kind in (LOGITS, DISTANCES)
    ]
    return (*joined, points, strides)


def decode(outputs, image_size):
    """Turns raw outputs into boxes and scores.

    Args:
        outputs: the dict of maps that a `Detector` returns.
        image_size: `(height, width)` of the input.

    Returns:
        Boxes `(B, N, 4)` in pixels, clipped to the image, and class scores `(B, N, C)` from 0 to 1.
    """
    logits, distances, points, strides = flatten(outputs, image_size)
    boxes = distances_to_boxes(ops.maximum(distances, 0.0), points, strides)
    height, width = check_pair(image_size, "image_size")
    limits = ops.array([width, height, width, height], dtype="float32")
    return ops.minimum(ops.maximum(boxes, 0.0), limits), ops.sigmoid(logits)


def candidate_count(max_detections):
    """The number of pairs of box and class that enter the suppression of one image: several for
    each object that it may return."""
    return max(512, 5 * max_detections)


def candidates(boxes, scores, count, image_size, class_agnostic=False, score_threshold=0.0):
    """The best `count` pairs of box and class.

    Args:
        boxes: `(B, N, 4)`. scores: `(B, N, C)`. image_size: `(height, width)`.
        class_agnostic: whether suppression runs across classes.

    Returns:
        A dict: `boxes` `(B, K, 4)`, `scores` `(B, K)` in falling order (0 where not above
        `score_threshold`), `labels` `(B, K)` int32, and `separated`: the boxes moved apart by
        class, so that one suppression serves all classes.
    """
    total, classes = boxes.shape[1] * scores.shape[-1], scores.shape[-1]
    top, index = ops.top_k(ops.reshape(scores, (-1, total)), min(count, total))
    index = ops.cast(index, "int32")
    labels = index % classes
    picked = ops.take_along_axis(boxes, ops.expand_dims(index // classes, -1), axis=1)
    separated = picked
    if not class_agnostic:
        separated = picked + ops.expand_dims(ops.cast(labels, picked.dtype), -1) * float(
            max(image_size) + 1
        )
    return {
        "boxes": picked,
        "scores": ops.where(top > score_threshold, top, 0.0),
        "labels": labels,
        "separated": separated,
    }


def non_max_suppression(found, iou_threshold=0.6, max_detections=100):
    """Greedy non-maximum suppression of `candidates`, the same on every backend.

    Returns:
        A dict of fixed sizes, best first: `boxes` `(B, max_detections, 4)`, `scores` `(B,
        max_detections)`, `labels` `(B, max_detections)` int32, padded with 0, 0 and -1, and `count`
        `(B,)` int32.
    """
    scores = found["scores"]
    total = scores.shape[1]
    earlier = ops.reshape(ops.arange(total), (-1, 1)) < ops.reshape(ops.arange(total), (1, -1))
    overlap = iou_matrix(found["separated"], found["separated"]) > iou_threshold
    # (B, j, i): j comes first and overlaps i
    suppresses = ops.cast(ops.logical_and(overlap, earlier), "float32")
    valid = scores > 0.0

    # A candidate is kept if no kept one before it overlaps it. Iterating this rule from "all are
    # kept" settles the k-th link of every chain of suppressions in step k, so the fixed point is
    # the greedy result, reached in a handful of steps.
    def step(kept, _):
        hit = (
            ops.squeeze(ops.matmul(ops.expand_dims(ops.cast(kept, "float32"), 1), suppresses), 1)
            > 0.5
        )
        return ops.logical_and(valid, ops.logical_not(hit)), kept

    kept, _ = ops.while_loop(
        lambda new, old: ops.any(new != old), step, step(valid, valid), maximum_iterations=total
    )
    order = ops.top_k(ops.where(kept, scores, -1.0), min(max_detections, total))[1]
    return _padded(found, kept, ops.cast(order, "int32"), max_detections)


def _padded(found, kept, order, size):
    keep = ops.take_along_axis(kept, order, axis=1)
    missing = [(0, 0), (0, size - order.shape[1])]
    return {
        "boxes": ops.pad(
            ops.where(
                ops.expand_dims(keep, -1),
                ops.take_along_axis(found["boxes"], ops.expand_dims(order, -1), axis=1),
                0.0,
            ),
            [*missing, (0, 0)],
        ),
        "scores": ops.pad(
            ops.where(keep, ops.take_along_axis(found["scores"], order, axis=1), 0.0), missing
        ),
        "labels": ops.pad(
            ops.where(keep, ops.take_along_axis(found["labels"], order, axis=1), -1),
            missing,
            constant_values=-1,
        ),
        "count": ops.sum(ops.cast(keep, "int32"), axis=1),
    }
