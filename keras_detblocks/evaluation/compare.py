"""Compares several models on the same pictures: which is better, and whether that is more than
chance."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..checks import check_int, check_kind
from ..data.dataset import check_dataset
from ..detection.model import check_detector
from .advice import model_warnings
from .average import interval, interval_text
from .classes import align, counted
from .measure import RESAMPLES, described, measure


@dataclass(eq=False)
class Comparison:
    """The result of `compare`; in a notebook it displays itself, and `write_report` makes a page of
    it.

    Attributes:
        evaluations: name -> `Evaluation`, on the same pictures and classes, the highest AP first.
        problems: sentences on what could not be compared, or was left out.
    """

    evaluations: dict
    problems: list = field(default_factory=list)

    @property
    def measured(self):
        """Whether anything could be measured."""
        return all(each.measured for each in self.evaluations.values())

    @property
    def best(self):
        """The name of the model with the highest AP."""
        return next(iter(self.evaluations))

    @cached_property
    def differences(self):
        """One dict for each model but the best: `name`, `AP` (how much the best one has more), its
        95 % interval `low` and `high` by a paired bootstrap over pictures, and whether it is `sure`
        (0 is outside)."""
        others = list(self.evaluations)[1:]
        return [{"name": name, **self.difference(self.best, name)} for name in others]

    def difference(self, a, b, class_name=None):
        """`{"AP", "low", "high", "sure"}`: how much more AP `a` has than `b`, over all classes or
        in that called `class_name`."""
        one, other = self.evaluations[a], self.evaluations[b]
        low, high = interval(_samples(one, class_name) - _samples(other, class_name))
        ap = _ap(one, class_name) - _ap(other, class_name)
        return {"AP": float(ap), "low": low, "high": high, "sure": bool(low > 0 or high < 0)}

    @cached_property
    def per_class(self):
        """One dict per class with objects: `class`, `objects`, `AP` by model, and the difference of
        the best two as `difference` gives it; the largest first."""
        best, second = [*self.evaluations, self.best][:2]
        first = self.evaluations[best]
        rows = []
        for k in np.flatnonzero(first.score_curves.wanted):
            name = first.class_names[k]
            ap = {model: float(_ap(each, name)) for model, each in self.evaluations.items()}
            objects = int(first.score_curves.wanted[k])
            difference = self.difference(best, second, name)
            rows.append({"class": name, "objects": objects, "APs": ap, **difference})
        return sorted(rows, key=lambda row: -abs(row["AP"]))

    @property
    def answer(self):
        """One sentence on which model is better."""
        if not self.measured:
            return self.problems[0] if self.problems else "Nothing can be measured."
        pictures = counted(len(self.evaluations[self.best].dataset.records), "picture")
        best, ap = self.best, self.evaluations[self.best].numbers["AP"]
        if len(self.differences) == 1:
            (row,) = self.differences
            other = self.evaluations[row["name"]].numbers["AP"]
            aps = f"AP {ap:.3f} against {other:.3f} on {pictures} ({_spread(row)})"
            speed = self._speed(best, row["name"])
            if row["sure"]:
                return f"{best} is better than {row['name']}: {aps}{speed}."
            return f"No difference can be told between {best} and {row['name']}: {aps}{speed}."
        sure = [f"{r['name']} ({_spread(r)})" for r in self.differences if r["sure"]]
        unsure = [f"{r['name']} ({_spread(r)})" for r in self.differences if not r["sure"]]
        parts = [f"{best} has the highest AP, {ap:.3f} on {pictures}"]
        parts += [f"surely better than {_listed(sure)}"] if sure else []
        parts += [f"not surely better than {_listed(unsure)}"] if unsure else []
        return "; ".join(parts) + "."

    def _speed(self, a, b):
        times = [self.evaluations[name].about.get("milliseconds") for name in (a, b)]
        if None in times or max(times) < 1.1 * min(times):
            return ""
        faster = a if times[0] < times[1] else b
        return f"; {faster} is {max(times) / min(times):.1f} times as fast"

    def errors_by_picture(self, name):
        """int per picture: missed objects and false detections at the model's best threshold."""
        each = self.evaluations[name]
        shown = each.found.score >= each.shown_threshold
        images = len(each.dataset.records)
        counted = shown & each.judged.counted[0]
        right = counted & each.judged.right[0]
        wanted = np.bincount(each.truth.image[each.judged.wanted], minlength=images)
        kept, hit = (np.bincount(each.found.image[c], minlength=images) for c in (counted, right))
        return wanted + kept - 2 * hit

    def write_report(self, folder, **kwargs):
        """Writes a page and its numbers into a folder, see `compare_report.write_comparison`."""
        from .compare_report import write_comparison

        return write_comparison(self, folder, **kwargs)

    def _repr_html_(self):
        from .compare_report import comparison_fragment

        return comparison_fragment(self)


def _samples(evaluation, class_name):
    if class_name is None:
        return evaluation.samples["AP"]
    return evaluation.samples["class"][:, evaluation.class_names.index(class_name)]


def _ap(evaluation, class_name):
    if class_name is None:
        return evaluation.numbers["AP"]
    return evaluation.class_ap[evaluation.class_names.index(class_name)].mean()


def _spread(row):
    return f"{row['AP']:+.3f}, 95 %: {interval_text((row['low'], row['high']), sign='+')}"


def _listed(names):
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def compare(models, dataset, *, batch_size=16, image_size=None, resamples=RESAMPLES, about=None):
    """Runs the same pictures through several models and compares their AP.

    Args:
        models: name -> `Detector` or opened export, two or more.
        dataset: a `data.Dataset`. Only the classes that the data and all models have count.
        batch_size, image_size: as in `training.predict_dataset`.
        resamples: of the bootstrap over pictures, which is paired: every resample has the same
            pictures for all models.
        about: name -> dict of further facts, such as `milliseconds` and `bytes`.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: fewer than two models.
    """
    from ..training import predict_dataset

    resamples = check_int(resamples, "resamples")
    check_kind(models, "models", dict, "a dict of detectors by name")
    for model in models.values():
        check_detector(model, "models", opened=True)
    check_dataset(dataset)
    found, known = {}, {}
    for name, model in models.items():
        detections = predict_dataset(model, dataset, batch_size, image_size)
        found[name] = detections, model.class_names
        known[name] = described(model) | (about or {}).get(name, {})
    return compare_found(found, dataset, resamples=resamples, about=known)


def compare_found(found, dataset, *, resamples=RESAMPLES, about=None):
    """Compares detections that were made before, as `compare` does; `found` is name ->
    `(detections, class_names)`."""
    if len(found) < 2:
        raise ValueError(f"Expected two models or more to compare; received {len(found)}.")
    common = [
        name
        for name in dataset.class_names
        if all(name in class_names for _, class_names in found.values())
    ]
    nothing = [(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))] * len(dataset.records)
    shared, _, problems = align(dataset, nothing, common or [""])
    if not common:
        problems = ["Nothing can be compared: no class that the data and all models have."]
    problems = [p for p in problems if "found nothing" not in p]
    evaluations = {}
    for name, (detections, class_names) in found.items():
        known = {"model": name} | (about or {}).get(name, {})
        each = measure(shared, detections, class_names, resamples=resamples, about=known)
        problems += [f"{name}: {p}" for p in each.problems if p not in problems and common]
        problems += [f"{name}: {w}" for w in model_warnings(each)]
        evaluations[name] = each
    order = sorted(evaluations, key=lambda name: -evaluations[name].numbers.get("AP", -1.0))
    return Comparison({name: evaluations[name] for name in order}, problems)
