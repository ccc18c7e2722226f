"""Finds small objects in large pictures: tile by tile, then each object once."""

import numpy as np

from ..images.tiles import cut_by_window, merged, windows


def detect_in_tiles(find, picture, tile, overlap, iou_threshold):
    """Detects objects in one picture tile by tile.

    Args:
        find: a function from a list of pictures, arrays (h, w, 3), to a list of dicts with `boxes`,
            `scores`, `labels` in the pixels of each.
        picture: uint8 (H, W, 3).
        tile: size of a tile in pixels of the picture, a number or (height, width).
        overlap: share of a tile that the next one covers too. An object that is no larger than that
            is whole in one of them; its cut parts in others are dropped.
        iou_threshold: of the suppression across tiles.

    Returns:
        A dict of `boxes`, `scores`, `labels`, in falling order of scores.
    """
    height, width = picture.shape[:2]
    found = windows(width, height, tile, overlap)
    shared = [_least_overlap(found[:, k], found[:, k + 2]) for k in (0, 1)]
    parts = find([picture[y0:y1, x0:x1] for x0, y0, x1, y1 in found])
    boxes, scores, labels, tiles = [], [], [], []
    for i, (window, part) in enumerate(zip(found, parts)):
        moved = part["boxes"].reshape(-1, 4) + np.tile(window[:2], 2)
        cut, reach = cut_by_window(moved, window, (width, height))
        keep = ~cut | (reach > min(shared))
        boxes.append(moved[keep])
        scores.append(part["scores"][keep])
        labels.append(part["labels"][keep])
        tiles.append(np.full(int(keep.sum()), i))
    boxes, scores, labels, tiles = map(np.concatenate, (boxes, scores, labels, tiles))
    kept = merged(boxes, scores, labels, tiles, iou_threshold)
    return {
        "boxes": boxes[kept].astype("float32").reshape(-1, 4),
        "scores": scores[kept],
        "labels": labels[kept],
    }


def _least_overlap(starts, ends):
    """The least number of pixels that neighbors along one side share; the whole side if it has one
    window."""
    starts, ends = np.unique(starts), np.unique(ends)
    if len(starts) < 2:
        return np.inf
    return float((ends[:-1] - starts[1:]).min())
