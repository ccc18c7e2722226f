"""Apple's Create ML JSON, as Roboflow exports it: a list of pictures, boxes by their centers."""

import os
from functools import partial

from .. import splits
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, read_head, read_json
from .coco_classes import note_alike

NAME = "Create ML JSON"
LOOKED_FOR = "Create ML: a .json file with a list of images with annotations (label, coordinates)"


def find(tree):
    """Split name -> reader."""
    files = [path for path in tree.of(".json") if _is_createml(path)]
    if tree.is_file and files:
        return {None: partial(read, tree, files[0])}
    named = [(splits.of_file(path, tree.root), path, partial(read, tree, path)) for path in files]
    return splits.unique(named)


def _is_createml(path):
    head = read_head(path)
    return head.lstrip().startswith("[") and '"image"' in head and '"coordinates"' in head


def read(tree, path):
    """The `Annotations` of one file."""
    try:
        entries = read_json(path)
    except (ValueError, OSError, MemoryError) as error:
        raise DatasetError(f"{path}: expected JSON; it does not parse ({error}).") from error
    folder = os.path.dirname(path)
    found = Annotations([], Objects(), [], [], tree.pictures(folder or "."), path)
    rows = []
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("image") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip():
            found.skipped.add("entry without a picture", str(entry)[:120])
            continue
        objects = entry.get("annotations")
        rows += [(len(found.images), o) for o in objects] if isinstance(objects, list) else []
        found.images.append(Annotated(name, os.path.splitext(name)[0], None, folder))
    usable = [(owner, *_object(o)) for owner, o in rows if _object(o)]
    found.skipped.add_many(
        "object without a label or coordinates",
        len(rows) - len(usable),
        (str(o)[:120] for _, o in rows if not _object(o)),
    )
    found.class_names = sorted({label for _, label, _ in usable})
    found.category_ids = list(range(len(found.class_names)))
    note_alike(found.class_names, found.skipped)
    for owner, label, box in usable:
        found.objects.add(owner, box, found.class_names.index(label))
    return found


def _object(entry):
    """`(label, xyxy)`, or None."""
    place = entry.get("coordinates") if isinstance(entry, dict) else None
    label = str(entry.get("label") or "").strip() if isinstance(place, dict) else ""
    values = [number(place.get(k)) for k in ("x", "y", "width", "height")] if label else [None]
    if None in values:
        return None
    x, y, width, height = values
    return label, (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
