"""Boxes on pictures, and grids of pictures."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..checks import check_int, check_path, refused
from ..files import written_beside

COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Okabe and Ito's colors, which color-blind people can tell apart, without black."""


def draw_boxes(
    image,
    boxes,
    labels=None,
    scores=None,
    class_names=None,
    width=None,
    *,
    colors=None,
    dashed=None,
    casing=0,
):
    """Draws boxes with names and scores onto a picture.

    Args:
        image: PIL image, or array `(H, W, 3)` of 0 to 255.
        boxes: `(n, 4)` as x_min, y_min, x_max, y_max in pixels.
        labels, scores: `(n,)`, or `None`.
        class_names: names by label.
        width: of the lines in pixels; by default it grows with the picture's size.
        colors: one per box; by default those of the labels.
        dashed: `(n,)` bool: which boxes have dashed lines.
        casing: width of a black edge on both sides of the lines, which makes them stand out from
            any picture, even in gray.

    Returns:
        A new PIL image.
    """
    picture, boxes = _canvas(image), _checked_boxes(boxes)
    draw = ImageDraw.Draw(picture)
    width = check_int(width, "width", optional=True) or max(2, round(max(picture.size) / 250))
    casing = check_int(casing, "casing", least=0)
    font = ImageFont.load_default(size=max(10, round(max(picture.size) / 32)))
    for i, box in enumerate(boxes):
        label = None if labels is None else int(labels[i])
        color = COLORS[(label or 0) % len(COLORS)] if colors is None else colors[i]
        for edge, ink in ((casing, "black"), (0, color)) if casing else ((0, color),):
            _outline(draw, box, ink, width, edge, dashed is not None and dashed[i])
        text = "" if label is None else str(class_names[label]) if class_names else str(label)
        text += "" if scores is None else f" {float(scores[i]):.2f}"
        if text.strip():
            _tag(draw, picture, box, text.strip(), color, font)
    return picture


def _canvas(image):
    """A copy of the picture to draw on."""
    if isinstance(image, Image.Image):
        return image.convert("RGB").copy()
    if getattr(image, "ndim", 0) not in (2, 3):
        raise refused(image, "image", "a PIL image or an array (height, width, 3)")
    return Image.fromarray(np.asarray(image, "uint8")).convert("RGB")


def _checked_boxes(boxes):
    """The boxes as floats `(n, 4)`, from an array or nested lists."""
    try:
        found = np.asarray(boxes, "float64")
    except (TypeError, ValueError):
        found = np.zeros(())
    if found.size == 0 or found.shape == (4,):
        found = found.reshape(-1, 4)
    if found.ndim != 2 or found.shape[1] != 4:
        raise refused(boxes, "boxes", "of shape (n, 4): x_min, y_min, x_max, y_max")
    return found


def _outline(draw, box, color, width, edge, dashed):
    """Draws the outline of a box inside its border, `edge` wider on both sides; dashed ones have
    dashes of three widths and gaps of two."""
    x0, y0, x1, y1 = map(float, box)
    if not dashed:
        outer = [x0 - edge, y0 - edge, max(x1, x0) + edge, max(y1, y0) + edge]
        draw.rectangle(outer, outline=color, width=width + 2 * edge)
        return
    for (ax, ay), (bx, by) in (
        ((x0, y0), (x1, y0)),
        ((x1, y0), (x1, y1)),
        ((x0, y1), (x1, y1)),
        ((x0, y0), (x0, y1)),
    ):
        length = max(abs(bx - ax) + abs(by - ay), 1e-9)
        for start in np.arange(0.0, length, 5.0 * width):
            a, b = start / length, min(start + 3.0 * width, length) / length
            ends = [ax + a * (bx - ax), ay + a * (by - ay), ax + b * (bx - ax), ay + b * (by - ay)]
            draw.line(ends, fill=color, width=width + 2 * edge)


def _tag(draw, picture, box, text, color, font):
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    x = min(max(box[0], 0), max(picture.width - right, 0))
    y = box[1] - bottom - 1 if box[1] > bottom else box[1]
    draw.rectangle([x, y, x + right + 1, y + bottom + 1], fill=color)
    draw.text((x + 1, y), text, fill="black", font=font)


def detection_grid(pictures, path, columns=6, cell=240):
    """Writes a PNG of pictures side by side, each scaled to fit a square cell; returns the path.

    Args:
        pictures: Pillow images.
        path: of the file to write.
        columns: pictures in a row.
        cell: side of a cell in pixels.
    """
    path = check_path(path, "path")
    columns, cell = check_int(columns, "columns"), check_int(cell, "cell", least=5)
    rows = math.ceil(len(pictures) / columns)
    canvas = Image.new("RGB", (columns * cell, rows * cell), "white")
    for i, picture in enumerate(pictures):
        scale = (cell - 4) / max(picture.size)
        small = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        )
        canvas.paste(small, ((i % columns) * cell + 2, (i // columns) * cell + 2))
    return _save(canvas, path)


def _save(image, path):
    with written_beside(path) as part:
        image.save(part)
    return path
