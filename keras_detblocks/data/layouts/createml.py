"""Apple's Create ML JSON, as Roboflow exports it: a list of pictures, boxes by their centers."""

import os
from functools import partial

from .. import split_names
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, read_json

NAME = "Create ML JSON"
LOOKED_FOR = "Create ML: a .json file with a list of images with annotations (label, coordinates)"


def find(tree):
    """Split name -> reader."""
    files = [path for path in tree.of(".json") if _is_createml(tree, path)]
    parts = split_names.by_file(tree, files)
    return {split: partial(read, tree, path, files) for split, path in parts.items()}


# Apple's own documents write both.
_IMAGE, _LIST = ("image", "imagefilename"), ("annotations", "annotation")


def _value(entry, names):
    """The value under the first of these names that a dict has; None without one."""
    return next((entry[n] for n in names if n in entry), None) if isinstance(entry, dict) else None


def _is_createml(tree, path):
    head = tree.json_head(path)
    return head.is_list and "coordinates" in head.keys and bool(head.keys & set(_IMAGE))


def read(tree, path, files):
    """The `Annotations` of one file; the classes are those of all `files`."""
    contents = {each: _entries(each, each == path) for each in files}
    folder = os.path.dirname(path) or "."
    found = Annotations([], Objects(), [], [], tree.pictures(folder), path)
    objects = [o for entries in contents.values() for o in _objects(entries)]
    found.name_classes(sorted({made[0] for o in objects if (made := _object(o))}))
    for entry in contents[path]:
        name = _value(entry, _IMAGE)
        if not isinstance(name, str) or not name.strip():
            found.skipped.add("entry without a picture", str(entry)[:120])
            continue
        for each in _objects([entry]):
            made = _object(each)
            if made is None:
                reason = "object without a label or coordinates"
                found.skipped.add(reason, f"{name}: {str(each)[:100]}")
            else:
                label, box = made
                found.objects.add(len(found.images), box, found.class_names.index(label))
        found.images.append(Annotated(name, os.path.splitext(name)[0], None, folder))
    return found


def _entries(path, needed):
    """The list in a file; empty if it is another split's and cannot be read."""
    try:
        content = read_json(path)
    except (ValueError, OSError, MemoryError) as error:
        if needed:
            raise DatasetError(f"{path}: expected JSON; it does not parse ({error}).") from error
        return []
    return content if isinstance(content, list) else []


def _objects(entries):
    lists = [_value(entry, _LIST) for entry in entries]
    return [each for found in lists if isinstance(found, list) for each in found]


def _object(entry):
    """`(label, xyxy)`, or None."""
    place = entry.get("coordinates") if isinstance(entry, dict) else None
    label = str(entry.get("label") or "").strip() if isinstance(place, dict) else ""
    values = [number(place.get(k)) for k in ("x", "y", "width", "height")] if label else [None]
    if None in values:
        return None
    x, y, width, height = values
    return label, (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
