"""Runs a detector on pictures of any size: letterbox, predict, and boxes back in each picture's own
pixels."""

from functools import partial

import numpy as np
from keras import ops

from ..checks import check_int, check_number, level_number
from ..images.tiles import check_tile
from .decode import level_names
from .tiled import detect_in_tiles

# Most pixels of a picture that is decoded for its tiles: 3 GB.
LARGEST_TILED = 10**9

# Least score that is shown if no evaluation found a better one.
DEFAULT_SCORE_THRESHOLD = 0.3


def shown_from(detector):
    """The least score that a detector, or an exported one, shows by default."""
    best = getattr(detector, "best_score_threshold", None)
    return DEFAULT_SCORE_THRESHOLD if best is None else best


def detect(detector, images, score_threshold, batch_size, tile=None, overlap=0.2):
    """See `Detector.detect`."""
    from ..images.read import read_image

    if score_threshold is None:
        score_threshold = shown_from(detector)
    score_threshold = check_number(score_threshold, "score_threshold", least=0, most=1)
    batch_size = check_int(batch_size, "batch_size")
    if tile is not None:
        tile, overlap = check_tile(tile, overlap, "tile")
    single = not isinstance(images, (list, tuple))
    images = [images] if single else images
    if tile is None:
        found = _detect([read_image(image) for image in images], detector, batch_size)
    else:
        found = [_in_tiles(detector, image, batch_size, tile, overlap) for image in images]
    results = [_over(each, score_threshold, detector.class_names) for each in found]
    return results[0] if single else results


def _in_tiles(detector, image, batch_size, tile, overlap):
    """Detects in one picture tile by tile; it may be larger than pictures that are decoded
    otherwise."""
    from ..images.read import read_image

    picture = read_image(image, max_pixels=LARGEST_TILED)
    find = partial(_detect, detector=detector, batch_size=batch_size)
    iou_threshold = getattr(detector, "iou_threshold", 0.6)
    return detect_in_tiles(find, picture, tile, overlap, iou_threshold)


def _detect(pictures, detector, batch_size):
    """Detects in pictures, arrays (h, w, 3): boxes, scores and labels in the pixels of each."""
    from ..images.letterbox import letterbox

    results = [None] * len(pictures)
    boxed = [
        letterbox(picture, detector.image_size or fitting(detector, picture), detector.resize)
        for picture in pictures
    ]
    for batch in _batches([image.shape for image, _ in boxed], batch_size):
        found = _found(detector, np.stack([boxed[i][0] for i in batch]).astype("float32"))
        for row, i in enumerate(batch):
            keep = found["labels"][row] >= 0
            results[i] = {
                "boxes": boxed[i][1].to_original(found["boxes"][row][keep]),
                "scores": found["scores"][row][keep],
                "labels": found["labels"][row][keep],
            }
    return results


def _over(found, score_threshold, class_names):
    """The detections that are certain enough, with class names."""
    keep = found["scores"] >= max(score_threshold, 1e-9)
    found = {key: values[keep] for key, values in found.items()}
    return found | {"class_names": [class_names[label] for label in found["labels"]]}


def _found(detector, images):
    if detector.image_size is not None or not hasattr(detector, "postprocess"):
        return detector.predict(images, verbose=0)
    # Eagerly: a graph that has met two sizes is traced for unknown sizes, but the points of a map
    # need its size.
    outputs = detector.postprocess(detector(images, training=False), images.shape[1:3])
    return {key: ops.convert_to_numpy(value) for key, value in outputs.items()}


def fitting(detector, picture):
    """The picture's own size, rounded up to the coarsest stride, for a detector of dynamic size."""
    stride = getattr(detector, "stride", None)  # of an exported file
    stride = stride or 2 ** max(map(level_number, level_names(detector.output)))
    return tuple(-(-side // stride) * stride for side in picture.shape[:2])


def _batches(shapes, size):
    """Yields indices of equally shaped pictures, `size` at a time."""
    by_shape = {}
    for i, shape in enumerate(shapes):
        by_shape.setdefault(shape, []).append(i)
    for indices in by_shape.values():
        yield from (indices[start : start + size] for start in range(0, len(indices), size))
