"""One self-contained HTML page of an evaluation, and its numbers as JSON."""

import base64
import io
import json
import math
import pathlib

import numpy as np

from ..files import write_text
from . import advice, figures, pictures
from .curves import THRESHOLDS

_TEMPLATES = pathlib.Path(__file__).with_name("templates")


def write_report(evaluation, folder, *, history=None, most_pictures=24, notes=()):
    """Writes `index.html` and `metrics.json`.

    The page needs no network and no other file. Where nothing could be measured it says so.

    Args:
        evaluation: an `Evaluation`.
        folder: made if it does not exist.
        history: of the run that made the model, as `training.train` returns it, to show how it
            learned.
        most_pictures: that are shown, ground truth beside detections; 0 for none.
        notes: further sentences for the top of the page.

    Returns:
        The path of the page.
    """
    folder = pathlib.Path(folder)
    page = folder / "index.html"
    content = _summary(evaluation, notes) | _figures(evaluation, history)
    content["pictures"] = _pictures(evaluation, most_pictures) if evaluation.measured else {}
    write_text(page, _template("report.html").render(content))
    write_text(folder / "metrics.json", json.dumps(metrics(evaluation), indent=1) + "\n")
    return page


def fragment(evaluation):
    """The page's upper part as HTML for notebooks."""
    return _template("fragment.html").render(_summary(evaluation))


def metrics(evaluation):
    """All numbers of an evaluation as one dict for JSON; what is undefined is `None`."""
    result = {
        "about": evaluation.about,
        "problems": evaluation.problems,
        "measured": evaluation.measured,
    }
    if not evaluation.measured:
        return _plain(result)
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
    return _plain(result)


def _plain(value):
    """For JSON, which knows neither NumPy nor nan."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _summary(evaluation, notes=()):
    """What the upper part of the page is filled with."""
    content = {
        "title": pathlib.Path(str(evaluation.about.get("model", "Detector"))).name,
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
    """What the rest of the page is filled with, except the pictures."""
    content = {"learning": _svg(figures.plot_learning(history)) if history else None}
    if not evaluation.measured:
        return content
    return content | {
        "steps": advice.next_steps(evaluation),
        "kinds": advice.KINDS,
        "figures": {name: _svg(plot(evaluation)) for name, plot in _FIGURES.items()},
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
    "crowding": figures.plot_crowding,
    "calibration": figures.plot_calibration,
}
_REASONS = {
    "missed": "Most objects missed",
    "false": "Most and surest false detections",
    "doubtful": "Most detections near the threshold",
}


def _pictures(evaluation, most):
    """Reason -> list of dicts for the page; pictures that cannot be read are left out."""
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
    """`(count, is, taken for)`, the most frequent first."""
    matrix = evaluation.confusion[:-1, :-1]
    pairs = [
        (int(matrix[i, j]), evaluation.class_names[i], evaluation.class_names[j])
        for i, j in zip(*np.nonzero(matrix))
        if i != j
    ]
    return sorted(pairs, key=lambda pair: -pair[0])[:most]


def _svg(figure):
    """A figure as the address of an `<img>` that holds it."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "keras_detblocks"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _template(name):
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("Reports need jinja2: pip install 'keras_detblocks[train]'.") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = lambda v: "–" if v is None else f"{100 * v:.0f} %"
    return environment.get_template(name)


def _number(value, digits=3):
    """Three digits behind the point; a dash for what is undefined."""
    if value is None or value < 0 or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def write_comparison(comparison, folder, *, most_pictures=12):
    """Writes `index.html` and `metrics.json` of a `Comparison`; returns the path of the page."""
    folder = pathlib.Path(folder)
    page = folder / "index.html"
    content = _comparison_content(comparison, most_pictures)
    write_text(page, _template("compare.html").render(content))
    numbers = {
        "answer": comparison.answer,
        "problems": comparison.problems,
        "models": {name: metrics(each) for name, each in comparison.evaluations.items()},
    }
    if comparison.measured:
        numbers |= {"differences": comparison.differences, "classes": comparison.per_class}
    write_text(folder / "metrics.json", json.dumps(_plain(numbers), indent=1) + "\n")
    return page


def comparison_fragment(comparison):
    """The upper part of a comparison's page as HTML for notebooks."""
    content = _comparison_content(comparison, 0)
    return _template("compare_fragment.html").render(content)


def _comparison_content(comparison, most_pictures):
    first = comparison.evaluations[comparison.best]
    content = {
        "answer": comparison.answer,
        "problems": [p for p in comparison.problems if p != comparison.answer],
        "measured": comparison.measured,
        "about": first.about,
        "models": {
            name: {"numbers": e.numbers, "intervals": e.intervals, "about": e.about}
            | ({"best": e.best_threshold, "at": e.at(e.shown_threshold)} if e.measured else {})
            for name, e in comparison.evaluations.items()
        },
    }
    if not comparison.measured:
        return content
    return content | {
        "differences": {row["name"]: row for row in comparison.differences},
        "classes": comparison.per_class,
        "figure": _svg(figures.plot_differences(comparison)),
        "pictures": _differing_pictures(comparison, most_pictures),
    }


def _differing_pictures(comparison, most):
    names = list(comparison.evaluations)[: pictures.MOST_BESIDE]
    rows = []
    for image in pictures.differing_pictures(comparison, most):
        drawn = [pictures.draw_pair(comparison.evaluations[name], image) for name in names]
        if None in drawn:
            continue
        wrong = {name: int(comparison.errors_by_picture(name)[image]) for name in names}
        record = comparison.evaluations[names[0]].dataset.records[image]
        rows.append(
            {
                "name": pathlib.Path(record.path).name,
                "truth": pictures.data_uri(drawn[0][0]),
                "found": {n: pictures.data_uri(pair[1]) for n, pair in zip(names, drawn)},
                "wrong": wrong,
            }
        )
    return rows
