"""Computes precision, recall and F1 over the score, the best threshold, precision over recall, and
calibration."""

from dataclasses import dataclass

import numpy as np

THRESHOLDS = np.arange(1, 100) / 100  # two digits, as people type them


@dataclass(frozen=True)
class ScoreCurves:
    """Right and wrong detections over `THRESHOLDS`, at IoU 0.5.

    Attributes:
        right, kept: `(C, 99)`: the right ones, and all that count, from a threshold on.
        wanted: `(C,)`: objects to be found.
    """

    right: np.ndarray
    kept: np.ndarray
    wanted: np.ndarray

    def total(self):
        """The same over all classes together, as one class."""
        right, kept = (each.sum(0, keepdims=True) for each in (self.right, self.kept))
        return ScoreCurves(right, kept, self.wanted.sum()[None])

    @property
    def precision(self):
        """Precision `(C, 99)`; nan if nothing is kept."""
        return _ratio(self.right, self.kept)

    @property
    def recall(self):
        """Recall `(C, 99)`; nan for classes without objects."""
        return _ratio(self.right, self.wanted[:, None])

    @property
    def f1(self):
        """The harmonic mean of precision and recall `(C, 99)`; nan for classes without objects."""
        f1 = _ratio(2 * self.right, self.kept + self.wanted[:, None])
        return np.where(self.wanted[:, None] > 0, f1, np.nan)

    def best(self):
        """The index into `THRESHOLDS` of the highest F1 of every class, the middle of the longest
        run of equal ones; -1 if nothing right was found."""
        f1 = np.nan_to_num(self.f1)
        return np.where(f1.max(1) > 0, [_middle_of_highest(row) for row in f1], -1)


def _middle_of_highest(row):
    top = np.flatnonzero(row >= row.max() - 1e-12)
    longest = max(np.split(top, np.flatnonzero(np.diff(top) > 1) + 1), key=len)
    return longest[(len(longest) - 1) // 2]


def _ratio(a, b):
    a, b = np.broadcast_arrays(np.asarray(a, "float64"), np.asarray(b, "float64"))
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)


def score_curves(judged, found, truth, num_classes):
    """The `ScoreCurves` of judged detections, at the lowest IoU."""
    right, kept = np.zeros((2, num_classes, len(THRESHOLDS)), int)
    for k in range(num_classes):
        of_class = np.flatnonzero((found.label == k) & judged.counted[0])
        above = np.searchsorted(-found.score[of_class], -THRESHOLDS, side="right")
        kept[k] = above
        right[k] = np.append(0, np.cumsum(judged.right[0, of_class]))[above]
    wanted = np.bincount(truth.label[judged.wanted], minlength=num_classes)
    return ScoreCurves(right, kept, wanted)


def precision_over_recall(judged, found, truth, num_classes):
    """Interpolated precision `(ious, C, 101)` at recalls of 0, 0.01, ... 1; nan without objects."""
    levels = np.linspace(0.0, 1.0, 101)
    result = np.full((len(judged.right), num_classes, len(levels)), np.nan)
    wanted = np.bincount(truth.label[judged.wanted], minlength=num_classes)
    for k in np.flatnonzero(wanted):
        of_class = np.flatnonzero(found.label == k)
        for t in range(len(judged.right)):
            right = judged.right[t, of_class][judged.counted[t, of_class]]
            hits = np.cumsum(right)[right]
            precision = hits / (np.flatnonzero(right) + 1)
            envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
            result[t, k] = envelope[np.searchsorted(hits / wanted[k], levels)]
    return result


@dataclass(frozen=True)
class Calibration:
    """Whether a detection with a score of 0.7 is right seven times out of ten, in ten bins of the
    score.

    Attributes:
        edges: `(11,)`.
        count: `(10,)` detections.
        score, precision: `(10,)` their means; nan in empty bins.
    """

    edges: np.ndarray
    count: np.ndarray
    score: np.ndarray
    precision: np.ndarray

    @property
    def error(self):
        """The mean distance of score and precision over detections (D-ECE of the score alone,
        https://arxiv.org/abs/2004.13546); nan without detections."""
        if not self.count.sum():
            return float("nan")
        return float(np.nansum(np.abs(self.score - self.precision) * self.count) / self.count.sum())


def calibration(judged, found, least=0.0):
    """The `Calibration` of the detections from a score of `least` on, at the lowest IoU."""
    counted = judged.counted[0] & (found.score >= least)
    right, score = judged.right[0, counted], found.score[counted]
    edges = np.arange(11) / 10  # as people read scores: 0.3 begins a bin
    bins = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, 9)
    count, of_score, of_right = (np.bincount(bins, w, 10) for w in (None, score, right))
    return Calibration(edges, count, _ratio(of_score, count), _ratio(of_right, count))
