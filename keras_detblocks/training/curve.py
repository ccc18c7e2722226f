"""The learning curve of a run."""

import pathlib

from ..analysis.figures import subplots


def learning_curve(history, path):
    """Writes a PNG with the losses and the validation AP of a training run over its minutes;
    returns the path.

    `history` is that of `training.train`: `{"losses": [{"seconds", "loss", ...}], "ap":
    [{"seconds", "AP", "AP50"}]}`.
    """
    figure, (left, right) = subplots(1, 2, figsize=(9, 3.2))
    for key, label in (
        ("loss", "loss"),
        ("classification_loss", "classification"),
        ("box_loss", "box"),
    ):
        points = [(e["seconds"] / 60, e[key]) for e in history["losses"] if key in e]
        if points:
            left.plot(*zip(*points), label=label, linewidth=1)
    for key in ("AP", "AP50", "AP75"):
        points = [(e["seconds"] / 60, e[key]) for e in history["ap"] if e.get(key, -1) >= 0]
        if points:
            right.plot(*zip(*points), marker="o", label=key)
    for axes, title in ((left, "training loss"), (right, "validation COCO AP")):
        axes.set(xlabel="minutes of training", title=title)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    right.set_ylim(0, 1)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    return pathlib.Path(path)
