"""Computes AP by the size of objects and the number of objects in a picture, and recall by their
overlap."""

from dataclasses import replace

import numpy as np

from .average import class_average_precision, mean
from .match import overlaps

MOST_GROUPS = 5
_OVERLAPS = (0.1, 0.3, 0.5)


def by_size(judged, found, truth, num_classes, num_images):
    """AP by the side of objects, the root of their area, in groups with equally many objects.

    As in COCO's AP by area, detections of other objects are left out, and so are wrong ones of
    another size.

    Returns:
        List of dicts: `low`, `high` (pixels), `objects`, `AP`.
    """
    side = np.sqrt(truth.area)
    found_side = np.sqrt(found.area)
    weights = np.ones((1, num_images))
    rows = []
    for low, high in _edges(np.maximum(np.rint(side[judged.wanted]), 1)):
        inside = judged.wanted & (_within(side, low, high))
        hit = judged.matched >= 0
        right = judged.right & inside[np.maximum(judged.matched, 0)]
        counted = right | (~hit & judged.counted & _within(found_side, low, high))
        part = replace(judged, right=right, counted=counted, wanted=inside)
        ap = mean(class_average_precision(part, found, truth, num_classes, weights))[0]
        rows.append({"low": low, "high": high, "objects": int(inside.sum()), "AP": float(ap)})
    return rows


def _within(side, low, high):
    """Whether sides, rounded to whole pixels like the bounds, lie between them."""
    return (np.maximum(np.rint(side), 1) >= low) & (np.maximum(np.rint(side), 1) <= high)


def by_count(judged, found, truth, num_classes, num_images):
    """AP by the number of objects in a picture.

    Returns:
        List of dicts: `low`, `high` (objects in a picture), `pictures`, `objects`, `AP`.
    """
    counts = np.bincount(truth.image[judged.wanted], minlength=num_images)
    rows = []
    for low, high in _edges(counts[counts > 0]):
        inside = (counts >= low) & (counts <= high)
        weights = inside[None].astype("float64")
        ap = mean(class_average_precision(judged, found, truth, num_classes, weights))[0]
        rows.append(
            {
                "low": low,
                "high": high,
                "pictures": int(inside.sum()),
                "objects": int(counts[inside].sum()),
                "AP": float(ap),
            }
        )
    return rows


def _edges(values):
    """Up to five ranges `(low, high)` of whole numbers, both included, with equally many values in
    each."""
    values = np.sort(values.astype(int))
    rows, start = [], 0
    for part in range(1, MOST_GROUPS + 1):
        stop = round(len(values) * part / MOST_GROUPS)
        if stop > start:
            stop = int(np.searchsorted(values, values[stop - 1], side="right"))
            rows.append((int(values[start]), int(values[stop - 1])))
            start = stop
    return rows


def by_overlap(judged, found, truth, num_images, least):
    """Recall at IoU 0.5 and a least score, by how much an object overlaps another one.

    Returns:
        List of dicts: `low`, `high` (IoU with the closest other object), `objects`, `recall`.
    """
    wanted = np.flatnonzero(judged.wanted)
    pairs = overlaps(truth, truth, num_images)
    pairs = pairs.where((pairs.found != pairs.truth) & ~truth.crowd[pairs.truth])
    closest = np.zeros(len(truth))
    np.maximum.at(closest, pairs.found, pairs.iou)
    shown = judged.matched[0, found.score >= least]
    hit = np.zeros(len(truth), bool)
    hit[shown[shown >= 0]] = True
    rows = []
    for low, high in zip((0.0, *_OVERLAPS), (*_OVERLAPS, 1.0)):
        inside = wanted[(closest[wanted] >= low) & ((closest[wanted] < high) | (high == 1.0))]
        if len(inside):
            recall = float(hit[inside].mean())
            rows.append({"low": low, "high": high, "objects": len(inside), "recall": recall})
    return rows
