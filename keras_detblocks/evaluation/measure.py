"""Measures a detector on a data set: everything that a report shows, in one object."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ..training.coco_ap import checked, picture_order
from . import average, curves, errors, groups, match
from .classes import align

RESAMPLES = 500


@dataclass
class Evaluation:
    """What a detector does on a data set, and how sure that is.

    Made by `evaluate`. In a notebook it shows itself; `report.write_report` makes a page of it, and
    every `plot_*` method returns a matplotlib figure.

    Attributes:
        dataset: the `data.Dataset`, pictures in the order of their ids, labels in `class_names`.
        detections: for each picture a dict of `boxes`, `scores`, `labels`.
        class_names: of the classes that model and data have in common.
        problems: sentences on what could not be measured, or was left out.
        numbers: the twelve COCO numbers by name, as in `training.CocoAP`; -1 where undefined.
        intervals: name -> (low, high), 95 % of a bootstrap over pictures.
        about: `model`, `data`, `pictures`, `seconds`, ...: what a reader wants to know of the run.
    """

    dataset: object
    detections: list
    class_names: tuple
    problems: list = field(default_factory=list)
    numbers: dict = field(default_factory=dict)
    intervals: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)
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
        most = self.about.get("max_detections", 100)
        return match.found_in(self.detections, len(self.class_names), most)

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
        return float(curves.THRESHOLDS[best]) if best >= 0 else None

    def at(self, threshold):
        """`{"precision", "recall", "f1", "right", "wrong", "missed"}` of what is shown from a score
        of 0.01, 0.02, ... 0.99 on; at IoU 0.5."""
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
        """Kinds of errors and what mending each would bring, as `errors.Errors`."""
        return errors.errors_of(
            self.pairs, self.judged, self.found, self.truth, len(self.class_names)
        )

    @property
    def shown_threshold(self):
        """The best threshold, or the least where there is none."""
        return self.best_threshold or float(curves.THRESHOLDS[0])

    @cached_property
    def error_counts(self):
        """Kind of error -> how many there are at the best threshold."""
        return self.errors.counts(self.judged, self.found, self.shown_threshold)

    @cached_property
    def confusion(self):
        """int `(C + 1, C + 1)` at the best threshold: true classes and background, by detected
        classes and missed."""
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
        """One dict per class that has objects, what costs most AP first: `class`, `objects`, `AP`,
        `AP_low`, `AP_high`, `AP50`, `precision` and `recall` at the best threshold over all classes,
        and the class's own `best_threshold` with `best_f1`."""
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


def evaluate(
    detector,
    dataset,
    *,
    detections=None,
    batch_size=16,
    image_size=None,
    resamples=RESAMPLES,
    about=None,
):
    """Measures a detector, or an opened export of one, on a data set.

    Args:
        detector: a `Detector`, or what `export.open_exported` returns.
        dataset: a `data.Dataset`. Classes match by name; those of one side alone are left out, which
            `problems` tells.
        detections: what `training.predict_dataset(detector, dataset)` returned, to save the time.
        batch_size, image_size: as in `training.predict_dataset`.
        resamples: of the bootstrap over pictures.
        about: dict of more to tell in a report, such as `milliseconds` and `bytes`.

    Returns:
        An `Evaluation`. Where nothing can be measured (no objects, no classes in common) it has
        `measured` False, and `problems` say why.

    Raises:
        ValueError: as `training.predict_dataset`, or detections that do not fit the data set.
    """
    if detections is None:
        from ..training import predict_dataset

        detections = predict_dataset(detector, dataset, batch_size, image_size)
    about = _about(detector) | {"data": str(dataset.source)} | (about or {})
    return measure(dataset, detections, detector.class_names, resamples=resamples, about=about)


def measure(dataset, detections, class_names=None, *, resamples=RESAMPLES, about=None):
    """As `evaluate`, of detections that are there already.

    Args:
        detections: for each of the data set's records, in order, a dict of `boxes` (n, 4) xyxy in
            the picture's own pixels, `scores` and `labels`, which index `class_names`.
        class_names: by default the data set's.
    """
    class_names = tuple(class_names or dataset.class_names)
    if len(detections) != len(dataset.records):
        raise ValueError(
            f"Expected detections for each of the {len(dataset.records)} pictures; received "
            f"{len(detections)}. Pass a dict of empty arrays for a picture without detections."
        )
    clean = [checked(i, d, len(class_names)) for i, d in enumerate(detections)]
    order = picture_order(dataset.records)
    dataset = replace(dataset, records=[dataset.records[i] for i in order])
    dataset, clean, problems = align(dataset, [clean[i] for i in order], class_names)
    about = {"pictures": len(dataset.records), "problems": problems, **(about or {})}
    result = Evaluation(dataset, clean, dataset.class_names, problems, about=about)
    if result.class_names and (~result.truth.crowd).any():
        _count(result, resamples)
    return result


def _about(detector):
    keys = ("image_size", "score_threshold", "iou_threshold", "max_detections")
    return {key: getattr(detector, key) for key in keys if hasattr(detector, key)}


def _count(result, resamples):
    """Fills in what takes a pass over all resamples."""
    common = result.pairs, result.found, result.truth, len(result.class_names)
    images = len(result.dataset.records)
    numbers, class_ap = average.coco_numbers(*common, np.ones((1, images)))
    result.class_ap = class_ap[0]
    result.numbers = {k: float(np.nan_to_num(v[0], nan=-1.0)) for k, v in numbers.items()}
    drawn, of_class = average.coco_numbers(*common, average.resamples(images, resamples))
    result.samples = drawn | {"class": of_class.mean(2)}
    result.intervals = {k: average.interval(v) for k, v in drawn.items()}
