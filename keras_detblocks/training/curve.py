"""Draws the learning curve of a run."""

import pathlib

from ..analysis.figures import subplots

# Key of a loss entry -> (label, color, line style), distinguishable even in gray.
_LOSSES = {
    "loss": ("loss", "#222222", "-"),
    "classification_loss": ("classification", "#0072b2", "--"),
    "box_loss": ("box", "#d55e00", "-."),
}
_AP = {"AP50": ("#0072b2", "s"), "AP75": ("#d55e00", "^"), "AP": ("#222222", "o")}


def learning_curve(history, path):
    """Writes a PNG of `learning_figure`; returns the path."""
    learning_figure(history).savefig(path, dpi=110)
    return pathlib.Path(path)


def learning_figure(history):
    """Loss parts, validation AP, learning rate and time per step over the minutes of training.

    Args:
        history: as `training.train` returns it: `{"losses": [{"step", "seconds", "loss", ...}],
            "ap": [{"seconds", "AP", "AP50"}]}`.

    Returns:
        A matplotlib figure.
    """
    figure, axes = subplots(2, 2, figsize=(9, 5.2), layout="constrained")
    losses, rate, ap, time = axes[0, 0], axes[1, 0], axes[0, 1], axes[1, 1]
    entries = history["losses"]
    for key in [key for entry in entries[:1] for key in entry if key.endswith("loss")]:
        label, color, style = _LOSSES.get(key, (key.removesuffix("_loss"), None, ":"))
        _line(losses, entries, key, style, color=color, label=label, linewidth=1)
    for key, (color, marker) in _AP.items():
        known = [entry for entry in history["ap"] if entry.get(key, -1) >= 0]
        _line(ap, known, key, "-", marker=marker, color=color, label=key)
    _line(rate, entries, "learning_rate", "-", color="#222222", linewidth=1)
    _line(time, _paces(entries), "ms", "-", color="#222222", linewidth=1)
    titles = ("training loss", "validation COCO AP", "learning rate", "milliseconds per step")
    for axis, title in zip(axes.ravel(), titles):
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=9)
    for axis in axes[1]:
        axis.set_xlabel("minutes of training")
        axis.set_ylim(bottom=0)
    ap.set_ylim(0, 1)
    return figure


def _paces(entries):
    """Milliseconds per step between one entry and the next."""
    return [
        {"seconds": b["seconds"], "ms": 1000 * (b["seconds"] - a["seconds"]) / steps}
        for a, b in zip(entries, entries[1:])
        if (steps := b["step"] - a["step"]) > 0
    ]


def _line(axis, entries, key, style, **kwargs):
    points = [(entry["seconds"] / 60, entry[key]) for entry in entries if key in entry]
    if points:
        if len(points) == 1:  # a single point needs a marker to be visible
            kwargs.setdefault("marker", "o")
        axis.plot(*zip(*points), style, **kwargs)
