"""Finds the classes that a model and a data set have in common, and reports what is left out."""

from dataclasses import replace

import numpy as np


def align(dataset, detections, class_names):
    """Restricts data and detections to their common classes.

    Args:
        dataset: a `data.Dataset`. detections: `(boxes, scores, labels)` per record. class_names:
            the names that the labels of the detections index.

    Returns:
        `(dataset, detections, problems)`: labels in the order of `class_names`, detections as
        dicts, and sentences on what is left out or cannot be measured.
    """
    common = tuple(name for name in class_names if name in dataset.class_names)
    of_data = _table(dataset.class_names, common)
    of_model = _table(class_names, common)
    problems = list(_problems(dataset, detections, class_names, common, of_data, of_model))
    ids = dict(zip(dataset.class_names, dataset.category_ids))
    dataset = replace(
        dataset,
        records=[_relabeled(record, of_data) for record in dataset.records],
        class_names=common,
        category_ids=tuple(ids[name] for name in common),
    )
    return dataset, [_kept(*each, of_model) for each in detections], problems


def _table(names, common):
    """Old label -> new label, -1 where the class is left out; the last entry is for padding."""
    return np.array([common.index(n) if n in common else -1 for n in names] + [-1], "int32")


def _relabeled(record, table):
    labels = table[record.labels]
    kept = labels >= 0
    return replace(
        record,
        boxes=record.boxes[kept],
        labels=labels[kept],
        crowd=record.crowd[kept],
        areas=record.areas[kept],
    )


def _kept(boxes, scores, labels, table):
    labels = table[labels]
    kept = labels >= 0
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


def _problems(dataset, detections, class_names, common, of_data, of_model):
    if not common:
        yield (
            f"Nothing can be measured: no class in common. The model knows {_names(class_names)}; "
            f"the data {_names(dataset.class_names)}."
        )
        return
    of_objects = np.concatenate([r.labels[~r.crowd] for r in dataset.records])
    of_found = np.concatenate([labels[labels >= 0] for _, _, labels in detections])
    if not (of_data[of_objects] >= 0).any():
        all_known = len(common) == len(dataset.class_names)
        where = "" if all_known else " of a class that the model knows"
        yield (
            f"Nothing can be measured: the data hold no object{where} in {len(dataset)} pictures."
        )
    elif not len(of_found):
        yield "The model found nothing: not one detection in all pictures."
    unknown = "of the data the model does not know", "object"
    absent = "of the model the data do not have", "detection"
    for names, table, labels, (who, what) in (
        (dataset.class_names, of_data, of_objects, unknown),
        (class_names, of_model, of_found, absent),
    ):
        others = [n for n, new in zip(names, table) if new < 0]
        if others:
            left_out = counted(int((table[labels] < 0).sum()), what)
            classes = counted(len(others), "class", "classes")
            yield f"{classes} {who} ({_names(others)}): {left_out} left out."
    empty = [n for k, n in enumerate(common) if not (of_data[of_objects] == k).any()]
    if empty and len(empty) < len(common):
        classes = counted(len(empty), "class", "classes")
        yield f"{classes} without an object here ({_names(empty)}): not in the mean AP."


def counted(count, one, many=None):
    """`1 picture`, `2,000 pictures`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _names(names, most=6):
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
