"""Task-aligned assignment of points to ground truth (TOOD, https://arxiv.org/abs/2108.07755)."""

import keras
from keras import ops

from .boxes import corners, iou_and_union


def task_aligned(
    scores,
    boxes,
    points,
    strides,
    truth_boxes,
    truth_labels,
    top=10,
    alpha=1.0,
    beta=6.0,
    radius=0.75,
):
    """Chooses, for every point, the object that it should predict, and how good that prediction is.

    A point is a candidate for an object if it lies inside its box or within `radius` strides of its
    center (a box smaller than a cell would otherwise have none). The `top` candidates with the best
    alignment `score ** alpha * IoU ** beta` are taken; a point that several objects claim goes to
    the one with the largest IoU.

    Args:
        scores: class probabilities `(B, N, C)`.
        boxes: predicted boxes `(B, N, 4)`.
        points, strides: `(N, 2)`, from `level_points`.
        truth_boxes: `(B, M, 4)`. truth_labels: `(B, M)`, -1 where padded.

    Returns:
        A dict: `labels` `(B, N)` (-1: background), `boxes` `(B, N, 4)`, and `quality` `(B, N)`: the
        alignment, scaled so that each object's best point has the largest IoU among its points; 0
        for background.
    """
    count = ops.shape(truth_labels)[1]
    valid = truth_labels >= 0
    # (B, M, N)
    overlap = ops.maximum(
        iou_and_union(ops.expand_dims(boxes, 1), ops.expand_dims(truth_boxes, 2))[0], 0.0
    )
    score = _rows(ops.transpose(scores, (0, 2, 1)), ops.maximum(truth_labels, 0))
    candidate = ops.logical_and(
        _near(points, strides, truth_boxes, radius), ops.expand_dims(valid, -1)
    )
    alignment = ops.where(candidate, score**alpha * _power(overlap, beta), 0.0)
    chosen = ops.logical_and(candidate, _among_top(alignment, min(top, points.shape[0])))
    # (B, N); chosen pairs before others, then by IoU
    owner = ops.argmax(ops.where(chosen, overlap + 1.0, 0.0), axis=1)
    mine = ops.logical_and(
        chosen,
        ops.expand_dims(owner, 1)
        == ops.reshape(ops.arange(count, dtype=owner.dtype), (1, count, 1)),
    )
    best_overlap = ops.max(ops.where(mine, overlap, 0.0), axis=-1, keepdims=True)
    best_alignment = ops.max(ops.where(mine, alignment, 0.0), axis=-1, keepdims=True)
    quality = ops.where(mine, alignment * best_overlap / ops.maximum(best_alignment, 1e-9), 0.0)
    positive = ops.any(mine, axis=1)
    labels = ops.take_along_axis(ops.cast(truth_labels, "int32"), ops.cast(owner, "int32"), axis=1)
    return {
        "labels": ops.where(positive, labels, -1),
        "boxes": _rows(truth_boxes, owner),
        "quality": ops.sum(quality, axis=1),
    }


def _rows(x, indices):
    """Takes the rows `indices` `(B, I)` of `x` `(B, R, D)` in each batch element: `(B, I, D)`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # takes whole rows; the other operator takes single numbers
        return tf.gather(x, indices, batch_dims=1)
    return ops.take_along_axis(x, ops.expand_dims(indices, -1), axis=1)


def _power(x, exponent):
    """`x ** exponent`, as products if the exponent is a whole number: TensorFlow's power costs a
    CPU as much as ten of them."""
    if exponent % 1 or not 1 < exponent <= 16:
        return x**exponent
    half = _power(x, exponent // 2)
    return half * half * x if exponent % 2 else half * half


def _near(points, strides, truth_boxes, radius):
    """Returns `(B, M, N)`: whether a point is inside a box, or within `radius` strides of its
    center on both axes."""
    boxes = [ops.expand_dims(side, 2) for side in corners(truth_boxes)]  # (B, M, 1) each
    inside, central = True, True
    for axis in range(2):
        low, high, at = boxes[axis], boxes[axis + 2], points[:, axis]
        inside = ops.logical_and(inside, ops.logical_and(at >= low, at <= high))
        near = ops.abs(at - (low + high) / 2.0) <= radius * strides[:, axis]
        central = ops.logical_and(central, near)
    return ops.logical_or(inside, central)


def _among_top(values, top):
    """Whether each of `values` `(..., N)` is at least the `top`-th largest in its row."""
    return values >= ops.top_k(values, top)[0][..., -1:]
