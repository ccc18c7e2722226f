"""Takes pictures and their objects from anything that a Keras user evaluates on: `tf.data`,
`PyDataset`, lists of batches. It serves data sets that never were folders, such as TFRecords and
tfds."""

import numpy as np

from ..checks import refused
from ..data import Dataset, Letterbox, Record
from ..images.letterbox import place
from ..images.read import read_image


def predict_examples(detector, source, batch_size, image_size):
    """Returns `(dataset, detections)`: the truth in `source` as a `Dataset` whose records have no
    files, and what the detector finds, both in the pixels of each picture.

    Args:
        detector: a `Detector` or an opened export.
        source: an iterable of `(image, {"boxes", "labels"})` or of batches of these: images (H, W,
            C) or (B, H, W, C) of any size, 0 to 255; boxes (M, 4) or (B, M, 4) xyxy in pixels of
            the image, labels (M,) or (B, M), -1 where padded; optionally "crowd" and "areas" in the
            same form.
        batch_size: pictures per step.
        image_size: (height, width) of the canvas that pictures are fitted into.
    """
    records, detections, canvases, boxes = [], [], [], []
    for image, truth in _one_by_one(source):
        pixels = read_image(np.asarray(image))
        fitted = Letterbox.fit(pixels.shape[:2], image_size, detector.resize)
        records.append(_record(pixels.shape, truth, len(records), detector.num_classes))
        canvases.append(place(pixels, fitted))
        boxes.append(fitted)
        if len(canvases) == batch_size:
            detections += _predict(detector, canvases, boxes)
            canvases, boxes = [], []
    if canvases:
        detections += _predict(detector, canvases, boxes)
    if not records:
        raise ValueError("Expected pictures to evaluate on; the source gave none.")
    names = tuple(detector.class_names)
    return Dataset(records, names, tuple(range(len(names))), source="examples"), detections


def check_source(source):
    """The value, if it is a `Dataset` or can be a source of examples."""
    usable = isinstance(source, Dataset) or any(
        hasattr(source, name) for name in ("__iter__", "__getitem__")
    )
    if isinstance(source, (str, bytes)) or not usable:
        expected = "a data set of `data.load`, or a source of (image, {'boxes', 'labels'})"
        raise refused(source, "dataset", expected)
    return source


def _predict(detector, canvases, boxes):
    found = detector.predict(np.stack(canvases).astype("float32"), verbose=0)
    results = []
    for i, fitted in enumerate(boxes):
        keep = slice(0, int(found["count"][i]))
        results.append(
            {
                "boxes": fitted.to_original(found["boxes"][i][keep]),
                "scores": np.asarray(found["scores"][i][keep]),
                "labels": np.asarray(found["labels"][i][keep]),
            }
        )
    return results


def _one_by_one(source):
    """Yields `(image, truth)` of single pictures, from batches or not."""
    for item in _items(source):
        if not isinstance(item, (tuple, list)) or len(item) < 2 or not _is_truth(item[1]):
            what = type(item).__name__
            raise ValueError(
                'Expected (image, {"boxes", "labels"}), single or in batches, from the source; '
                f"received {what}. Map yours to that."
            )
        images, truth = item[0], item[1]
        if len(images.shape) == 3:
            yield images, truth
        else:
            for i in range(int(images.shape[0])):
                yield images[i], {key: values[i] for key, values in truth.items()}


def _is_truth(truth):
    return isinstance(truth, dict) and {"boxes", "labels"} <= set(truth)


def _items(source):
    """The elements of one pass."""
    cardinality = getattr(source, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:  # tf.data's INFINITE_CARDINALITY
        raise ValueError(
            "Expected a source of one pass; this one repeats without end. Leave `.repeat()` out, "
            "or `.take(batches)`."
        )
    if hasattr(source, "__getitem__") and hasattr(source, "num_batches"):  # a PyDataset
        if source.num_batches is None:
            raise ValueError("Expected a PyDataset with a length; this one has none.")
        return (source[i] for i in range(source.num_batches))
    return iter(source)


def _record(shape, truth, number, num_classes):
    """The record of a picture's truth, without padding."""
    labels = np.asarray(truth["labels"]).reshape(-1).astype("int32")
    kept = labels >= 0
    if labels.max(initial=-1) >= num_classes:
        raise ValueError(
            f"Expected labels below {num_classes}, the detector's number of classes; received "
            f"{labels.max()} in picture {number}. Map them to the detector's order."
        )
    boxes = np.asarray(truth["boxes"], "float32").reshape(-1, 4)[kept]
    extents = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    crowd = _optional(truth, "crowd", kept, np.zeros(len(boxes), bool)).astype(bool)
    areas = _optional(truth, "areas", kept, extents).astype("float32")
    return Record("", shape[1], shape[0], boxes, labels[kept], crowd, areas, number)


def _optional(truth, key, kept, otherwise):
    return np.asarray(truth[key]).reshape(-1)[kept] if key in truth else otherwise
