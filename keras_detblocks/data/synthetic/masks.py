"""Draws the mask of one object of a class: turned, sheared, scaled, with soft edges."""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .outlines import OUTLINES, UPRIGHT

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CLASS_NAMES = (*OUTLINES, *LETTERS, *"0123456789")
"""The names of the classes: outlines, capital letters and digits."""
_GLYPH = 128  # pixels
_LEAST = 3  # pixels a side
_INK = 0.25  # least coverage of a pixel that counts for the box


def draw_mask(rng, label, side):
    """The masks of an object's parts, float32 `(parts, h, w)` from 0 to 1, cut to the object;
    `side` is about `sqrt(h * w)`."""
    name = CLASS_NAMES[label]
    if name in OUTLINES:
        return _cut(_from_outline(rng, OUTLINES[name](rng), side, name in UPRIGHT))
    return _cut(_from_glyph(rng, _glyph(rng, name), side))


def _cut(masks):
    """Crops the rows and columns at the border that hold no ink, so that the box is tight."""
    ink = masks.max(0) > _INK
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return masks
    return masks[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _affine(rng, upright):
    """A 2x2 matrix: a stretch along a random axis and a turn; things that stand upright are only
    tilted or mirrored."""
    stretch = np.exp(rng.normal(0, 0.18))
    axis = rng.uniform(0, np.pi)
    turn = rng.normal(0, 0.15) if upright else rng.uniform(0, 2 * np.pi)
    scale = _turn(axis) @ np.diag([stretch, 1 / stretch]) @ _turn(-axis)
    mirror = np.diag([rng.choice((-1.0, 1.0)), 1.0])
    return _turn(turn) @ scale @ mirror


def _turn(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([(c, -s), (s, c)])


def _from_outline(rng, strokes, side, upright):
    matrix = _affine(rng, upright)
    moved = [(kind, points @ matrix.T, part, width) for kind, points, part, width in strokes]
    solid = [(points, width) for kind, points, _, width in moved if kind != "hole"]
    low = np.min([points.min(0) - width / 2 for points, width in solid], 0)
    high = np.max([points.max(0) + width / 2 for points, width in solid], 0)
    extent = np.maximum(high - low, 1e-3)
    zoom = side / np.sqrt(extent.prod())
    zoom = min(zoom, 2.5 * side / extent.max())  # keep long bars within the picture
    fine = 2 if side < 160 else 1
    shape = np.maximum(np.ceil(extent * zoom).astype(int), _LEAST)
    parts = max(part for _, _, part, _ in moved) + 1
    images = [Image.new("L", tuple(int(n) for n in shape * fine), 0) for _ in range(parts)]
    pens = [ImageDraw.Draw(image) for image in images]
    for kind, points, part, width in moved:
        places = [tuple(p) for p in ((points - low) * zoom * fine).tolist()]
        if kind == "line":
            _thick_line(pens[part], places, max(1, round(width * zoom * fine)))
            continue
        for number in range(parts) if kind == "hole" else (part,):
            pens[number].polygon(places, 0 if kind == "hole" else 255)
    if fine == 2:
        images = [image.reduce(2) for image in images]
    return np.stack([np.asarray(image, "float32") for image in images]) * np.float32(1 / 255)


def _thick_line(pen, places, width):
    pen.line(places, 255, width, joint="curve")
    if width > 3:
        r = width / 2 - 0.5
        for x, y in (places[0], places[-1]):
            pen.ellipse((x - r, y - r, x + r, y + r), 255)


def _from_glyph(rng, glyph, side):
    turned = glyph.rotate(np.degrees(rng.normal(0, 0.25)), Image.Resampling.BILINEAR, expand=True)
    turned = turned.crop(turned.getbbox() or (0, 0, *turned.size))
    stretch = np.exp(rng.normal(0, 0.15))
    w, h = turned.size
    zoom = side / np.sqrt(w * h)
    size = max(_LEAST, round(w * zoom * stretch)), max(_LEAST, round(h * zoom / stretch))
    return np.asarray(turned.resize(size, Image.Resampling.BILINEAR), "float32")[None] * np.float32(
        1 / 255
    )


def _glyph(rng, name):
    """A letter of Pillow's own font, light or bold, or a digit, half of which are scans if
    scikit-learn is installed."""
    scans = _scans() if name.isdigit() else None
    if scans is not None and rng.random() < 0.5:
        of_digit = scans[int(name)]
        return of_digit[rng.integers(len(of_digit))]
    return _printed(name, int(rng.integers(0, 4)))


@functools.cache
def _printed(name, weight):
    font = ImageFont.load_default(_GLYPH)
    image = Image.new("L", (2 * _GLYPH, 2 * _GLYPH), 0)
    ImageDraw.Draw(image).text((_GLYPH // 2, _GLYPH // 4), name, 255, font, stroke_width=weight)
    return image.crop(image.getbbox())


@functools.cache
def _scans():
    """Returns digit -> scikit-learn's scans of it (https://archive.ics.uci.edu/dataset/80),
    enlarged; None without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return None
    digits = load_digits()
    enlarged = [
        Image.fromarray(np.clip(scan * 24 - 60, 0, 255).astype("uint8")).resize(
            (_GLYPH,) * 2, Image.Resampling.BICUBIC
        )
        for scan in digits.images
    ]
    return {
        d: [image for image, target in zip(enlarged, digits.target) if target == d]
        for d in range(10)
    }
