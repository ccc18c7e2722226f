"""Explains the detections of one picture: the candidates, where each came from, and its fate.

For people who build necks and heads and wonder which level found what.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops
from PIL import Image, ImageDraw

from ..checks import check_int, check_number, level_number
from ..images.draw import COLORS, draw_boxes
from ..images.letterbox import letterbox
from ..images.read import read_image
from .decode import LOGITS, candidate_count, decode, flatten, level_names

KEPT, SUPPRESSED, CUT = "kept", "suppressed", "beyond the most detections"


@dataclass(frozen=True)
class Candidate:
    """A box that entered the suppression.

    Attributes:
        box: x_min, y_min, x_max, y_max in the picture's own pixels.
        score, label, class_name: as in `Detector.detect`.
        level: such as `"P4"`.
        cell: (row, column) of its map.
        point: (x, y), the cell's center.
        fate: `"kept"`, `"suppressed"`, or `"beyond the most detections"`.
        by, iou: for a suppressed one, the index of the better one that it overlaps, and by how
            much.
    """

    box: tuple
    score: float
    label: int
    class_name: str
    level: str
    cell: tuple
    point: tuple
    fate: str
    by: int | None = None
    iou: float | None = None

    def __str__(self):
        where = f"{self.level} cell {self.cell[0]},{self.cell[1]}"
        box = ", ".join(f"{v:.0f}" for v in self.box)
        why = f" by {self.by} (IoU {self.iou:.2f})" if self.by is not None else ""
        return f"{self.class_name} {self.score:.2f} [{box}] from {where}: {self.fate}{why}"


@dataclass(frozen=True)
class Explanation:
    """The result of `Detector.explain`: print it, look at its `rows`, or `draw()` it.

    Attributes:
        picture: uint8 `(H, W, 3)`.
        rows: `Candidate`s, the highest score first.
        left_out: the number of cells whose score reached the threshold but which did not enter the
            suppression, which takes only so many.
        shown_from: the least score that `Detector.detect` shows.
    """

    picture: np.ndarray
    rows: list
    left_out: int
    shown_from: float

    def __repr__(self):
        parts = [f"{sum(r.fate == KEPT for r in self.rows)} kept"]
        for fate in (SUPPRESSED, CUT):
            count = sum(r.fate == fate for r in self.rows)
            parts += [f"{count} {fate}"] if count else []
        parts += [f"{self.left_out} never entered"] if self.left_out else []
        return f"Explanation of {len(self.rows)} candidates: {', '.join(parts)}"

    def __str__(self):
        return "\n".join([repr(self), *(f"{i}: {row}" for i, row in enumerate(self.rows))])

    def levels(self):
        """Returns level -> `(candidates, kept)`, finest first."""
        names = sorted({row.level for row in self.rows}, key=level_number)
        of_level = {name: [r for r in self.rows if r.level == name] for name in names}
        return {k: (len(v), sum(r.fate == KEPT for r in v)) for k, v in of_level.items()}

    def draw(self, least=None, side=768):
        """Draws the kept candidates and those that they suppressed, in a color per level.

        Kept ones are solid, with their index in `rows`, class, score and level; suppressed ones
        are dashed. Dots are the cells that they came from.

        Args:
            least: least score of a kept one; by default `shown_from`.
            side: pixels to which the longer side of the picture is enlarged, at least.

        Returns:
            A PIL image.
        """
        least = check_number(least, "least", least=0, most=1, optional=True)
        least, side = self.shown_from if least is None else least, check_int(side, "side")
        kept = {i for i, r in enumerate(self.rows) if r.fate == KEPT and r.score >= least}
        chosen = [i for i, r in enumerate(self.rows) if i in kept or r.by in kept][::-1]
        rows = [self.rows[i] for i in chosen]  # the best last, so on top
        picture = Image.fromarray(self.picture)
        scale = max(1.0, side / max(picture.size))
        picture = picture.resize([round(s * scale) for s in picture.size])
        levels = list(self.levels())
        colors = [COLORS[levels.index(r.level) % len(COLORS)] for r in rows]
        drawn = draw_boxes(
            picture,
            scale * np.array([r.box for r in rows], "float64").reshape(-1, 4),
            range(len(rows)),
            class_names=[_tag(i, r) for i, r in zip(chosen, rows)],
            width=2,
            colors=colors,
            dashed=[r.fate != KEPT for r in rows],
            casing=1,
        )
        pen = ImageDraw.Draw(drawn)
        for row, color in zip(rows, colors):
            center = [scale * v for v in row.point]
            pen.circle(center, 6 if row.fate == KEPT else 3, fill=color, outline="black")
        return drawn

    def _repr_png_(self):
        return self.draw()._repr_png_()


def _tag(i, row):
    return f"{i} {row.class_name} {row.score:.2f} {row.level}" if row.fate == KEPT else ""


def explain(detector, image, score_threshold):
    """See `Detector.explain`."""
    from .inference import fitting, shown_from

    least = check_number(score_threshold, "score_threshold", least=0, most=1, optional=True)
    least = detector.score_threshold if least is None else least
    picture = read_image(image)
    size = detector.image_size or fitting(detector, picture)
    canvas, fitted = letterbox(picture, size, detector.resize)
    outputs = detector(canvas[None].astype("float32"), training=False)
    boxes, scores = (ops.convert_to_numpy(value)[0] for value in decode(outputs, size))
    order, left_out = _candidates(scores, least, candidate_count(detector.max_detections))
    points, labels = np.divmod(order, scores.shape[1])
    values = scores.reshape(-1)[order]
    boxes = boxes[points]
    fates = _fates(boxes, labels, detector)
    own = fitted.to_original(boxes)
    centers = ops.convert_to_numpy(flatten(outputs, size)[2])[points]
    centers = fitted.to_original(np.tile(centers, 2))[:, :2]
    cells = [_cell(outputs, point) for point in points]
    rows = [
        Candidate(
            tuple(map(float, own[i])),
            float(values[i]),
            int(labels[i]),
            detector.class_names[labels[i]],
            *cells[i],
            tuple(map(float, centers[i])),
            *fates[i],
        )
        for i in range(len(order))
    ]
    return Explanation(picture, rows, left_out, shown_from(detector))


def _candidates(scores, least, most):
    """The indices of the best pairs of point and class, and how many more reach the least score."""
    flat = scores.reshape(-1)
    order = np.argsort(-flat, kind="stable")
    reaching = int((flat > least).sum())
    return order[: min(most, reaching)], max(0, reaching - most)


def _fates(boxes, labels, detector):
    """Returns `(fate, by, iou)` of every candidate, by the greedy suppression of `decode`, one by
    one."""
    fates, kept = [], []
    for i in range(len(boxes)):
        rivals = [j for j in kept if detector.class_agnostic or labels[j] == labels[i]]
        overlap = _iou(boxes[i], boxes[rivals]) if rivals else np.zeros(1)
        first = np.flatnonzero(overlap > detector.iou_threshold)
        if len(first):
            fates.append((SUPPRESSED, rivals[first[0]], float(overlap[first[0]])))
        else:
            fates.append((KEPT if len(kept) < detector.max_detections else CUT, None, None))
            kept.append(i)
    return fates


def _iou(box, boxes):
    corner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    inside = np.maximum(corner, 0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - inside
    return inside / np.maximum(areas, 1e-9)


def _cell(outputs, point):
    """Returns `(level, (row, column))` of a point of the joined levels."""
    for name in level_names(outputs):
        height, width = outputs[f"{name}_{LOGITS}"].shape[1:3]
        if point < height * width:
            return name, (int(point // width), int(point % width))
        point -= height * width
    raise ValueError(f"No level has a point {point} more than the last.")
