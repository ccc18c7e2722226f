"""Computes COCO's average precision and recall from matches, and their bootstrap over pictures.

A resample of pictures is a row of weights: how often each picture was drawn. Matching works within
a picture, so it is done once, and a resample only weights its results.
"""

import math
from dataclasses import dataclass

import numpy as np

from .match import IOUS, assign

AREAS = {  # square pixels, as in cocoapi
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
_RECALLS = np.append(np.linspace(0.0, 1.0, 101), np.inf)
_ELEMENTS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Judged:
    """The result of matching for every detection and object, for one range of areas.

    Attributes:
        right, counted: bool `(ious, detections)`: whether it is right, and whether it counts at
            all.
        wanted: bool per object: whether it should be found.
        matched: int32 `(ious, detections)`: index of the object, -1 for none.
    """

    right: np.ndarray
    counted: np.ndarray
    wanted: np.ndarray
    matched: np.ndarray


def judge(pairs, found, truth, area=AREAS["all"], ious=IOUS):
    """Matches detections to the objects with an area in a range, ignoring the others."""
    ignored = truth.crowd | (truth.area < area[0]) | (truth.area > area[1])
    matched = assign(pairs, found, truth, ignored, ious)
    hit = matched >= 0
    on_ignored = hit & ignored[np.maximum(matched, 0)] if len(ignored) else hit
    outside = (found.area < area[0]) | (found.area > area[1])
    return Judged(hit & ~on_ignored, ~on_ignored & (hit | ~outside), ~ignored, matched)


def class_average_precision(judged, found, truth, num_classes, weights):
    """AP of every class at every IoU, for every row of weights.

    Args:
        weights: `(B, pictures)`, how often each counts.

    Returns:
        float `(B, num_classes, ious)`; nan if there is nothing to find.
    """
    result = np.full((len(weights), num_classes, len(judged.right)), np.nan)
    for k in range(num_classes):
        wanted = weights[:, truth.image[judged.wanted & (truth.label == k)]].sum(1, dtype="float64")
        if wanted.any():
            chosen = np.flatnonzero(found.label == k)
            right, counted = judged.right[:, chosen], judged.counted[:, chosen]
            result[:, k] = _one_class(right, counted, found.image[chosen], wanted, weights)
    return result


def _one_class(right, counted, image, wanted, weights):
    """AP `(B, ious)`; nan if `wanted` `(B,)` is 0."""
    ap = np.zeros((len(weights), len(right)))
    ever = np.flatnonzero(counted.any(0))
    ever = ever[: np.flatnonzero(right[:, ever].any(0)).max(initial=-1) + 1]  # no hit after it
    right, counted, image = right[:, ever], counted[:, ever], image[ever]
    rows = max(1, _ELEMENTS_AT_ONCE // max(1, len(image)))
    for start in range(0, len(weights) if len(image) else 0, rows):
        part = slice(start, start + rows)
        weight = weights[part][:, image]
        seen = np.cumsum(weight, axis=1)
        for t in range(len(right)):
            hits, not_here = np.flatnonzero(right[t]), np.flatnonzero(~counted[t])
            before = _sum_before(weight, not_here, hits)
            found = np.cumsum(weight[:, hits], axis=1)
            ap[part, t] = _area_under(found, seen[:, hits] - before, wanted[part, None])
    ap[wanted == 0] = np.nan
    return ap


def _sum_before(weight, chosen, places):
    """The sum of the weights of the chosen columns before each of some places."""
    if not len(chosen):
        return 0.0
    sums = np.cumsum(weight[:, chosen], axis=1)
    sums = np.concatenate([np.zeros((len(sums), 1), sums.dtype), sums], axis=1)
    return sums[:, np.searchsorted(chosen, places)]


def _area_under(hits, seen, wanted):
    """The interpolated precision at 101 recalls, averaged, from the curve's values at its hits."""
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=hits > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # A level of recall counts at the point where the curve first reaches it, level 0 at the first
    # hit.
    reached = np.where(hits > 0, _levels(hits / np.maximum(wanted, 1)), 0)
    return (envelope * np.diff(reached, axis=1, prepend=0)).sum(1) / 101


def _levels(recall):
    """The number of the 101 levels that are at most this recall: a faster `np.searchsorted`."""
    levels = (recall * 100).astype("int32") + 1
    levels -= recall < _RECALLS[levels - 1]
    return levels + (recall >= _RECALLS[levels])


def class_recall(judged, found, truth, num_classes, weights, most):
    """Recall of every class at every IoU by the best `most` detections of a picture.

    Returns:
        float `(B, num_classes, ious)`; nan if there is nothing to find.
    """
    wanted = _weighted(truth, judged.wanted, num_classes, weights)
    near = found.rank < most
    hits = np.stack([_weighted(found, r & near, num_classes, weights) for r in judged.right], 2)
    out = np.full(hits.shape, np.nan)
    return np.divide(hits, wanted[..., None], out=out, where=wanted[..., None] > 0)


def _weighted(objects, chosen, num_classes, weights):
    """Weighted counts `(B, num_classes)` of the chosen."""
    cell = objects.image[chosen].astype("int64") * num_classes + objects.label[chosen]
    table = np.bincount(cell, minlength=weights.shape[1] * num_classes)
    return weights @ table.reshape(-1, num_classes).astype(weights.dtype)


def coco_numbers(pairs, found, truth, num_classes, weights, max_detections=100):
    """The twelve COCO numbers for every row of weights, and AP per class.

    Args:
        max_detections: how many detections of a picture and class are in `found`; `AR_100` is named
            after it.

    Returns:
        `(numbers, per_class)`: name -> `(B,)`, in `training.CocoAP`'s names, and `(B, num_classes,
        ious)`; nan if the data have no such object.
    """
    numbers, recalls, per_class = {}, {}, None
    for area, bounds in AREAS.items():
        judged = judge(pairs, found, truth, bounds)
        ap = class_average_precision(judged, found, truth, num_classes, weights)
        if area == "all":
            per_class = ap
            numbers = {"AP": mean(ap), "AP50": mean(ap[..., :1]), "AP75": mean(ap[..., 5:6])}
            for most in (*(m for m in (1, 10, 100) if m < max_detections), max_detections):
                recall = class_recall(judged, found, truth, num_classes, weights, most)
                recalls[f"AR_{most}"] = mean(recall)
        else:
            numbers[f"AP_{area}"] = mean(ap)
            recall = class_recall(judged, found, truth, num_classes, weights, max_detections)
            recalls[f"AR_{area}"] = mean(recall)
    return numbers | recalls, per_class


def mean(values):
    """The mean of the defined values over all axes but the first; nan without any."""
    values = values.reshape(len(values), -1)
    known = ~np.isnan(values)
    count = known.sum(1)
    total = np.where(known, values, 0.0).sum(1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def resamples(num_images, count, seed=0):
    """Returns float32 `(count, num_images)`: how often each picture is drawn, with replacement. A
    single picture is not resampled: it says nothing about others."""
    if num_images < 2:
        return np.zeros((1, num_images), "float32")
    rng = np.random.default_rng(seed)
    return rng.multinomial(num_images, np.full(num_images, 1 / num_images), count).astype("float32")


def interval_text(bounds, digits=3, sign=""):
    """`0.100 to 0.200` for `(low, high)`, or a dash if undefined.

    >>> interval_text((0.1, 0.2), 2), interval_text((float("nan"),) * 2)
    ('0.10 to 0.20', '–')
    """
    low, high = bounds
    if math.isnan(low) or math.isnan(high):
        return "–"
    return f"{low:{sign}.{digits}f} to {high:{sign}.{digits}f}"


def interval(samples, share=0.95):
    """`(low, high)` of the bootstrap's percentiles over the first axis; nan if undefined."""
    if np.isnan(samples).all():
        return (float("nan"),) * 2
    low, high = np.nanquantile(samples, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
