"""The figures of a report, in Okabe and Ito's colors, each with its own line style or hatch, so
that they can be told apart in gray print and by color-blind people."""

import numpy as np

from ..analysis.figures import subplots
from .curves import THRESHOLDS
from .errors import KINDS

BLUE, ORANGE, GREEN, BLACK, GRAY = "#0072b2", "#d55e00", "#009e73", "#222222", "#8a8a8a"
_STYLES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (BLACK, ":"))
_SIZE = (4.6, 3.3)  # inches: readable at the width of a phone
MOST_CLASSES = 12  # most classes of a matrix or a bar chart that can still be read


def _axes(height=_SIZE[1], columns=1):
    figure, axes = subplots(1, columns, figsize=(_SIZE[0] * columns, height), layout="constrained")
    for axis in np.ravel(axes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def plot_learning(history):
    """Plots loss parts, AP, learning rate and time per step over the minutes of a run. `history` is
    that of `training.train`.
    """
    from ..training.curve import learning_figure

    return learning_figure(history)


def plot_precision_recall(evaluation):
    """Plots precision over recall, the mean of the classes, at IoU 0.5, 0.75 and 0.9."""
    figure, axis = _axes()
    for t, (color, style) in zip((0, 5, 8), _STYLES):
        curve = _mean_of_classes(evaluation.precision_over_recall[t])
        label = f"AP{50 + 5 * t} {curve.mean():.3f}"
        axis.plot(np.linspace(0, 1, 101), curve, style, color=color, label=label)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    _legend_above(axis)
    return figure


def _legend_above(axis):
    """Puts the legend above the axes, where no curve can cross it."""
    where = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    axis.legend(ncols=3, frameon=False, fontsize=9, columnspacing=1.2, handlelength=1.9, **where)


def _mean_of_classes(values):
    known = ~np.isnan(values[:, 0])
    return values[known].mean(0)


def plot_thresholds(evaluation):
    """Plots precision, recall and F1 of all classes together over the score threshold."""
    figure, axis = _axes()
    total = evaluation.score_curves.total()
    for name, (color, style) in zip(("precision", "recall", "f1"), _STYLES):
        label = "F1" if name == "f1" else name
        axis.plot(THRESHOLDS, getattr(total, name)[0], style, color=color, label=label)
    best = evaluation.best_threshold
    if best is not None:
        axis.axvline(best, color=BLACK, linewidth=0.8)
        side = "right" if best > 0.5 else "left"
        axis.annotate(
            f" best {best:.2f} ", (best, 0.02), ha=side, va="bottom", fontsize=9, color=BLACK
        )
    axis.set(xlabel="score threshold", xlim=(0, 1), ylim=(0, 1.02))
    _legend_above(axis)
    return figure


def plot_classes(evaluation, most=20):
    """Plots AP of the classes that cost most, with their 95 % intervals."""
    rows = evaluation.per_class[:most]
    figure, axis = _axes(height=0.9 + 0.28 * max(len(rows), 2))
    place = np.arange(len(rows))
    ap = np.array([row["AP"] for row in rows])
    spread = np.abs([[r["AP"] - r["AP_low"], r["AP_high"] - r["AP"]] for r in rows]).T
    axis.barh(place, ap, color="#9ecae1", edgecolor=BLUE, height=0.7)
    axis.errorbar(ap, place, xerr=np.nan_to_num(spread), fmt="none", ecolor=BLACK, elinewidth=1)
    axis.set_yticks(place, [_short(row["class"]) for row in rows])
    axis.set(xlabel="AP, with its 95 % interval", xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    return figure


def _short(name, most=18):
    name = str(name)
    return name if len(name) <= most else name[: most - 1] + "…"


def plot_errors(evaluation):
    """Plots what AP50 would gain if every error of a kind were fixed."""
    figure, axis = _axes(height=2.7)
    gains = [evaluation.errors.gain[kind] for kind in KINDS]
    counts = [evaluation.error_counts[kind] for kind in KINDS]
    place = np.arange(len(KINDS))
    axis.barh(place, gains, color="#fdd0a2", edgecolor=ORANGE, height=0.7)
    top = max(*gains, 0.01)
    for y, gain, count in zip(place, gains, counts):
        axis.annotate(f" +{gain:.3f}  ({count:,})", (gain, y), va="center", fontsize=9)
    axis.set_yticks(place, KINDS)
    axis.set(xlabel="AP50 gained by fixing (number shown)", xlim=(0, 1.45 * top))
    axis.invert_yaxis()
    return figure


def plot_confusion(evaluation, most=MOST_CLASSES):
    """Plots what objects were taken for, as shares of the true class, for the most confused
    classes."""
    matrix, names = confused_part(evaluation, most)
    side = 1.6 + 0.42 * len(names)
    figure, axis = subplots(
        1, 1, figsize=(max(_SIZE[0], side), max(3.0, side - 0.4)), layout="constrained"
    )
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    share[-1] = 0  # the background has no meaningful sum
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(*matrix.shape):
        if matrix[i, j]:
            color = "white" if share[i, j] > 0.5 else "black"
            text = f"{matrix[i, j]:,}"
            axis.text(j, i, text, ha="center", va="center", color=color, fontsize=8)
    rows, columns = [*names[:-1], "background"], [*names[:-1], "missed"]
    axis.set_xticks(range(len(columns)), map(_short, columns), rotation=45, ha="right")
    axis.set_yticks(range(len(rows)), map(_short, rows))
    axis.set(xlabel="detected as", ylabel="is")
    axis.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=1)
    axis.tick_params(which="minor", length=0)
    return figure


def confused_part(evaluation, most=MOST_CLASSES):
    """`(matrix, names)` of the classes with the most entries off the diagonal; the last one is the
    background. Classes that are left out are not in the matrix."""
    matrix = evaluation.confusion
    classes = len(matrix) - 1
    if classes <= most:
        return matrix, [*evaluation.class_names, "background"]
    between = matrix[:-1, :-1] - np.diag(np.diag(matrix[:-1, :-1]))
    wrong = matrix.sum(0)[:-1] + matrix.sum(1)[:-1] - 2 * np.diag(matrix)[:-1]
    order = np.lexsort((-wrong, -(between.sum(0) + between.sum(1))))
    chosen = np.sort(order[:most])
    names = [evaluation.class_names[k] for k in chosen]
    keep = np.append(chosen, classes)
    return matrix[np.ix_(keep, keep)], [*names, "background"]


def plot_sizes(evaluation):
    """Plots AP by the size of objects."""
    rows = evaluation.groups["size"]
    labels = [_range(row, " px") for row in rows]
    return _bars(rows, labels, "AP", "side of the object")


def plot_crowding(evaluation):
    """Plots AP by the number of objects in a picture, and recall by overlap with another object."""
    figure, (left, right) = _axes(columns=2)
    _draw_bars(left, *_count_bars(evaluation))
    _draw_bars(right, *_overlap_bars(evaluation))
    return figure


def plot_count(evaluation):
    """Plots AP by the number of objects in a picture."""
    return _bars(*_count_bars(evaluation))


def plot_overlap(evaluation):
    """Plots recall by overlap with another object."""
    return _bars(*_overlap_bars(evaluation))


def _count_bars(evaluation):
    rows = evaluation.groups["count"]
    return rows, [_range(row, "") for row in rows], "AP", "objects in the picture"


def _overlap_bars(evaluation):
    rows = evaluation.groups["overlap"]
    labels = [f"{row['low']:g} to {row['high']:g}" for row in rows]
    return rows, labels, "recall", "IoU with the closest other object"


def _range(row, unit):
    same = row["low"] == row["high"]
    return f"{row['low']}{unit}" if same else f"{row['low']}–{row['high']}{unit}"


def _bars(rows, labels, key, title):
    figure, axis = _axes()
    _draw_bars(axis, rows, labels, key, title)
    return figure


def _draw_bars(axis, rows, labels, key, title):
    values = [np.nan_to_num(row[key]) for row in rows]
    axis.bar(range(len(rows)), values, color="#9ecae1", edgecolor=BLUE, width=0.7)
    for x, (value, row) in enumerate(zip(values, rows)):
        text = f"{value:.2f}\n({row['objects']:,})"
        axis.annotate(text, (x, value), ha="center", va="bottom", fontsize=8)
    axis.set_xlim(-0.6, max(len(rows), 4) - 0.4)  # keeps a single bar slim
    axis.set_xticks(range(len(rows)), labels, fontsize=8)
    axis.set(xlabel=f"{title} (objects)", ylabel=key, ylim=(0, 1.18))
    axis.set_yticks(np.arange(0, 1.01, 0.2))


def plot_calibration(evaluation):
    """Plots the share of right detections over their score, and their number."""
    figure, axis = _axes()
    result = evaluation.calibration
    some = result.count > 0
    axis.plot([0, 1], [0, 1], ":", color=GRAY, label="as the score promises")
    error = np.sqrt(result.precision * (1 - result.precision) / np.maximum(result.count, 1))
    axis.errorbar(
        result.score[some],
        result.precision[some],
        yerr=1.96 * error[some],
        fmt="o-",
        color=BLUE,
        label="share that is right",
    )
    top = axis.secondary_xaxis("top")
    middle = (result.edges[1:] + result.edges[:-1]) / 2
    top.set_xticks(middle, map(_thousands, result.count), fontsize=7)
    top.tick_params(length=0)
    top.set_xlabel("detections", fontsize=8)
    top.spines["top"].set_visible(False)
    axis.set(xlabel="score", ylabel="precision", xlim=(0, 1), ylim=(-0.02, 1.02))
    axis.legend(loc="upper left", frameon=False, fontsize=8)
    return figure


def _thousands(count):
    return f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"


def plot_differences(comparison):
    """Plots AP of the best model minus that of each other, with 95 % intervals."""
    rows = comparison.differences
    figure, axis = _axes(height=1.1 + 0.4 * len(rows))
    place = np.arange(len(rows))
    value = np.array([row["AP"] for row in rows])
    low, high = ([row[key] for row in rows] for key in ("low", "high"))
    axis.errorbar(
        value, place, xerr=np.abs([value - low, high - value]), fmt="o", color=BLUE, capsize=4
    )
    axis.axvline(0, color=BLACK, linewidth=0.8)
    axis.set_yticks(place, [_short(row["name"], 32) for row in rows])
    axis.set(xlabel=f"AP of {_short(comparison.best, 24)} more than", ylim=(len(rows) - 0.5, -0.5))
    return figure
