"""One synthetic picture: a background, objects in one of several layouts, light, and a camera."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ...checks import check_pair, check_seed
from .camera import camera
from .masks import CLASS_NAMES, draw_mask
from .textures import COUNT, color, crop

MAX_OBJECTS = 48
"""The most objects in a scene."""
LEAST_SIZE = 64  # pixels of a side
LEAST_SIDE = 5  # pixels: smaller objects are painted but not labeled
LEAST_VISIBLE = 0.4  # share of an object's pixels that must be seen for it to be labeled
_MOST_COVERED = 0.35  # largest covered share of the smaller of two boxes when objects are placed
_LEAST_CONTRAST = 24.0  # between mean colors; most objects reach it


@dataclass(frozen=True)
class Style:
    """How an object is painted; `parts` holds `(texture, first color, second color)` of each of
    its two parts."""

    parts: tuple
    grain: float
    opacity: float
    sphere: float
    outline: float
    soft: float


def draw_scene(seed, size=256):
    """Draws one picture.

    Args:
        seed: an integer or a sequence of integers; the same seed gives the same picture (but
            pictures differ between machines with and without scikit-learn, whose digit scans are
            used if it is installed).
        size: `(height, width)` in pixels, or one number for a square; at least 64.

    Returns:
        `(pixels, boxes, labels)`: uint8 `(H, W, 3)`; float32 `(n, 4)` x_min, y_min, x_max, y_max in
        pixels, n up to `MAX_OBJECTS`; int32 `(n,)`, indices into `CLASS_NAMES`. A box covers the
        whole object, even parts that another one hides, and is cut at the picture's edge; objects
        of which less than 40 % is visible have none.

    Raises:
        ValueError: for a size below 64.

    >>> pixels, boxes, labels = draw_scene(7, (64, 96))
    >>> pixels.shape
    (64, 96, 3)
    """
    height, width = check_pair(size, "size", least=LEAST_SIZE)
    rng = np.random.default_rng(check_seed(seed))
    canvas = background(rng, height, width)
    light = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.45)  # direction, strength
    shadow = rng.uniform(0.2, 0.7) if rng.random() < 0.3 else 0.0
    owner = np.full((height, width), -1, "int16")
    for _ in range(rng.integers(0, 4) if rng.random() < 0.5 else 0):
        _clutter(rng, canvas)
    placed = []
    layout = LAYOUTS[rng.choice(len(LAYOUTS), p=SHARES)]
    for label, side, style, where in layout(rng, height, width):
        mask = draw_mask(rng, label, side)
        spot = _place(rng, mask.shape[1:], where, [p[0] for p in placed], height, width)
        if spot is None or len(placed) == MAX_OBJECTS:
            continue
        whole = _paint(rng, canvas, owner, len(placed), mask, spot, style, light, shadow)
        placed.append((spot, label, whole))
    boxes, labels = _labeled(placed, owner, height, width)
    return camera(rng, canvas), boxes, labels


# Backgrounds ------------------------------------------------------------------------------


def background(rng, height, width):
    """A textured background, or two or three of them side by side, float32 `(3, H, W)`."""
    canvas = _ground(rng, height, width)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        angle = rng.choice((np.pi / 2, rng.uniform(0, np.pi)))
        bent = crop(rng, height, width, zoom=4) * rng.choice((0, 0.05, 0.5)) * height
        y, x = np.mgrid[:height, :width].astype("float32")
        distance = (
            x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) + bent.astype("float32")
        )
        share = np.clip(
            (distance - rng.uniform(*np.quantile(distance[::8, ::8], (0.15, 0.85))))
            / rng.uniform(1, 5),
            0,
            1,
        )
        canvas += (_ground(rng, height, width) - canvas) * share
    return canvas


def _ground(rng, height, width):
    first, second = color(rng), color(rng)
    second = first + (second - first) * np.float32(rng.beta(1.2, 1.6))
    grain = np.exp(rng.uniform(np.log(0.8), np.log(3.5)))
    return _mixed(first, second, crop(rng, height, width, zoom=grain))


def _mixed(first, second, share):
    return first[:, None, None] + (second - first)[:, None, None] * share


def _clutter(rng, canvas):
    """Adds thin lines across the picture, or a large faint patch, so that the background has
    edges."""
    _, height, width = canvas.shape
    image = Image.new("L", (width, height))
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.7:
        for _ in range(rng.integers(1, 5)):
            ends = rng.uniform(-0.2, 1.2, (3, 2)) * (width, height)
            pen.line([tuple(end) for end in ends.tolist()], 255, int(rng.integers(1, 3)))
        strength = rng.uniform(0.2, 1.0)
    else:
        points = rng.uniform(-0.6, 1.6, (int(rng.integers(3, 6)), 2)) * (width, height)
        pen.polygon([tuple(point) for point in points.tolist()], 255)
        strength = rng.uniform(0.1, 0.5)
    share = np.asarray(image, "float32") * np.float32(strength / 255)
    canvas += share * (_ground(rng, height, width) - canvas)


# Layouts: generators of (label, side in pixels, style, wanted center or None) -------------


def _scattered(rng, height, width):
    """A few different objects of all sizes."""
    side, styles = min(height, width), [random_style(rng) for _ in range(3)]
    for _ in range(1 + int(rng.exponential(5))):
        style = styles[rng.integers(3)] if rng.random() < 0.5 else random_style(rng)
        yield rng.integers(len(CLASS_NAMES)), _log_uniform(rng, 0.05, 0.75) * side, style, None


def _crowd(rng, height, width):
    """Many objects of one to three kinds, similar in size and paint: cells, fruit, cars seen from
    above."""
    side = min(height, width)
    kinds = [
        (
            rng.integers(len(CLASS_NAMES)),
            _log_uniform(rng, 0.04, 0.28) * side,
            random_style(rng),
            rng.uniform(0.1, 1),
        )
        for _ in range(rng.choice((1, 1, 2, 3)))
    ]
    weights = np.array([kind[3] for kind in kinds])
    spread = rng.choice((0.05, 0.15, 0.3))
    area = sum(w * k[1] ** 2 for w, k in zip(weights / weights.sum(), kinds))
    most = min(MAX_OBJECTS, max(2, 0.6 * height * width / area))
    middle = rng.uniform(0.2, 0.8, 2) * (height, width)
    clustered = rng.random() < 0.3
    for _ in range(int(rng.uniform(0.2, 1) * most) + 1):
        label, base, style, _ = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
        where = middle + rng.normal(0, 0.2, 2) * (height, width) if clustered else None
        yield label, base * np.exp(rng.normal(0, spread)), varied(rng, style), where


def _large(rng, height, width):
    """One object that fills much of the picture, sometimes with a few small ones."""
    side = min(height, width)
    yield rng.integers(len(CLASS_NAMES)), rng.uniform(0.35, 0.9) * side, random_style(rng), None
    for _ in range(rng.integers(0, 4)):
        yield (
            rng.integers(len(CLASS_NAMES)),
            _log_uniform(rng, 0.05, 0.25) * side,
            random_style(rng),
            None,
        )


def _rows(rng, height, width):
    """Objects in rows: shelves, print, parked cars."""
    side = _log_uniform(rng, 0.06, 0.2) * min(height, width)
    kinds, style = rng.integers(0, len(CLASS_NAMES), rng.integers(1, 9)), random_style(rng)
    printed = rng.random() < 0.5
    if printed:
        kinds = len(CLASS_NAMES) - 1 - rng.integers(0, 36, 12)
    pitch, leading = side * rng.uniform(1.0, 1.6), side * rng.uniform(1.2, 2.5)
    rows = int(rng.integers(1, 5))
    y0, x0 = rng.uniform(0.5, 2) * side, rng.uniform(0.5, 2) * side
    for i in range(rows):
        for j in range(int((width - x0) / pitch)):
            where = np.array([y0 + i * leading, x0 + j * pitch]) + rng.normal(0, 0.04 * side, 2)
            if rng.random() < 0.9:
                yield rng.choice(kinds), side, style if printed else varied(rng, style), where


LAYOUTS = (_scattered, _crowd, _large, _rows)
SHARES = (0.42, 0.33, 0.15, 0.10)


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def random_style(rng):
    """A new `Style`."""

    def paint():
        first = color(rng)
        texture = np.float32(rng.beta(1.0, 1.8))
        return int(rng.integers(COUNT)), first, first + (color(rng) - first) * texture

    return Style(
        parts=(paint(), paint()),
        grain=float(np.exp(rng.uniform(np.log(0.35), np.log(2.0)))),
        opacity=rng.uniform(0.45, 0.95) if rng.random() < 0.2 else 1.0,
        sphere=rng.uniform(0.2, 0.9) if rng.random() < 0.4 else 0.0,
        outline=rng.uniform(-1, 1) if rng.random() < 0.25 else 0.0,
        soft=rng.uniform(0.3, 1.6) if rng.random() < 0.35 else 0.0,
    )


def varied(rng, style):
    """The style with slightly other colors."""
    change = np.float32(12) * rng.standard_normal(3, "float32") + np.float32(rng.normal(0, 10))
    return replace(style, parts=tuple((t, a + change, b + change) for t, a, b in style.parts))


# Objects ----------------------------------------------------------------------------------


def _place(rng, shape, where, boxes, height, width, tries=12):
    """A free place as (y, x, y_max, x_max), sometimes reaching out of the picture; None if there is
    none."""
    h, w = shape
    others = np.array(boxes, "float64").reshape(-1, 4)
    for _ in range(tries if where is None else 2):
        if where is None:
            out = 0.35 if rng.random() < 0.25 else 0.0
            y = rng.uniform(-out * h, max(height - h + out * h, 1 - out * h))
            x = rng.uniform(-out * w, max(width - w + out * w, 1 - out * w))
        else:
            y, x = where - (h / 2, w / 2) + rng.normal(0, 0.5, 2)
        y, x = round(float(y)), round(float(x))
        new = (y, x, y + h, x + w)
        sides = np.clip(
            np.minimum(others[:, 2:], new[2:]) - np.maximum(others[:, :2], new[:2]), 0, None
        )
        smaller = np.minimum((others[:, 2:] - others[:, :2]).prod(1), h * w)
        if (
            not (sides.prod(1) > _MOST_COVERED * smaller).any()
            and 0 < y + h
            and y < height
            and 0 < x + w
            and x < width
        ):
            return new
    return None


def _paint(rng, canvas, owner, number, mask, spot, style, light, shadow):
    """Paints an object into the canvas; returns its number of pixels, including those outside the
    picture."""
    _, height, width = canvas.shape
    y0, x0, y1, x1 = spot
    rows, columns = slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width))
    inside = slice(rows.start - y0, rows.stop - y0), slice(columns.start - x0, columns.stop - x0)
    alpha = np.clip(mask.sum(0), 0, 1)
    whole = int((alpha > 0.4).sum())
    region = canvas[:, rows, columns]
    if shadow:
        _cast(canvas, alpha, spot, shadow)
    paint = _painted(rng, mask, alpha, style, region.mean((1, 2)))
    paint *= _shading(alpha, style, light)
    edge = _blurred(alpha, style.soft) if style.soft and min(alpha.shape) > 10 else alpha
    cover = (edge * np.float32(style.opacity))[inside]
    region += cover * (paint[(slice(None), *inside)] - region)
    owner[rows, columns][alpha[inside] > 0.4] = number
    return whole


def _painted(rng, mask, alpha, style, around):
    """The object's colors before light is added, float32 `(3, h, w)`."""
    h, w = alpha.shape
    parts = _contrasting(rng, style.parts, around)
    paint = None
    for part, (texture, first, second) in zip(mask, parts):
        painted = _mixed(first, second, crop(rng, h, w, texture, style.grain))
        paint = painted if paint is None else paint + (painted - paint) * part
    if style.outline and min(h, w) > 12:
        rim = np.clip((alpha - _blurred(alpha, 1.5)) * 3, 0, 1)
        paint = paint + rim * np.float32(110 * style.outline)
    return paint


def _contrasting(rng, parts, around):
    """The parts, most of the time in colors that differ from their surroundings."""
    (texture, first, second), other = parts
    difference = (first + second) / 2 - around
    distance = float(np.abs(difference).mean())
    if distance >= _LEAST_CONTRAST or rng.random() < 0.15:
        return parts
    push = np.float32((rng.uniform(1.2, 3) * _LEAST_CONTRAST) * (1 if around.mean() < 110 else -1))
    return (texture, first + push, second + push), other


def _shading(alpha, style, light):
    """The light's share on each pixel, float32 `(h, w)` around 1: a slope along its direction, and
    roundness."""
    h, w = alpha.shape
    angle, strength = light
    slope_y = np.linspace(-1, 1, h, dtype="float32")[:, None] * np.float32(strength * np.sin(angle))
    slope_x = np.linspace(-1, 1, w, dtype="float32")[None] * np.float32(strength * np.cos(angle))
    shade = 1 + slope_y + slope_x
    if style.sphere and min(h, w) > 8:
        shade = shade * (
            1 + np.float32(style.sphere) * (_blurred(alpha, min(h, w) * 0.18) - np.float32(0.7))
        )
    return shade


def _blurred(alpha, radius):
    image = Image.fromarray((alpha * 255).astype("uint8"))
    return np.asarray(image.filter(ImageFilter.BoxBlur(radius)), "float32") * np.float32(1 / 255)


def _cast(canvas, alpha, spot, strength):
    """A soft shadow beside the object."""
    _, height, width = canvas.shape
    h, w = alpha.shape
    shift = max(1, round(0.08 * min(h, w)))
    y0, x0 = spot[0] + shift, spot[1] + shift
    rows, columns = slice(max(y0, 0), min(y0 + h, height)), slice(max(x0, 0), min(x0 + w, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        soft = _blurred(alpha, shift)[
            rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0
        ]
        canvas[:, rows, columns] *= 1 - np.float32(strength) * soft


def _labeled(placed, owner, height, width):
    """The boxes and labels of the objects that are visible enough."""
    seen = np.bincount(owner[owner >= 0].ravel(), minlength=len(placed))
    boxes, labels = [], []
    for ((y0, x0, y1, x1), label, whole), pixels in zip(placed, seen):
        box = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if pixels >= LEAST_VISIBLE * whole and min(box[2] - box[0], box[3] - box[1]) >= LEAST_SIDE:
            boxes.append(box)
            labels.append(label)
    return np.array(boxes, "float32").reshape(-1, 4), np.array(labels, "int32")
