"""Analyzes errors: their kinds, the AP that fixing each would gain, and the confusion matrix.

The kinds are those of TIDE (https://arxiv.org/abs/2008.08115) at an IoU of 0.5. A wrong detection
belongs to the first kind that fits:

    double      on an object of its class that a better detection found
    class       on an object (IoU of 0.5 and more), of another class
    place       beside an object of its class (IoU of 0.1 to 0.5)
    both        beside an object of another class
    background  anywhere else
    missed      an object that no detection found and no `class` or `place` error stands for
"""

from dataclasses import dataclass, replace

import numpy as np

from .average import Judged, class_average_precision
from .match import IOUS, assign

KINDS = ("class", "place", "both", "double", "background", "missed")
_AIMED = ("class", "place")  # once fixed, they find their object


@dataclass(frozen=True)
class Errors:
    """Kinds of errors at IoU 0.5.

    Attributes:
        kind: int per detection: index into `KINDS`, -1 if it is right or does not count.
        aim: int per detection: the object that a `class` or `place` error stands for, else -1.
        gain: kind -> what AP50 would gain if its errors alone were all fixed.
    """

    kind: np.ndarray
    aim: np.ndarray
    gain: dict

    def counts(self, judged, found, least):
        """Returns kind -> number of errors from a score of `least` on."""
        shown = found.score >= least
        counts = {k: int((shown & (self.kind == i)).sum()) for i, k in enumerate(KINDS)}
        met = np.concatenate([judged.matched[0, shown], self.aim[shown]])
        open_ = judged.wanted.copy()
        open_[met[met >= 0]] = False
        return counts | {"missed": int(open_.sum())}


def errors_of(pairs, judged, found, truth, num_classes):
    """The `Errors` of judged detections, whose first IoU is 0.5."""
    real = pairs.where(~truth.crowd[pairs.truth])
    same = found.label[real.found] == truth.label[real.truth]
    own_iou, own = _best(real.where(same), len(found))
    other_iou, other = _best(real.where(~same), len(found))
    tests = [own_iou >= IOUS[0], other_iou >= IOUS[0], own >= 0, other >= 0]
    kind = np.select(tests, [KINDS.index(k) for k in ("double", "class", "place", "both")], 4)
    kind[judged.right[0] | ~judged.counted[0]] = -1
    aim = np.select([kind == 0, kind == 1], [other, own], -1)
    present = np.bincount(truth.label[judged.wanted], minlength=num_classes) > 0
    before = _ap50(judged.right[0], judged.counted[0], judged.wanted, found, truth, present)
    gain = {}
    for i, name in enumerate(KINDS):
        parts = _mended(name, kind == i, aim, judged, found, truth)
        gain[name] = max(0.0, _ap50(*parts, truth, present) - before)
    return Errors(kind, aim, gain)


def _best(pairs, num_found):
    """`(iou, object)` of the largest overlap of every detection; 0 and -1 without one."""
    order = np.lexsort((pairs.iou, pairs.found))
    iou, truth = np.zeros(num_found), np.full(num_found, -1)
    iou[pairs.found[order]] = pairs.iou[order]  # the last one stays
    truth[pairs.found[order]] = pairs.truth[order]
    return iou, truth


def _ap50(right, counted, wanted, found, truth, present):
    """The mean AP50 of the classes that are present; 1 for those with nothing left to find."""
    weights = np.ones((1, int(max(truth.image.max(initial=0), found.image.max(initial=0))) + 1))
    judged = Judged(right[None], counted[None], wanted, None)
    ap = class_average_precision(judged, found, truth, len(present), weights)[0, present]
    return float(np.nan_to_num(ap, nan=1.0).mean())


def _mended(name, chosen, aim, judged, found, truth):
    """`(right, counted, wanted, found)` with one kind of error fixed."""
    right, counted, wanted = judged.right[0].copy(), judged.counted[0].copy(), judged.wanted.copy()
    counted[chosen] = False
    if name == "missed":
        met = np.concatenate([judged.matched[0], aim])
        wanted[np.setdiff1d(np.flatnonzero(wanted), met)] = False
    elif name in _AIMED:
        index = np.flatnonzero(chosen)
        goals, first = np.unique(aim[index], return_index=True)  # the highest score of each object
        free = wanted[goals] & ~np.isin(goals, judged.matched[0])
        index, goals = index[first[free]], goals[free]
        right[index] = counted[index] = True
        label = found.label.copy()
        label[index] = truth.label[goals]
        found = replace(found, label=label)
    return right, counted, wanted, found


def confusion_matrix(pairs, judged, found, truth, num_classes, least):
    """Counts what objects were taken for, at IoU 0.5 and a least score.

    Returns:
        int `(C + 1, C + 1)`: rows are true classes, then the background; columns detected classes,
        then "missed".
    """
    shown = judged.counted[0] & (found.score >= least)
    right = shown & judged.right[0]
    matrix = np.zeros((num_classes + 1,) * 2, int)
    left = judged.wanted.copy()
    left[judged.matched[0, right]] = False
    rest = shown & ~right
    pairs = pairs.where(rest[pairs.found] & left[pairs.truth])
    # One class for all, and a separate rank for every detection: the best score chooses first.
    anyone = replace(found, label=0 * found.label, rank=np.arange(len(found)))
    matched = assign(pairs, anyone, replace(truth, label=0 * truth.label), ~left, IOUS[:1])[0]
    confused = np.flatnonzero(matched >= 0)
    np.add.at(matrix, (found.label[right], found.label[right]), 1)
    np.add.at(matrix, (truth.label[matched[confused]], found.label[confused]), 1)
    left[matched[confused]] = False
    np.add.at(matrix, (truth.label[left], np.full(left.sum(), num_classes)), 1)
    rest[confused] = False
    np.add.at(matrix, (np.full(rest.sum(), num_classes), found.label[rest]), 1)
    return matrix
