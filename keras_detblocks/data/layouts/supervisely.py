"""Supervisely (https://docs.supervisely.com): a JSON file per picture in ann/, pictures in img/."""

import os
from functools import partial

from .. import split_names
from ..annotations import Annotated, Annotations, Objects
from ..parse import numbers, read_json, size_of
from ..shapes import box_around

NAME = "Supervisely"
LOOKED_FOR = "Supervisely: ann/PICTURE.json files with objects (classTitle, points), and img/"
_LOOKED_AT = 50


def find(tree):
    """Split name -> reader."""
    files = [path for path in tree.of(".json") if os.path.basename(os.path.dirname(path)) == "ann"]
    step = max(1, len(files) // _LOOKED_AT)
    if not any("classTitle" in tree.json_head(path).keys for path in files[::step]):
        return {}
    parts = split_names.by_folder(tree, files)
    return {split: partial(read, tree, files, part) for split, part in parts.items()}


def read(tree, files, part):
    """The `Annotations` of one split; the classes are those of meta.json and of all `files`."""
    found = Annotations([], Objects(), [], [], tree.pictures(), tree.root)
    chosen, contents, used = set(part), {}, set()
    for path in files:
        try:
            content = read_json(path)
            objects = content["objects"] if isinstance(content["objects"], list) else []
        except (ValueError, OSError, MemoryError, KeyError, TypeError) as error:
            if path in chosen:
                reason = "annotation file that does not parse"
                found.skipped.add(reason, f"{path}: {type(error).__name__} {error}")
            continue
        used |= {name for each in objects if (name := _label(each))}
        if path in chosen:
            contents[path] = content
    labels = found.name_classes(list(dict.fromkeys([*_of_meta(tree), *sorted(used)])))
    for path, content in contents.items():
        _read_one(found, path, content, labels)
    return found


def _of_meta(tree):
    """The classes in the order of the project's meta.json."""
    for path in tree.of(".json"):
        if os.path.basename(path) == "meta.json":
            try:
                classes = read_json(path)["classes"]
                return [c["title"].strip() for c in classes if c["title"].strip()]
            except (ValueError, OSError, KeyError, TypeError, AttributeError):
                continue
    return []


def _label(entry):
    title = entry.get("classTitle") if isinstance(entry, dict) else None
    return title.strip() if isinstance(title, str) else ""


def _read_one(found, path, content, labels):
    name = os.path.basename(path)[: -len(".json")]  # a.png.json is of a.png
    size = content.get("size") if isinstance(content.get("size"), dict) else {}
    size = size_of(size.get("width"), size.get("height"))
    owner = len(found.images)
    found.images.append(Annotated(name, name, size, os.path.dirname(path)))
    for each in content["objects"] if isinstance(content["objects"], list) else ():
        label = _label(each)
        box = _box(each) if label else None
        if box is None:
            reason = "object without a class or an extent"
            found.skipped.add(reason, f"{name}: {str(each)[:100]}")
        else:
            found.objects.add(owner, box, labels[label])


def _box(entry):
    """The box xyxy of a rectangle or around a polygon; None for points, lines and bitmaps."""
    kind = entry.get("geometryType") or "polygon"
    points = entry.get("points")
    outline = points.get("exterior") if isinstance(points, dict) else None
    if kind not in ("rectangle", "polygon") or not isinstance(outline, list):
        return None
    return box_around([numbers(point, 2) for point in outline])
