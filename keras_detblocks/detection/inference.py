"""Runs a detector on pictures of any size: letterbox, predict, and boxes back in each picture's own
pixels."""

import numpy as np
from keras import ops

from ..checks import level_number
from .decode import level_names


def detect(detector, images, score_threshold, batch_size):
    from ..images.letterbox import letterbox
    from ..images.read import read_image

    if not 0.0 <= score_threshold <= 1.0:
        raise ValueError(
            f"`score_threshold` must be from 0 to 1. Received: score_threshold={score_threshold}"
        )
    single = not isinstance(images, (list, tuple))
    pictures = [read_image(image) for image in ([images] if single else images)]
    results = [None] * len(pictures)
    boxed = [
        letterbox(picture, detector.image_size or _fitting(detector, picture))
        for picture in pictures
    ]
    for batch in _batches([image.shape for image, _ in boxed], batch_size):
        found = _found(detector, np.stack([boxed[i][0] for i in batch]).astype("float32"))
        for row, i in enumerate(batch):
            keep = found["scores"][row] >= max(score_threshold, 1e-9)
            labels = found["labels"][row][keep]
            results[i] = {
                "boxes": boxed[i][1].to_original(found["boxes"][row][keep]),
                "scores": found["scores"][row][keep],
                "labels": labels,
                "class_names": [detector.class_names[label] for label in labels],
            }
    return results[0] if single else results


def _found(detector, images):
    if detector.image_size is not None:
        return detector.predict(images, verbose=0)
    # Eagerly: a graph that has met two sizes is traced for unknown ones, and the points of a map
    # need its size.
    outputs = detector.postprocess(detector(images, training=False), images.shape[1:3])
    return {key: ops.convert_to_numpy(value) for key, value in outputs.items()}


def _fitting(detector, picture):
    """The picture's own size, rounded up to the coarsest stride, for a detector of dynamic size."""
    stride = 2 ** max(map(level_number, level_names(detector.output)))
    return tuple(-(-side // stride) * stride for side in picture.shape[:2])


def _batches(shapes, size):
    """Indices of equally shaped pictures, `size` at a time."""
    by_shape = {}
    for i, shape in enumerate(shapes):
        by_shape.setdefault(shape, []).append(i)
    for indices in by_shape.values():
        yield from (indices[start : start + size] for start in range(0, len(indices), size))
