"""Covers a large picture with overlapping windows, and merges what is found in them: each object
once."""

import numpy as np

from ..checks import check_number, check_pair


def windows(width, height, size, overlap=0.2):
    """Windows of one size that cover a picture, row by row.

    Args:
        width, height: of the picture in pixels.
        size: (height, width) of a window, or one number; a picture that is smaller is one window.
        overlap: least share of a window that the next one covers too, from 0 to 0.9.

    Returns:
        int (n, 4): x_min, y_min, x_max, y_max.

    >>> windows(1000, 600, 640).tolist()
    [[0, 0, 640, 600], [360, 0, 1000, 600]]
    """
    size, overlap = check_tile(size, overlap)
    columns, rows = (_starts(w, s, overlap) for w, s in ((width, size[1]), (height, size[0])))
    return np.array(
        [(x, y, min(x + size[1], width), min(y + size[0], height)) for y in rows for x in columns]
    )


def check_tile(size, overlap, name="size"):
    """(height, width) of a tile, and the share of it that the next one covers too."""
    return check_pair(size, name), check_number(overlap, "overlap", least=0, most=0.9)


def _starts(length, size, overlap):
    """The starts of windows along one side, evenly spaced from one end to the other."""
    if length <= size:
        return [0]
    count = int(np.ceil((length - size) / max(size * (1 - overlap), 1))) + 1
    return np.rint(np.linspace(0, length - size, count)).astype(int).tolist()


def cut_by_window(boxes, window, picture_size, margin=2):
    """Returns a mask of the boxes (n, 4), in pixels of the picture, that end at a side of their
    window where the picture goes on, and how far each reaches along that side (n,)."""
    width, height = picture_size
    inner = np.array([window[0] > 0, window[1] > 0, window[2] < width, window[3] < height])
    at = np.abs(boxes - np.asarray(window)) <= margin
    touching = at & inner
    extent = boxes[:, 2:] - boxes[:, :2]
    across = np.where(touching[:, [0, 1]] | touching[:, [2, 3]], extent, 0)
    return touching.any(1), across.max(1, initial=0)


def merged(boxes, scores, labels, tiles, iou_threshold=0.6, inside_threshold=0.7):
    """The indices of the detections of several windows to keep, the best first.

    Non-maximum suppression by class; of two detections from different windows, the weaker one is
    also dropped if most of it (or of the other) lies in both: an object cut by a window's side.

    Args:
        boxes: (n, 4) in pixels of the picture. scores, labels, tiles: (n,).
        iou_threshold: for boxes in any windows.
        inside_threshold: for boxes in different windows: overlap over the area of the smaller box.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept = []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        low = np.maximum(boxes[first, :2], boxes[order, :2])
        high = np.minimum(boxes[first, 2:], boxes[order, 2:])
        common = np.clip(high - low, 0, None).prod(1)
        union = areas[first] + areas[order] - common
        smaller = np.minimum(areas[first], areas[order])
        same = labels[order] == labels[first]
        double = common > iou_threshold * np.maximum(union, 1e-9)
        double |= (tiles[order] != tiles[first]) & (
            common > inside_threshold * np.maximum(smaller, 1e-9)
        )
        order = order[~(same & double)]
    return np.array(kept, int)
