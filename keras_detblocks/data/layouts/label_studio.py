"""Label Studio's own JSON: a list of tasks with results in percent of the picture; also its CSV and
TSV, whose cells hold the same results."""

import csv
import io
import json
import os
from functools import partial

from .. import split_names
from ..account import ASSUMED
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, read_head, read_json, read_text, size_of
from ..shapes import box_around, box_of_rotated

NAME = "Label Studio JSON"
LOOKED_FOR = (
    "Label Studio JSON: a .json file with a list of tasks (data, annotations, result), or its CSV"
)
_KINDS = ("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels", "labels")


_NO_AREAS = {"keypointlabels", "vectorlabels", "relations"}


def find(tree):
    """Split name -> reader."""
    files = [path for path in tree.of(".json") if _is_tasks(tree, path)]
    files += [path for path in tree.of(".csv", ".tsv") if _is_table(path)]
    return {s: partial(read, tree, path) for s, path in split_names.by_file(tree, files).items()}


def _is_tasks(tree, path):
    head = tree.json_head(path)
    return head.is_list and bool(head.lists & set(_KINDS))


def _is_table(path):
    head = read_head(path)
    first = head.partition("\n")[0]
    return "annotation_id" in first and any(f'"{kind}' in head for kind in _KINDS)


def _rows(path):
    """The lines of a table as tasks of the short form."""
    text = read_text(path)
    csv.field_size_limit(1 << 24)
    first = text.partition("\n")[0]
    table = csv.DictReader(io.StringIO(text), delimiter="\t" if "\t" in first else ",")
    return [{k: _cell(v) for k, v in row.items() if isinstance(k, str)} for row in table]


def _cell(text):
    """A cell as a list, or as text."""
    if not isinstance(text, str) or text[:1] != "[":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def read(tree, path):
    """The `Annotations` of one file, in the full form or in the short one (JSON-MIN, CSV)."""
    try:
        tasks = read_json(path) if path.lower().endswith(".json") else _rows(path)
    except (ValueError, OSError, MemoryError, csv.Error) as error:
        raise DatasetError(f"{path}: expected tasks; it does not parse ({error}).") from error
    folder = os.path.dirname(path) or "."
    found = Annotations([], Objects(), [], [], tree.pictures(folder), path, shares=True)
    rows = []
    for task in tasks if isinstance(tasks, list) else ():
        name = _picture(task)
        if name is None:
            found.skipped.add("task without a picture", str(task)[:120])
            continue
        owner = len(found.images)
        results = _results(found, task)
        size = next((_size(r) for r in results if _size(r)), None)
        found.images.append(Annotated(name, task.get("id", name), size, folder))
        rows += [(owner, result) for result in results]
    _add_objects(found, rows)
    return found


def _picture(task):
    data = task.get("data", task) if isinstance(task, dict) else None
    if not isinstance(data, dict):
        return None
    named = [data.get(key) for key in ("image", "img", "picture", "url")]
    values = [v for v in (*named, *data.values()) if isinstance(v, str) and v.strip()]
    return values[0] if values else None


def _results(found, task):
    """The results of the last annotation that was not canceled; the short form has them
    directly."""
    annotations = task.get("annotations", task.get("completions"))
    if annotations is None:
        lists = [v for v in task.values() if isinstance(v, list)]
        results = [r for each in lists for r in each]
    else:
        kept = (
            [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
            if isinstance(annotations, list)
            else []
        )
        if not kept:
            reason = "task without an annotation (taken as a picture without objects)"
            found.skipped.add(reason, f"task {task.get('id')}", ASSUMED)
        if len(kept) > 1:
            reason = "task with several annotations (the last is taken)"
            found.skipped.add(reason, f"task {task.get('id')}", ASSUMED)
        results = kept[-1].get("result") if kept else []
    return [r for r in results if isinstance(r, dict)] if isinstance(results, list) else []


def _size(result):
    return size_of(result.get("original_width"), result.get("original_height"))


def _label(value):
    for kind in _KINDS:
        names = value.get(kind)
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0].strip()
    return ""


def _add_objects(found, rows):
    """Adds objects and classes from pairs `(index of the picture, result)`."""
    objects = []
    for owner, result in rows:
        value = result.get("value", result)
        label = _label(value) if isinstance(value, dict) else ""
        box = _box(value, _size(result)) if label else None
        if box is not None:
            objects.append((owner, [v / 100 for v in box], label))
        elif label or (isinstance(value, dict) and _NO_AREAS & value.keys()):
            found.skipped.add("result without a box or a polygon", str(result)[:120])
    labels = found.name_classes(sorted({label for *_, label in objects}))
    for owner, box, label in objects:
        found.objects.add(owner, box, labels[label])


def _box(value, size):
    """The box xyxy in percent of the picture; rectangles turn about their first corner, ellipses
    about their center."""
    points = value.get("points")
    if isinstance(points, list):
        pairs = [[number(v) for v in p] for p in points if isinstance(p, list) and len(p) == 2]
        return box_around([p for p in pairs if None not in p])
    width, height = size or (1, 1)
    degrees = number(value.get("rotation")) or 0
    box = _upright(value)
    if box is None or not degrees:
        return box
    box = [v * side for v, side in zip(box, (width, height) * 2)]
    pivot = None if "radiusX" in value else box[:2]
    turned = box_of_rotated(box, degrees, pivot)
    return [v / side for v, side in zip(turned, (width, height) * 2)]


def _upright(value):
    """The box xyxy of a rectangle or an ellipse before it is turned."""
    x, y = number(value.get("x")), number(value.get("y"))
    if "radiusX" in value:
        rx, ry = number(value.get("radiusX")), number(value.get("radiusY"))
        return None if None in (x, y, rx, ry) else (x - rx, y - ry, x + rx, y + ry)
    width, height = number(value.get("width")), number(value.get("height"))
    return None if None in (x, y, width, height) else (x, y, x + width, y + height)
