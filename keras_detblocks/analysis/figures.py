"""Figures: matplotlib without its global state, and effective receptive fields side by side."""

import functools
import io
import math

import numpy as np

from ..checks import check_int

__all__ = ["plot_receptive_fields"]


def plot_receptive_fields(fields, path=None, columns=5):
    """Draws effective receptive fields side by side, with their sizes in pixels.

    Args:
        fields: dict of `ReceptiveField`, or of arrays `(H, W)` with values of 0 to 1, by title.
        path: of the image file to write, or `None`.
        columns: at most, per row.

    Returns:
        The matplotlib figure.
    """
    columns = min(check_int(columns, "columns"), len(fields))
    rows = math.ceil(len(fields) / columns)
    figure, axes = subplots(
        rows, columns, figsize=(2.4 * columns, 2.7 * rows), layout="constrained"
    )
    axes = np.ravel(axes)
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, field) in zip(axes, fields.items()):
        # The root shows the tails.
        axis.imshow(getattr(field, "map", field) ** 0.5, cmap="magma", vmin=0, vmax=1)
        axis.set_title(
            f"{title}, {field.size:.0f} px" if hasattr(field, "map") else title, fontsize=9
        )
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def subplots(rows, columns, **kwargs):
    """Figure and axes without pyplot's global state or a display; notebooks show the figure."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install matplotlib.") from error
    figure = Figure(**kwargs)
    FigureCanvasAgg(figure)
    figure._repr_png_ = functools.partial(_png, figure)  # as pyplot does where it is imported
    return figure, figure.subplots(rows, columns)


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
