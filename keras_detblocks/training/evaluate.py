"""Measures COCO AP of a detector on a data set, separately or during a plain `fit`."""

import contextlib

import keras
import numpy as np

from ..checks import check_int, check_pair
from ..data import Dataset, pipeline
from ..detection.model import check_detector
from .coco_ap import coco_ap
from .examples import check_source, predict_examples


def evaluate_ap(detector, dataset, batch_size=16, image_size=None, max_detections=None):
    """COCO AP of a detector, or an opened export of one, on a data set, in the pixels of its
    pictures.

    Args:
        detector: a `Detector` or an `ExportedDetector`.
        dataset: a `data.Dataset`, whose classes match the detector's by name; or any `tf.data`
            data set, `PyDataset` or list of `(image, {"boxes", "labels"})`, single or in batches:
            boxes xyxy in pixels of the image, labels in the detector's order, -1 where padded.
        batch_size: pictures per step.
        image_size: (height, width) that pictures are scaled to fit into, for detectors of dynamic
            size.
        max_detections: how many detections of a picture count; by default the detector's own
            number. A `Detector` returns that many for this evaluation.

    Raises:
        ValueError: a source in another form, or one that does not end.
    """
    check_detector(detector, opened=True)
    limit = check_int(max_detections, "max_detections", optional=True) or detector.max_detections
    if isinstance(dataset, Dataset):
        dataset = dataset.with_classes(detector.class_names)
    dataset, found = predict_any(detector, dataset, batch_size, image_size, max_detections)
    return coco_ap(dataset, found, max_detections=max(limit, 100))


def predict_any(detector, dataset, batch_size=16, image_size=None, max_detections=None):
    """Returns `(Dataset, detections)` for any source that `evaluate_ap` takes: the data set itself,
    or one made of the examples, and for each of its `records` a dict of `boxes`, `scores`,
    `labels`."""
    batch_size = check_int(batch_size, "batch_size")
    image_size = check_pair(image_size, "image_size", optional=True)
    max_detections = check_int(max_detections, "max_detections", optional=True)
    check_detector(detector, opened=True)
    check_source(dataset)
    with _giving(detector, max_detections):
        if isinstance(dataset, Dataset):
            return dataset, predict_dataset(detector, dataset, batch_size, image_size)
        size = _size(detector, image_size)
        return predict_examples(detector, dataset, batch_size, size)


@contextlib.contextmanager
def _giving(detector, max_detections):
    """A context in which the detector returns another number of detections."""
    before = detector.max_detections
    if max_detections is not None and hasattr(detector, "get_config"):
        detector.max_detections = max_detections
    try:
        yield
    finally:
        if detector.max_detections != before:
            detector.max_detections = before


class ValidationAP(keras.callbacks.Callback):
    """Measures COCO AP after each epoch of a plain `fit`, as `val_AP`, `val_AP50`, `val_AP75` in
    its logs.

    Callbacks after it in the list can watch them: `ModelCheckpoint("best.keras", monitor="val_AP",
    mode="max")`.

    Args:
        dataset, batch_size, image_size, max_detections: as in `evaluate_ap`.
    """

    def __init__(self, dataset, batch_size=16, image_size=None, max_detections=None):
        super().__init__()
        self.batch_size = check_int(batch_size, "batch_size")
        self.image_size = check_pair(image_size, "image_size", optional=True)
        self.max_detections = check_int(max_detections, "max_detections", optional=True)
        self.dataset = check_source(dataset)

    def on_epoch_end(self, epoch, logs=None):
        numbers = evaluate_ap(
            self.model, self.dataset, self.batch_size, self.image_size, self.max_detections
        ).numbers
        if logs is not None:
            logs.update({f"val_{key}": float(numbers[key]) for key in ("AP", "AP50", "AP75")})


def _size(detector, image_size):
    size = detector.image_size or image_size
    if size is None:
        raise ValueError(
            "A detector of dynamic size needs `image_size=(height, width)` here. Received: "
            "image_size=None"
        )
    return size


def predict_dataset(detector, dataset, batch_size=16, image_size=None):
    """Runs a detector on every picture of a data set.

    Args:
        detector: a `Detector`, or what `export.open_exported` returns.
        dataset: a `data.Dataset`.
        batch_size: pictures at once.
        image_size: `(height, width)` of the input, for a detector of any size.

    Returns:
        A list with a dict of `boxes`, `scores` and `labels` for each of the data set's `records`;
        boxes are in the picture's own pixels.
    """
    from ..data import Letterbox

    size = _size(check_detector(detector, opened=True), image_size)
    resize = detector.resize
    found = detector.predict(pipeline(dataset, size, batch_size, resize=resize), verbose=0)
    results = []
    for i, record in enumerate(dataset.records):
        keep = slice(0, int(found["count"][i]))
        box = Letterbox.fit((record.height, record.width), size, resize)
        results.append(
            {
                "boxes": box.to_original(found["boxes"][i][keep]),
                "scores": np.asarray(found["scores"][i][keep]),
                "labels": np.asarray(found["labels"][i][keep]),
            }
        )
    return results
