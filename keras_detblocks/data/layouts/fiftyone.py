"""FiftyOne's own JSON (https://docs.voxel51.com): `labels.json` with boxes by picture name, or
`samples.json` for a whole data set. Boxes are x, y, width, height as shares of the picture."""

import os
from functools import partial

from .. import split_names
from ..account import ASSUMED
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, numbers, read_json

NAME = "FiftyOne JSON"
LOOKED_FOR = "FiftyOne: labels.json or samples.json with bounding_box in its objects, and data/"


def find(tree):
    """Split name -> reader."""
    files = [path for path in tree.of(".json") if "bounding_box" in tree.json_head(path).keys]
    return {s: partial(read, tree, path) for s, path in split_names.by_file(tree, files).items()}


def read(tree, path):
    """The `Annotations` of one file."""
    try:
        content = read_json(path)
    except (ValueError, OSError, MemoryError) as error:
        raise DatasetError(f"{path}: expected JSON; it does not parse ({error}).") from error
    content = content if isinstance(content, dict) else {}
    folder = os.path.dirname(path) or "."
    pictures = tree.pictures(f"{folder}/data", folder)
    found = Annotations([], Objects(), [], [], pictures, path, shares=True)
    entries = list(_entries(found, content))
    classes = content.get("classes")
    names = [str(name) for name in classes] if isinstance(classes, list) else []
    used = {name for _, some in entries for each in some if (name := _label(each, names))}
    found.name_classes([*dict.fromkeys(names), *sorted(used - set(names))])
    for name, some in entries:
        for each in some:
            label = _label(each, names)
            box = numbers(each.get("bounding_box"), 4) if label else None
            if box is None:
                reason = "object without a class or a box of four numbers"
                found.skipped.add(reason, f"{name}: {str(each)[:100]}")
            else:
                x, y, width, height = box
                corners = (x, y, x + width, y + height)
                found.objects.add(len(found.images), corners, found.class_names.index(label))
        found.images.append(Annotated(name, os.path.splitext(name)[0], None, folder))
    return found


def _entries(found, content):
    """`(name of the picture, list of dicts)`."""
    labels = content.get("labels")
    for name, some in labels.items() if isinstance(labels, dict) else ():
        yield name, _dicts(some)
    fields = {}
    samples = content.get("samples")
    for sample in samples if isinstance(samples, list) else ():
        if not isinstance(sample, dict) or not isinstance(sample.get("filepath"), str):
            found.skipped.add("sample without a picture", str(sample)[:120])
            continue
        lists = {k: _dicts(v["detections"]) for k, v in sample.items() if _is_detections(v)}
        for field in lists:
            fields[field] = fields.get(field, 0) + 1
        field = "ground_truth" if "ground_truth" in lists else next(iter(lists), None)
        yield sample["filepath"], lists.get(field, [])
    if len(fields) > 1:
        reason = "samples with several fields of detections (ground_truth or the first is taken)"
        found.skipped.add(reason, ", ".join(fields), ASSUMED)


def _is_detections(value):
    return isinstance(value, dict) and isinstance(value.get("detections"), list)


def _dicts(values):
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []


def _label(entry, names):
    """The class of an object, by its name or by its number in `names`; "" if it has none."""
    label = entry.get("label")
    place = None if isinstance(label, str) else number(label)
    if place is not None and place == int(place) and 0 <= place < len(names):
        return names[int(place)]
    return label.strip() if isinstance(label, str) else ""
