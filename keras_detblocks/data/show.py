"""Draws contact sheets of a data set as the network sees it, and plots its sizes and counts."""

import pathlib
from collections import Counter

import numpy as np

from ..images.draw import detection_grid, draw_boxes
from .pipeline import pipeline

PER_SHEET = 24
_AT_ONCE = 4  # pictures augmented together: a whole batch is made of mosaics, or none is


def write_sheets(dataset, folder, image_size, augment=None, count=48, seed=0):
    """Writes PNG sheets of letterboxed, augmented pictures with their boxes.

    Args:
        dataset: a `Dataset`.
        folder: of the files `sheet-1.png`, ...
        image_size: (height, width) of the network's input.
        augment: as in `data.pipeline`.
        count: pictures to show, drawn at random by `seed`.

    Returns:
        Paths of the sheets.
    """
    shown = min(count, len(dataset))
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:shown]
    part = dataset.take(0)
    part.records = [dataset.records[i] for i in sorted(chosen)]
    batch = min(_AT_ONCE, shown)
    batches = pipeline(part, image_size, batch, augment is not None, augment, seed)
    pictures, paths = [], []
    for images, truth in batches.take(-(-shown // batch)):
        arrays = (images.numpy(), truth["boxes"].numpy(), truth["labels"].numpy())
        for image, boxes, labels in zip(*arrays):
            kept = labels >= 0
            pixels = np.clip(image, 0, 255).astype("uint8")
            names = dataset.class_names
            pictures.append(draw_boxes(pixels, boxes[kept], labels[kept], class_names=names))
    folder = pathlib.Path(folder)
    for start in range(0, min(len(pictures), shown), PER_SHEET):
        path = folder / f"sheet-{start // PER_SHEET + 1}.png"
        stop = min(start + PER_SHEET, shown)
        paths.append(detection_grid(pictures[start:stop], path, columns=6, cell=320))
    return paths


def write_plots(dataset, path, image_size):
    """Writes a PNG with objects per class, objects per picture, sizes of boxes at the network's
    input, and shapes of pictures; returns its path."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install matplotlib.") from error
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    (classes, counts), (sizes, shapes) = figure.subplots(2, 2)
    _plot_classes(classes, dataset)
    _plot_counts(counts, dataset)
    _plot_sizes(sizes, dataset, image_size)
    _plot_shapes(shapes, dataset)
    figure.savefig(path, dpi=110)
    return pathlib.Path(path)


def _plot_classes(axes, dataset):
    labels = np.concatenate([r.labels for r in dataset.records])
    counts = np.bincount(labels, minlength=len(dataset.class_names))
    most = np.argsort(-counts, kind="stable")[:30][::-1]
    axes.barh([dataset.class_names[i][:24] for i in most], counts[most], color="#0072b2")
    more = len(counts) - len(most)
    axes.set(title="objects per class" + (f" (the 30 largest, {more} more)" if more else ""))
    axes.set_xlabel("objects")


def _plot_counts(axes, dataset):
    counts = np.array([len(r.boxes) for r in dataset.records])
    most = counts.max(initial=0)
    bins = np.arange(most + 2) - 0.5 if most < 60 else 40  # one bar per number if there are few
    axes.hist(counts, bins=bins, color="#009e73")
    axes.set(title="objects per picture", xlabel="objects", ylabel="pictures")


def _plot_sizes(axes, dataset, image_size):
    """Plots sides at the network's input, with the strides of the levels: below 8 px objects are
    hard to see."""
    sides = [
        np.sqrt((r.boxes[:, 2:] - r.boxes[:, :2]).prod(1))
        * min(image_size[0] / r.height, image_size[1] / r.width)
        for r in dataset.records
    ]
    sides = np.maximum(np.concatenate(sides), 0.5)
    if len(sides):
        bins = np.geomspace(min(1, sides.min()), max(image_size), 40)
        axes.hist(sides, bins=bins, color="#d55e00")
    for stride in (8, 16, 32):
        axes.axvline(stride, color="black", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="pixels; dotted: strides 8, 16, 32", ylabel="objects")
    ticks = 2 ** np.arange(12)
    axes.set_xticks(ticks[ticks <= max(image_size)], minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:.0f}")
    height, width = image_size
    axes.set_title(f"sides of boxes in a {height}x{width} input (root of the area)")


def _plot_shapes(axes, dataset):
    """Plots a dot per size, larger for more pictures; the most frequent sizes are labeled."""
    sizes = Counter((r.width, r.height) for r in dataset.records).most_common()
    widths, heights = zip(*(size for size, _ in sizes))
    areas = [15 + 285 * count / len(dataset) for _, count in sizes]
    axes.scatter(widths, heights, s=areas, alpha=0.5, color="#cc79a7", edgecolors="#7a4363")
    for (width, height), count in sizes[:3]:
        text = f"{width}x{height} ({count:,})"
        side = "right" if width > 0.5 * max(widths) else "left"
        axes.annotate(text, (width, height), (0, -16), textcoords="offset points", ha=side)
    axes.set(title="sizes of pictures", xlabel="width", ylabel="height")
    axes.set(xlim=(0, max(widths) * 1.1), ylim=(0, max(heights) * 1.15))
