"""The measurements of a detector on a data set: numbers, curves, errors, figures."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..checks import check_int, check_number
from . import average, curves, errors, figures, groups, match


@dataclass(eq=False)
class Evaluation:
    """How well a detector does on a data set, and how certain that is.

    Made by `evaluate`. In a notebook it displays itself, `write_report` makes a page of it, and
    every `plot_*` method returns a matplotlib figure. Whatever takes time is computed on first use.

    Attributes:
        dataset: the `data.Dataset`, pictures in the order of their ids, labels in `class_names`.
        detections: for each picture a dict of `boxes`, `scores`, `labels`.
        class_names: the classes that model and data have in common.
        problems: sentences on what could not be measured, or was left out.
        numbers: the twelve COCO numbers by name, as in `training.CocoAP`; -1 where undefined.
        intervals: name -> (low, high), 95 % of a bootstrap over pictures.
        max_detections: how many detections of a picture count.
        samples: name -> the number in each resample of the bootstrap.
        class_ap: AP by class and IoU threshold, `(C, 10)`.
        about: `model`, `data`, `pictures`, `seconds`, ...: facts about the run for the reader.
    """

    dataset: object
    detections: list
    class_names: tuple
    problems: list = field(default_factory=list)
    numbers: dict = field(default_factory=dict)
    intervals: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)
    max_detections: int = 100
    samples: dict = field(default_factory=dict, repr=False)
    class_ap: np.ndarray = field(default=None, repr=False)

    @property
    def measured(self):
        """Whether anything could be measured."""
        return bool(self.numbers)

    @cached_property
    def truth(self):
        """All objects, as `match.Objects`."""
        return match.objects_of(self.dataset.records)

    @cached_property
    def found(self):
        """All detections, best first, as `match.Found`."""
        return match.found_in(self.detections, len(self.class_names), self.max_detections)

    @cached_property
    def pairs(self):
        """Detections and objects that overlap, as `match.Pairs`."""
        return match.overlaps(self.found, self.truth, len(self.dataset.records))

    @cached_property
    def judged(self):
        """Which detections are right at which IoU, as `average.Judged`."""
        return average.judge(self.pairs, self.found, self.truth)

    @cached_property
    def score_curves(self):
        """Right and wrong detections over the score, per class, as `curves.ScoreCurves`."""
        return curves.score_curves(self.judged, self.found, self.truth, len(self.class_names))

    @cached_property
    def best_threshold(self):
        """The score threshold of the highest F1 over all classes together; `None` if nothing right
        was found."""
        best = int(self.score_curves.total().best()[0])
        if best < 0:
            return None
        # Nothing changes below the threshold that is built into a file.
        least = math.ceil(100 * (self.about.get("score_threshold") or 0.0) - 1e-6) / 100
        return max(float(curves.THRESHOLDS[best]), min(least, float(curves.THRESHOLDS[-1])))

    def at(self, threshold):
        """`{"precision", "recall", "f1", "right", "wrong", "missed"}` of the detections whose score
        reaches the `threshold`, which is rounded to 0.01, 0.02, ... or 0.99; at IoU 0.5."""
        threshold = check_number(threshold, "threshold", least=0, most=1)
        total = self.score_curves.total()
        i = int(np.clip(round(100 * threshold) - 1, 0, len(curves.THRESHOLDS) - 1))
        right, kept, wanted = int(total.right[0, i]), int(total.kept[0, i]), int(total.wanted[0])
        return {
            "precision": float(total.precision[0, i]),
            "recall": float(total.recall[0, i]),
            "f1": float(total.f1[0, i]),
            "right": right,
            "wrong": kept - right,
            "missed": wanted - right,
        }

    @cached_property
    def errors(self):
        """Kinds of errors and what fixing each would gain, as `errors.Errors`."""
        return errors.errors_of(
            self.pairs, self.judged, self.found, self.truth, len(self.class_names)
        )

    @property
    def shown_threshold(self):
        """The best threshold, or the least one if there is none."""
        return self.best_threshold or float(curves.THRESHOLDS[0])

    @cached_property
    def error_counts(self):
        """Returns kind of error -> number of them at the best threshold."""
        return self.errors.counts(self.judged, self.found, self.shown_threshold)

    @cached_property
    def confusion(self):
        """The confusion matrix at the best threshold, int `(C + 1, C + 1)`: true classes and
        background, by detected classes and missed."""
        return errors.confusion_matrix(
            self.pairs,
            self.judged,
            self.found,
            self.truth,
            len(self.class_names),
            self.shown_threshold,
        )

    @cached_property
    def precision_over_recall(self):
        """Interpolated precision `(10, C, 101)` over recall; nan for classes without objects."""
        return curves.precision_over_recall(
            self.judged, self.found, self.truth, len(self.class_names)
        )

    @cached_property
    def calibration(self):
        """Score against precision, as `curves.Calibration`."""
        return curves.calibration(self.judged, self.found)

    @cached_property
    def groups(self):
        """`{"size", "count", "overlap"}`: lists of rows, see `groups`."""
        common = self.judged, self.found, self.truth
        classes, images = len(self.class_names), len(self.dataset.records)
        return {
            "size": groups.by_size(*common, classes, images),
            "count": groups.by_count(*common, classes, images),
            "overlap": groups.by_overlap(*common, images, self.shown_threshold),
        }

    @cached_property
    def per_class(self):
        """One dict per class that has objects, the class that costs most AP first: `class`,
        `objects`, `AP`, `AP_low`, `AP_high`, `AP50`, `precision` and `recall` at the best threshold
        over all classes, and the class's own `best_threshold` with `best_f1`."""
        best = self.score_curves.best()
        rows = [self._class_row(k, best[k]) for k in np.flatnonzero(self.score_curves.wanted)]
        return sorted(rows, key=lambda row: (row["AP"], -row["objects"]))

    def _class_row(self, k, own):
        score = self.score_curves
        i = int(round(100 * self.shown_threshold)) - 1
        low, high = average.interval(self.samples["class"][:, k])
        return {
            "class": self.class_names[k],
            "objects": int(score.wanted[k]),
            "AP": float(self.class_ap[k].mean()),
            "AP_low": low,
            "AP_high": high,
            "AP50": float(self.class_ap[k, 0]),
            "precision": float(score.precision[k, i]) if score.kept[k, i] else None,
            "recall": float(score.recall[k, i]),
            "best_threshold": float(curves.THRESHOLDS[own]) if own >= 0 else None,
            "best_f1": float(score.f1[k, own]) if own >= 0 else 0.0,
        }

    def plot_precision_recall(self):
        """Precision over recall at three IoUs, a matplotlib figure."""
        return figures.plot_precision_recall(self)

    def plot_thresholds(self):
        """Precision, recall and F1 over the score threshold, a matplotlib figure."""
        return figures.plot_thresholds(self)

    def plot_classes(self, most=20):
        """AP of the classes that cost most, with intervals, a matplotlib figure."""
        return figures.plot_classes(self, check_int(most, "most"))

    def plot_errors(self):
        """What fixing each kind of error would gain, a matplotlib figure."""
        return figures.plot_errors(self)

    def plot_confusion(self, most=figures.MOST_CLASSES):
        """What objects were taken for, a matplotlib figure of at most `most` classes."""
        return figures.plot_confusion(self, check_int(most, "most"))

    def plot_sizes(self):
        """AP by the size of objects, a matplotlib figure."""
        return figures.plot_sizes(self)

    def plot_crowding(self):
        """AP by objects in a picture and recall by overlap, a matplotlib figure."""
        return figures.plot_crowding(self)

    def plot_calibration(self):
        """Precision over the score, a matplotlib figure."""
        return figures.plot_calibration(self)

    def __str__(self):
        """Problems, the answer, the twelve numbers and those of every class."""
        from .advice import answer

        lines = list(self.problems)
        if not self.measured:
            return "\n".join(lines)
        interval = average.interval_text(self.intervals["AP"])
        lines += [answer(self), f"AP {self.numbers['AP']:.3f} (95 %: {interval})"]
        lines.append("  ".join(f"{name} {value:.3f}" for name, value in self.numbers.items()))
        width = max([10, *(len(row["class"]) for row in self.per_class)])
        for row in self.per_class:
            numbers = "  ".join(f"{key} {row[key]:.3f}" for key in ("AP", "AP50", "recall"))
            lines.append(f"{row['class']:<{width}}  {numbers}  {row['objects']} objects")
        return "\n".join(lines)

    def metrics(self):
        """All numbers as one dict for JSON."""
        from .report import metrics

        return metrics(self)

    def _repr_html_(self):
        from .report import fragment

        return fragment(self)
