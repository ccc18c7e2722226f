"""Draws validation pictures with the detections of a model, for TensorBoard."""

import contextlib

import numpy as np

from ..images.draw import draw_boxes
from ..images.letterbox import letterbox
from ..images.read import ImageError, read_image

_SIDE = 320  # pixels


def sample_pictures(detector, dataset, count=6):
    """Draws the detections on a few pictures, the same ones in every call.

    Args:
        detector: a `Detector`. dataset: a `data.Dataset`.
        count: how many pictures, evenly spaced in the data set; those that cannot be read are left
            out.

    Returns:
        uint8 `(count, 320, 320, 3)`.
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int))
    pictures = []
    for record in [dataset.records[i] for i in chosen]:
        with contextlib.suppress(ImageError):
            pictures.append(read_image(record.path, dataset.levels))
    drawn = []
    for picture, found in zip(pictures, detector.detect(pictures, batch_size=len(chosen))):
        canvas, fitted = letterbox(picture, _SIDE)
        marked = draw_boxes(
            canvas,
            fitted.to_letterboxed(found["boxes"]),
            found["labels"],
            found["scores"],
            detector.class_names,
        )
        drawn.append(np.asarray(marked))
    return np.stack(drawn) if drawn else np.zeros((0, _SIDE, _SIDE, 3), "uint8")
