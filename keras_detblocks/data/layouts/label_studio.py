"""Label Studio's own JSON: a list of tasks with results in per cent of the picture."""

import os
from functools import partial

from .. import split_names
from ..account import ASSUMED
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, read_json, size_of
from .coco_classes import note_alike

NAME = "Label Studio JSON"
LOOKED_FOR = "Label Studio JSON: a .json file with a list of tasks (data, annotations, result)"
_KINDS = ("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels", "labels")


def find(tree):
    """Split name -> reader."""
    files = [path for path in tree.of(".json") if _is_tasks(tree, path)]
    named = [
        (split_names.of_file(path, tree.root), path, partial(read, tree, path)) for path in files
    ]
    return {None: named[0][2]} if tree.is_file and named else split_names.unique(named)


def _is_tasks(tree, path):
    head = tree.json_head(path)
    return head.is_list and bool(head.lists & set(_KINDS))


def read(tree, path):
    """The `Annotations` of one file, of the full form and of the short one (JSON-MIN)."""
    try:
        tasks = read_json(path)
    except (ValueError, OSError, MemoryError) as error:
        raise DatasetError(f"{path}: expected JSON; it does not parse ({error}).") from error
    folder = os.path.dirname(path)
    found = Annotations([], Objects(), [], [], tree.pictures(folder or "."), path, shares=True)
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
    """The results of the last annotation that was not canceled; the short form lists them."""
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
    objects = []
    for owner, result in rows:
        value = result.get("value", result)
        label = _label(value) if isinstance(value, dict) else ""
        box = _box(value) if label else None
        if box is not None:
            objects.append((owner, [v / 100 for v in box], label))
        elif label:
            found.skipped.add("result without a box or a polygon", str(result)[:120])
    found.class_names = sorted({label for *_, label in objects})
    found.category_ids = list(range(len(found.class_names)))
    note_alike(found.class_names, found.skipped)
    labels = {name: i for i, name in enumerate(found.class_names)}
    for owner, box, label in objects:
        found.objects.add(owner, box, labels[label])


def _box(value):
    """xyxy in per cent."""
    points = value.get("points")
    if isinstance(points, list):
        pairs = [[number(v) for v in p] for p in points if isinstance(p, list) and len(p) == 2]
        pairs = [p for p in pairs if None not in p]
        return (*map(min, zip(*pairs)), *map(max, zip(*pairs))) if len(pairs) > 1 else None
    x, y = number(value.get("x")), number(value.get("y"))
    if "radiusX" in value:
        rx, ry = number(value.get("radiusX")), number(value.get("radiusY"))
        return None if None in (x, y, rx, ry) else (x - rx, y - ry, x + rx, y + ry)
    width, height = number(value.get("width")), number(value.get("height"))
    return None if None in (x, y, width, height) else (x, y, x + width, y + height)
