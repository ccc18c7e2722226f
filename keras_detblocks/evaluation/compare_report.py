"""One self-contained HTML page of a comparison, and its numbers as JSON."""

import json
import pathlib

from ..files import write_text
from . import figures, pictures
from .page import plain, svg, template
from .report import metrics


def write_comparison(comparison, folder, *, most_pictures=12):
    """Writes `index.html` and `metrics.json` of a `Comparison`; returns the path of the page."""
    folder = pathlib.Path(folder)
    page = folder / "index.html"
    content = _comparison_content(comparison, most_pictures)
    write_text(page, template("compare.html").render(content))
    numbers = {
        "answer": comparison.answer,
        "problems": comparison.problems,
        "models": {name: metrics(each) for name, each in comparison.evaluations.items()},
    }
    if comparison.measured:
        numbers |= {"differences": comparison.differences, "classes": comparison.per_class}
    write_text(folder / "metrics.json", json.dumps(plain(numbers), indent=1) + "\n")
    return page


def comparison_fragment(comparison):
    """The upper part of a comparison's page, as HTML for notebooks."""
    content = _comparison_content(comparison, 0)
    return template("compare_fragment.html").render(content)


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
        "figure": svg(figures.plot_differences(comparison)),
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
