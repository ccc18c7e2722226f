"""Boxes `(..., 4)` as x_min, y_min, x_max, y_max in pixels: areas, overlaps, and the points that a
head predicts from."""

import math

import numpy as np
from keras import ops

_EPSILON = 1e-7


def box_area(boxes):
    """The areas `(...)` of boxes `(..., 4)`; a box whose maximum lies before its minimum has area
    0."""
    return _area(*corners(boxes))


def corners(boxes):
    """Splits boxes `(..., 4)` into x_min, y_min, x_max, y_max, four tensors `(...)`.

    Computations on many pairs use these: operations on the two coordinates of a point at a time
    take TensorFlow's CPU kernels several times as long.
    """
    return ops.unstack(boxes, 4, axis=-1)


def _area(x_min, y_min, x_max, y_max):
    return ops.maximum(x_max - x_min, 0.0) * ops.maximum(y_max - y_min, 0.0)


def iou_and_union(a, b):
    """Intersection over union, and union, of boxes `(..., 4)` that broadcast against each other:
    two tensors `(...)`."""
    a, b = corners(a), corners(b)
    low = [ops.maximum(*pair) for pair in zip(a[:2], b[:2])]
    high = [ops.minimum(*pair) for pair in zip(a[2:], b[2:])]
    intersection = _area(*low, *high)
    union = _area(*a) + _area(*b) - intersection
    return intersection / ops.maximum(union, _EPSILON), union


def iou_matrix(a, b):
    """IoU of every box of `a` `(..., N, 4)` with every box of `b` `(..., M, 4)`: `(..., N, M)`.

    >>> a = keras.ops.array([[0.0, 0.0, 2.0, 2.0]])
    >>> iou_matrix(a, a + 1.0).shape[-1], round(float(iou_matrix(a, a + 1.0)[0, 0]), 4)
    (1, 0.1429)
    """
    return iou_and_union(ops.expand_dims(a, -2), ops.expand_dims(b, -3))[0]


def giou(a, b):
    """Generalized IoU (https://arxiv.org/abs/1902.09630) of boxes `(..., 4)`: `(...)`, from -1 to
    1."""
    iou, union = iou_and_union(a, b)
    width, height = _hull(corners(a), corners(b))
    hull = ops.maximum(width * height, _EPSILON)
    return iou - (hull - union) / hull


def _hull(a, b):
    """The width and height of the smallest box around two, given as `corners`."""
    return [ops.maximum(a[i + 2], b[i + 2]) - ops.minimum(a[i], b[i]) for i in range(2)]


def ciou(a, b):
    """Complete IoU (https://arxiv.org/abs/1911.08287) of boxes `(..., 4)`: `(...)`: the IoU minus
    the distance of the centers over the hull's diagonal and a term of the aspect ratios."""
    iou, _ = iou_and_union(a, b)
    a, b = corners(a), corners(b)
    width, height = _hull(a, b)
    diagonal = ops.maximum(width * width + height * height, _EPSILON)
    offset = [(a[i] + a[i + 2] - b[i] - b[i + 2]) / 2.0 for i in range(2)]
    distance = offset[0] * offset[0] + offset[1] * offset[1]
    angles = [
        ops.arctan2(ops.maximum(box[2] - box[0], _EPSILON), ops.maximum(box[3] - box[1], _EPSILON))
        for box in (a, b)
    ]
    v = 4.0 / math.pi**2 * (angles[0] - angles[1]) ** 2
    # The weight of the aspect term is constant for the gradient, as in the paper.
    alpha = ops.stop_gradient(v / ops.maximum(1.0 - iou + v, _EPSILON))
    return iou - distance / diagonal - alpha * v


def level_points(map_sizes, image_size, levels):
    """Centers and strides of the cells of pyramid maps, finest level first, rows before columns.

    Args:
        map_sizes: `(height, width)` of each level's map, static ints.
        image_size: `(height, width)` of the image in pixels.
        levels: the levels' numbers. A map of `ceil(size / 2 ** level)` cells has stride `2 **
            level`; for any other size (the smallest maps of MLFPN) the spacing is the image's side
            over the map's.

    Returns:
        NumPy arrays: points `(N, 2)` as x, y in pixels and strides `(N, 2)` as x, y.
    """
    points, strides = [], []
    for (height, width), level in zip(map_sizes, levels):
        step_y = _spacing(height, image_size[0], level)
        step_x = _spacing(width, image_size[1], level)
        y, x = np.meshgrid(
            (np.arange(height) + 0.5) * step_y, (np.arange(width) + 0.5) * step_x, indexing="ij"
        )
        points.append(np.stack([x.ravel(), y.ravel()], axis=-1))
        strides.append(np.tile([[step_x, step_y]], (height * width, 1)))
    return np.concatenate(points).astype("float32"), np.concatenate(strides).astype("float32")


def _spacing(cells, side, level):
    return float(2**level) if cells == math.ceil(side / 2**level) else side / cells


def distances_to_boxes(distances, points, strides):
    """Boxes `(..., N, 4)` from distances `(..., N, 4)` (left, top, right, bottom, in strides) at
    points `(N, 2)`."""
    scaled = distances * ops.concatenate([strides, strides], axis=-1)
    return ops.concatenate([points - scaled[..., :2], points + scaled[..., 2:]], axis=-1)
