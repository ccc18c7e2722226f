"""Writes an evaluation as one self-contained HTML page, and its numbers as JSON."""

import json
import pathlib

import numpy as np

from ..checks import check_int, check_kind, check_path
from ..files import write_text
from . import advice, figures, pictures
from .curves import THRESHOLDS
from .page import plain, svg, template
from .result import Evaluation


def write_report(evaluation, folder, *, history=None, most_pictures=24, notes=()):
    """Writes `index.html` and `metrics.json`.

    The page needs no network and no other file. If nothing could be measured, it says so.

    Args:
        evaluation: an `Evaluation`.
        folder: made if it does not exist.
        history: that of the run that made the model, as `training.train` returns it, to show how it
            learned.
        most_pictures: how many are shown, ground truth beside detections; 0 for none.
        notes: further sentences for the top of the page.

    Returns:
        The path of the page.
    """
    most_pictures = check_int(most_pictures, "most_pictures", least=0)
    check_kind(evaluation, "evaluation", Evaluation, "what `evaluation.evaluate` returned")
    folder = check_path(folder, "folder")
    page = folder / "index.html"
    content = _summary(evaluation, notes) | _figures(evaluation, history)
    content["pictures"] = _pictures(evaluation, most_pictures) if evaluation.measured else {}
    write_text(page, template("report.html").render(content))
    write_text(folder / "metrics.json", json.dumps(metrics(evaluation), indent=1) + "\n")
    return page


def fragment(evaluation):
    """The page's upper part, as HTML for notebooks."""
    return template("fragment.html").render(_summary(evaluation))


def metrics(evaluation):
    """All numbers of an evaluation as one dict for JSON; undefined ones are `None`."""
    result = {
        "about": evaluation.about,
        "problems": evaluation.problems,
        "measured": evaluation.measured,
    }
    if not evaluation.measured:
        return plain(result)
    best = evaluation.best_threshold
    total = evaluation.score_curves.total()
    result |= {
        "numbers": {k: None if v < 0 else v for k, v in evaluation.numbers.items()},
        "intervals": evaluation.intervals,
        "best_threshold": best,
        "at_best_threshold": None if best is None else evaluation.at(best),
        "classes": evaluation.per_class,
        "errors": {
            kind: {"AP50_gained": gain, "count": evaluation.error_counts[kind]}
            for kind, gain in evaluation.errors.gain.items()
        },
        "groups": evaluation.groups,
        "calibration_error": evaluation.calibration.error,
        "confusion": {
            "classes": evaluation.class_names,
            "rows": "true class, then background",
            "columns": "detected class, then missed",
            "counts": evaluation.confusion,
        },
        "curves": {
            "threshold": THRESHOLDS,
            "precision": total.precision[0],
            "recall": total.recall[0],
            "f1": total.f1[0],
        },
    }
    return plain(result)


def _summary(evaluation, notes=()):
    """The contents of the upper part of the page."""
    content = {
        "title": "/".join(pathlib.Path(evaluation.about.get("model", "Detector")).parts[-2:]),
        "about": evaluation.about,
        "problems": [*evaluation.problems, *notes],
        "measured": evaluation.measured,
    }
    if not evaluation.measured:
        return content
    best = evaluation.best_threshold
    return content | {
        "answer": advice.answer(evaluation),
        "warnings": list(advice.warnings(evaluation)),
        "numbers": evaluation.numbers,
        "intervals": evaluation.intervals,
        "classes": evaluation.per_class,
        "best": best,
        "at": None if best is None else evaluation.at(best),
    }


def _figures(evaluation, history):
    """The contents of the rest of the page, except the pictures."""
    content = {"learning": svg(figures.plot_learning(history)) if history else None}
    if not evaluation.measured:
        return content
    return content | {
        "steps": advice.next_steps(evaluation),
        "kinds": advice.KINDS,
        "figures": {name: svg(plot(evaluation)) for name, plot in _FIGURES.items()},
        "confused": _confused_pairs(evaluation),
        "all_classes_in_matrix": len(evaluation.class_names) <= figures.MOST_CLASSES,
        "reasons": _REASONS,
    }


_FIGURES = {
    "errors": figures.plot_errors,
    "thresholds": figures.plot_thresholds,
    "precision_recall": figures.plot_precision_recall,
    "confusion": figures.plot_confusion,
    "sizes": figures.plot_sizes,
    "count": figures.plot_count,
    "overlap": figures.plot_overlap,
    "calibration": figures.plot_calibration,
}
_REASONS = {
    "missed": "Most objects missed",
    "false": "Most and surest false detections",
    "doubtful": "Most detections near the threshold",
}


def _pictures(evaluation, most):
    """Returns reason -> list of dicts for the page; pictures that cannot be read are left out."""
    result = {}
    for shown in pictures.worst_pictures(evaluation, most) if most else ():
        pair = pictures.draw_pair(evaluation, shown.image)
        if pair is not None:
            row = {
                "truth": pictures.data_uri(pair[0]),
                "found": pictures.data_uri(pair[1]),
                "title": shown.title,
                "name": pathlib.Path(evaluation.dataset.records[shown.image].path).name,
            }
            result.setdefault(shown.reason, []).append(row)
    return result


def _confused_pairs(evaluation, most=6):
    """Rows `(count, is, taken for)`, the most frequent first."""
    matrix = evaluation.confusion[:-1, :-1]
    pairs = [
        (int(matrix[i, j]), evaluation.class_names[i], evaluation.class_names[j])
        for i, j in zip(*np.nonzero(matrix))
        if i != j
    ]
    return sorted(pairs, key=lambda pair: -pair[0])[:most]
