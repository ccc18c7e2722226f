"""Chooses and draws the pictures that a detector does worst on, ground truth beside detections."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..images import ImageError, draw_boxes, read_image
from .figures import BLACK, BLUE, ORANGE

REASONS = ("missed", "false", "doubtful")
DOUBT = 0.1  # a detection is doubtful if its score is this close to the threshold
_SIDE = 384  # pixels of the longer side of a picture in a page
_QUALITY = 80


@dataclass(frozen=True)
class Shown:
    """A picture worth a look.

    Attributes:
        image: its index in the data set.
        reason: one of `REASONS`.
        title: what is wrong with it.
    """

    image: int
    reason: str
    title: str


def worst_pictures(evaluation, most=24):
    """The pictures with the most missed objects, the surest false detections and the most doubtful
    ones.

    Returns:
        A list of `Shown`, at most a third for each reason, each picture once.
    """
    threshold = evaluation.shown_threshold
    found, judged, truth = evaluation.found, evaluation.judged, evaluation.truth
    images = len(evaluation.dataset.records)
    shown = found.score >= threshold
    wrong = shown & judged.counted[0] & ~judged.right[0]
    doubtful = judged.counted[0] & (np.abs(found.score - threshold) <= DOUBT)
    missed = np.bincount(truth.image[_missed(judged, truth, shown)], minlength=images)
    false = np.bincount(found.image[wrong], minlength=images)
    unsure = np.bincount(found.image[doubtful], minlength=images)
    surest = np.zeros(images)
    np.maximum.at(surest, found.image[wrong], found.score[wrong])
    rank = {"missed": missed, "false": false + surest, "doubtful": unsure}
    title = {
        "missed": lambda i: f"{missed[i]} missed",
        "false": lambda i: f"{false[i]} false, up to a score of {surest[i]:.2f}",
        "doubtful": lambda i: f"{unsure[i]} within {DOUBT:g} of the threshold",
    }
    taken, result = set(), []
    for reason in REASONS:
        order = [i for i in np.argsort(-rank[reason], kind="stable") if rank[reason][i] > 0]
        chosen = [int(i) for i in order if i not in taken][: most // len(REASONS)]
        taken.update(chosen)
        result += [Shown(i, reason, title[reason](i)) for i in chosen]
    return result


def _missed(judged, truth, shown):
    hit = np.zeros(len(truth), bool)
    matched = judged.matched[0, shown]
    hit[matched[matched >= 0]] = True
    return judged.wanted & ~hit


def draw_pair(evaluation, image, side=_SIDE):
    """`(truth, detections)` of a picture as PIL images; `None` if it cannot be read.

    Right ones have solid blue boxes, missed objects and false detections dashed ones in vermilion,
    crowds black ones.
    """
    record = evaluation.dataset.records[image]
    try:
        picture = Image.fromarray(read_image(record.path, evaluation.dataset.levels))
    except ImageError:
        return None
    scale = side / max(picture.size)
    small = picture.resize([max(1, round(s * scale)) for s in picture.size])
    common = {"class_names": evaluation.class_names, "width": 2, "casing": 1}
    found, judged = evaluation.found, evaluation.judged
    here = np.flatnonzero((found.image == image) & (found.score >= evaluation.shown_threshold))
    of_picture = np.flatnonzero(evaluation.truth.image == image)
    missed = _missed(judged, evaluation.truth, found.score >= evaluation.shown_threshold)
    wrong = ~judged.right[0, here] & judged.counted[0, here]
    crowd = record.crowd
    left = draw_boxes(
        small,
        record.boxes * scale,
        record.labels,
        colors=_colors(missed[of_picture], crowd),
        dashed=missed[of_picture] | crowd,
        **common,
    )
    right = draw_boxes(
        small,
        found.box[here] * scale,
        found.label[here],
        found.score[here],
        colors=_colors(wrong, ~judged.counted[0, here]),
        dashed=wrong,
        **common,
    )
    return left, right


def _colors(bad, ignored):
    names = np.where(ignored, BLACK, np.where(bad, ORANGE, BLUE))
    return [_LIGHT[name] for name in names]


# Names are written on these, in black.
_LIGHT = {BLUE: "#56b4e9", ORANGE: "#e8743b", BLACK: "#bbbbbb"}


def data_uri(image):
    """A picture as the address of an `<img>` that holds it."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


MOST_BESIDE = 3  # models whose detections are shown beside each other


def differing_pictures(comparison, most=12):
    """The indices of the pictures in which the numbers of errors of the best two models differ
    most; in half of them the best model does better."""
    best, second = list(comparison.evaluations)[:2]
    gain = comparison.errors_by_picture(second) - comparison.errors_by_picture(best)
    order = np.argsort(-gain, kind="stable")
    better = [int(i) for i in order[: most // 2] if gain[i] > 0]
    worse = [int(i) for i in order[::-1][: most - len(better)] if gain[i] < 0]
    return [*better, *worse]
