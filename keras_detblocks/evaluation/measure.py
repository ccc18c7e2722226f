"""Measures a detector, or detections, on a data set."""

import datetime
from dataclasses import replace

import numpy as np

from ..checks import check_int
from ..data.dataset import check_dataset
from ..detection.model import check_detector
from ..training.coco_ap import check_detections, checked, picture_order
from . import average
from .classes import align
from .result import Evaluation

RESAMPLES = 500


def evaluate(
    detector,
    dataset,
    *,
    detections=None,
    batch_size=16,
    image_size=None,
    max_detections=None,
    resamples=RESAMPLES,
    about=None,
):
    """Measures a detector, or an opened export of one, on a data set.

    Args:
        detector: a `Detector`, or what `export.open_exported` returns.
        dataset: a `data.Dataset`, whose classes match by name; classes that only one side has are
            left out, and `problems` says so. Or any other source that `training.evaluate_ap` takes.
        detections: what `training.predict_dataset(detector, dataset)` returned, to save the time.
        batch_size, image_size, max_detections: as in `training.evaluate_ap`.
        resamples: of the bootstrap over pictures.
        about: dict of further facts for a report, such as `milliseconds` and `bytes`.

    Returns:
        An `Evaluation`. If nothing can be measured (no objects, no classes in common), its
        `measured` is False and its `problems` say why.

    Raises:
        ValueError: as `training.evaluate_ap`, or detections that do not fit the data set.
    """
    resamples = check_int(resamples, "resamples")
    check_detector(detector, opened=True)
    if detections is None:
        from ..training.evaluate import predict_any

        dataset, detections = predict_any(detector, dataset, batch_size, image_size, max_detections)
    limit = check_int(max_detections, "max_detections", optional=True) or detector.max_detections
    return measure(
        dataset,
        detections,
        detector.class_names,
        max_detections=max(limit, 100),
        resamples=resamples,
        about=described(detector) | {"max_detections": limit} | (about or {}),
    )


def measure(
    dataset,
    detections,
    class_names=None,
    *,
    max_detections=100,
    resamples=RESAMPLES,
    about=None,
):
    """Measures detections that were made before; else as `evaluate`.

    Args:
        dataset: a `data.Dataset`.
        detections: for each of the data set's records, in order, a dict of `boxes` (n, 4) xyxy in
            the picture's own pixels, `scores` and `labels`, which index `class_names`.
        class_names: by default the data set's.
        max_detections: as in `training.coco_ap`.
        resamples, about: as in `evaluate`.
    """
    check_dataset(dataset)
    class_names = tuple(class_names or dataset.class_names)
    max_detections = check_int(max_detections, "max_detections")
    resamples = check_int(resamples, "resamples")
    check_detections(detections, dataset)
    clean = [checked(i, d, len(class_names)) for i, d in enumerate(detections)]
    order = picture_order(dataset.records)
    dataset = replace(dataset, records=[dataset.records[i] for i in order])
    dataset, clean, problems = align(dataset, [clean[i] for i in order], class_names)
    known = {
        "data": str(dataset.source),
        "pictures": len(dataset.records),
        "date": datetime.date.today().isoformat(),
    }
    about = known | (about or {})
    result = Evaluation(
        dataset, clean, dataset.class_names, problems, about=about, max_detections=max_detections
    )
    if result.class_names and (~result.truth.crowd).any():
        _count(result, resamples)
    return result


def described(detector):
    """The settings of a detector, or of an opened export, that a report tells."""
    keys = ("image_size", "score_threshold", "iou_threshold", "max_detections")
    return {key: getattr(detector, key) for key in keys if hasattr(detector, key)}


def _count(result, resamples):
    """Fills in the numbers that take a pass over all resamples."""
    common = result.pairs, result.found, result.truth, len(result.class_names)
    images = len(result.dataset.records)
    most = result.max_detections
    numbers, class_ap = average.coco_numbers(*common, np.ones((1, images)), most)
    result.class_ap = class_ap[0]
    result.numbers = {k: float(np.nan_to_num(v[0], nan=-1.0)) for k, v in numbers.items()}
    drawn, of_class = average.coco_numbers(*common, average.resamples(images, resamples), most)
    result.samples = drawn | {"class": of_class.mean(2)}
    result.intervals = {k: average.interval(v) for k, v in drawn.items()}
