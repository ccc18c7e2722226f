"""Computes boxes and areas of outlines: polygons, and COCO's run lengths, plain or packed as
text."""

import numpy as np


def outline_box(outline):
    """The box xyxy of an outline; None if it is not a valid outline."""
    points = _points(outline)
    if points is not None:
        return (*points.min(0).tolist(), *points.max(0).tolist())
    mask = _mask_runs(outline)
    return None if mask is None else _runs_box(*mask)


def outline_area(outline):
    """The number of pixels within an outline; None if it is not a valid outline."""
    if _points(outline) is not None:
        return sum(_polygon_area(part) for part in _parts(outline))
    mask = _mask_runs(outline)
    return None if mask is None else float(mask[0][1::2].sum())


def _parts(outline):
    """The polygons of an outline as (n, 2) arrays; a single one may come without a list around
    it."""
    if not isinstance(outline, list) or not outline:
        return []
    parts = outline if isinstance(outline[0], list) else [outline]
    found = []
    for part in parts:
        try:
            points = np.array(part, "float64").reshape(-1, 2)
        except (TypeError, ValueError, OverflowError):
            continue
        if len(points) >= 2 and np.isfinite(points).all():
            found.append(points)
    return found


def _points(outline):
    parts = _parts(outline)
    return np.concatenate(parts) if parts else None


def _polygon_area(points):
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def _mask_runs(outline):
    """`(runs, height)`: lengths of background and object in turn, column by column."""
    if not isinstance(outline, dict):
        return None
    size, counts = outline.get("size"), outline.get("counts")
    try:
        height, width = (int(side) for side in size)
        runs = np.array(_unpacked(counts) if isinstance(counts, str) else counts, "int64").ravel()
    except (TypeError, ValueError, OverflowError):
        return None
    usable = height > 0 and width > 0 and len(runs) > 1 and (runs >= 0).all()
    return (runs, height) if usable and runs.sum() <= height * width else None


def _unpacked(text):
    """Unpacks COCO's text: five bits per character, counted from 48, a sixth that says that more
    follow; from the third run on, differences to the last but one."""
    runs, value, shift = [], 0, 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return runs


def _runs_box(runs, height):
    ends = np.cumsum(runs)
    starts, stops = ends[0::2][: len(runs) // 2], ends[1::2]
    inside = stops > starts
    starts, last = starts[inside], stops[inside] - 1
    if not len(starts):
        return None
    whole = starts // height != last // height  # past the end of a column: from top to bottom
    top = 0 if whole.any() else (starts % height).min()
    bottom = height if whole.any() else (last % height).max() + 1
    return (
        float((starts // height).min()),
        float(top),
        float((last // height).max() + 1),
        float(bottom),
    )
