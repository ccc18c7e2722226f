"""COCO average precision (https://cocodataset.org/#detection-eval): the twelve numbers, and those
of every class.

The matching and the curves are computed by faster-coco-eval where it is installed, otherwise by
pycocotools, which gives the same numbers more slowly. Crowd objects are ignored as COCO does it: a
detection on one is neither right nor wrong.
"""

import contextlib
import importlib
import importlib.util
import io
from dataclasses import dataclass

import numpy as np

from ..checks import check_choice, check_int, check_kind, refused
from ..data.dataset import check_dataset

BACKENDS = {  # package -> (module, class) of its annotation table and of its evaluation
    "faster_coco_eval": (("faster_coco_eval", "COCO"), ("faster_coco_eval", "COCOeval_faster")),
    "pycocotools": (("pycocotools.coco", "COCO"), ("pycocotools.cocoeval", "COCOeval")),
}
_AREAS = ("all", "small", "medium", "large")
_MAX_DETECTIONS = (1, 10)  # per picture, for recall; the third limit is the cap of AP


@dataclass(frozen=True)
class CocoAP:
    """COCO AP of a set of detections.

    Attributes:
        numbers: the twelve, by name: AP (over IoU 0.50 to 0.95), AP50, AP75, AP_small, AP_medium,
            AP_large (areas below 32^2, to 96^2, above), AR_1, AR_10, AR_100 (by detections per
            image), AR_small, AR_medium, AR_large. -1 if the data set has no such object.
        per_class: class name -> {"AP", "AP50", "AP75", "AR_100"}.
    """

    numbers: dict
    per_class: dict

    @property
    def ap(self):
        """AP over IoU 0.50 to 0.95."""
        return self.numbers["AP"]

    @property
    def ap50(self):
        """AP at IoU 0.5."""
        return self.numbers["AP50"]

    def __str__(self):
        width = max([10, *map(len, self.per_class)])
        lines = ["  ".join(f"{name} {value:.3f}" for name, value in self.numbers.items())]
        for name, numbers in self.per_class.items():
            lines.append(
                f"{name:<{width}}  "
                + "  ".join(f"{key} {value:.3f}" for key, value in numbers.items())
            )
        return "\n".join(lines)


def coco_ap(dataset, detections, backend=None, max_detections=100):
    """COCO AP of detections on a data set.

    Args:
        dataset: a `data.Dataset`.
        detections: for each of its records, in order, a dict of arrays: `boxes` (n, 4) xyxy in the
            original image's pixels, `scores` (n,) and `labels` (n,); entries with the label -1 are
            padding. At most `max_detections` per image count, the highest scores first.
        backend: "faster_coco_eval" or "pycocotools"; by default the first one that is installed.
        max_detections: COCO's cap of 100, or a larger one if images hold more objects: under the
            cap even a perfect detector misses the rest. `AR_100` is then named after it.

    Returns:
        A `CocoAP`.

    Raises:
        ValueError: not one dict for each record, shapes that do not match, or a label that is not a
            class.
        ImportError: no backend is installed.
    """
    check_detections(detections, check_dataset(dataset))
    max_detections = check_int(max_detections, "max_detections")
    limits = (*(m for m in _MAX_DETECTIONS if m < max_detections), max_detections)
    coco_class, eval_class = _backend(backend)
    with contextlib.redirect_stdout(io.StringIO()):  # both backends report their progress in print
        truth = _indexed(coco_class, dataset, _true_objects(dataset))
        found = _indexed(coco_class, dataset, _found_objects(dataset, detections))
        evaluation = eval_class(truth, found, "bbox")
        evaluation.params.maxDets = list(limits)
        evaluation.evaluate()
        evaluation.accumulate()
    # precision: IoU threshold, recall level, class, area, limit of detections; recall: the same
    # without the second
    precision, recall = (np.asarray(evaluation.eval[key]) for key in ("precision", "recall"))
    numbers = _ap(precision) | {
        f"AP_{a}": _mean(precision[:, :, :, i, -1]) for i, a in enumerate(_AREAS) if i
    }
    numbers |= {f"AR_{m}": _mean(recall[:, :, 0, i]) for i, m in enumerate(limits)}
    numbers |= {f"AR_{a}": _mean(recall[:, :, i, -1]) for i, a in enumerate(_AREAS) if i}
    per_class = {
        name: _ap(precision[:, :, [k]]) | {f"AR_{max_detections}": _mean(recall[:, k, 0, -1])}
        for k, name in enumerate(dataset.class_names)
    }
    return CocoAP(numbers, per_class)


def picture_order(records):
    """Indices of records (`data.Record`) by their ids, numbers before names: cocoapi's order."""

    def place(index):
        key = records[index].image_id
        is_number = isinstance(key, (int, float, np.number))
        return (0, key, "") if is_number else (1, 0, str(key))

    return sorted(range(len(records)), key=place)


def _numbers(records):
    """The number of every record, from 1: an id of 0 means "unmatched" to the backends."""
    numbers = [0] * len(records)
    for number, index in enumerate(picture_order(records), start=1):
        numbers[index] = number
    return numbers


def _ap(precision):
    """AP, AP50 and AP75 over all areas; the thresholds are 0.50, 0.55, ... 0.95."""
    return {
        "AP": _mean(precision[:, :, :, 0, -1]),
        "AP50": _mean(precision[0, :, :, 0, -1]),
        "AP75": _mean(precision[5, :, :, 0, -1]),
    }


def _mean(values):
    """The mean of the defined values; -1 without any."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


def _backend(name):
    """`(COCO class, evaluation class)`."""
    check_choice(name, "backend", (*BACKENDS, None))
    for package in [name] if name else BACKENDS:
        if importlib.util.find_spec(package) is not None:
            return tuple(
                getattr(importlib.import_module(module), attribute)
                for module, attribute in BACKENDS[package]
            )
    raise ImportError(
        f"coco_ap needs {name or ' or '.join(BACKENDS)}: pip install 'keras_detblocks[train]'"
    )


def _indexed(coco_class, dataset, objects):
    """Returns the backend's table of one set of objects."""
    table = coco_class()
    table.dataset = {
        "images": [
            {"id": i, "width": r.width, "height": r.height}
            for i, r in zip(_numbers(dataset.records), dataset.records)
        ],
        "categories": [
            {"id": k, "name": name} for k, name in enumerate(dataset.class_names, start=1)
        ],
        "annotations": [o | {"id": n} for n, o in enumerate(objects, start=1)],
    }
    table.createIndex()
    return table


def _true_objects(dataset):
    for i, record in zip(_numbers(dataset.records), dataset.records):
        for box, label, crowd, area in zip(
            record.boxes.tolist(), record.labels.tolist(), record.crowd, record.areas.tolist()
        ):
            yield _object(i, box, label) | {"iscrowd": int(crowd), "area": area}


def _found_objects(dataset, detections):
    for index, (i, found) in enumerate(zip(_numbers(dataset.records), detections)):
        boxes, scores, labels = checked(index, found, len(dataset.class_names))
        for box, score, label in zip(boxes.tolist(), scores.tolist(), labels.tolist()):
            if label >= 0:
                area = (box[2] - box[0]) * (box[3] - box[1])
                yield _object(i, box, label) | {"score": score, "iscrowd": 0, "area": area}


def _object(image, box, label):
    x0, y0, x1, y1 = box
    return {"image_id": image, "category_id": int(label) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def check_detections(detections, dataset):
    """Raises a `ValueError` unless they are one dict for each record of the data set."""
    check_kind(detections, "detections", (list, tuple), "a list of dicts, one per picture")
    if len(detections) != len(dataset.records):
        raise ValueError(
            f"Expected detections for each of the {len(dataset.records)} records; received "
            f"{len(detections)}. Pass a dict of empty arrays for a picture without detections."
        )
    for found in detections:
        if not isinstance(found, dict) or not found.keys() >= {"boxes", "scores", "labels"}:
            expected = "a list of dicts of boxes, scores and labels"
            raise refused(detections, "detections", expected)


def checked(index, found, num_classes):
    """`(boxes, scores, labels)` of the detections of one picture, `detections[index]`."""
    boxes = np.asarray(found["boxes"], "float32").reshape(-1, 4)
    scores, labels = (
        np.asarray(found["scores"], "float64").reshape(-1),
        np.asarray(found["labels"]).reshape(-1),
    )
    if not len(boxes) == len(scores) == len(labels):
        raise ValueError(
            f"coco_ap: expected as many boxes as scores and labels; received {len(boxes)}, "
            f"{len(scores)}, {len(labels)} in detections[{index}]. Cut padding off all three alike."
        )
    if len(labels) and labels.max() >= num_classes:
        raise ValueError(
            f"coco_ap: expected labels below {num_classes}, the number of classes of the data set; "
            f"received {labels.max()} in detections[{index}]. Was the detector trained on other "
            "classes?"
        )
    return boxes, scores, labels
