"""LabelMe: a JSON file per picture, with shapes made of points
(https://github.com/wkentaro/labelme)."""

import math
import os
from functools import partial

from .. import split_names
from ..annotations import Annotated, Annotations, Objects
from ..parse import numbers, read_json, size_of
from ..pictures import split_suffix, stem_of

NAME = "LabelMe"
LOOKED_FOR = "LabelMe: .json files with shapes and imagePath, one per picture"
_LOOKED_AT = 50
_AREAS = ("rectangle", "polygon", "circle", "mask", "rotation", "")


def find(tree):
    """Split name -> reader."""
    files = [path for path in tree.of(".json")]
    step = max(1, len(files) // _LOOKED_AT)
    if not any(_is_labelme(tree, path) for path in files[::step]):
        return {}
    files = [path for path in files if _is_labelme(tree, path) or _has_picture(path)]
    parts = split_names.by_folder(tree, files)
    return {split: partial(read, tree, files, part) for split, part in parts.items()}


def _is_labelme(tree, path):
    head = tree.json_head(path)
    return "shapes" in head.lists and bool(head.keys & {"imagePath", "shape_type"})


def _has_picture(path):
    """Whether a picture of the same name lies beside it: then it is a broken LabelMe file."""
    stem = os.path.splitext(path)[0]
    return any(os.path.isfile(stem + suffix) for suffix in (".jpg", ".jpeg", ".png", ".JPG"))


def read(tree, files, part):
    """The `Annotations` of one split; the classes are those of all `files`."""
    found = Annotations([], Objects(), [], [], tree.pictures(), tree.root)
    chosen, used, contents = set(part), set(), {}
    for path in files:
        content = _parsed(path, found if path in chosen else None)
        if content is None:
            continue
        used |= {name for shape in _shapes(content) if (name := _label(shape))}
        if path in chosen:
            contents[path] = content
    labels = found.name_classes(sorted(used))
    for path, content in contents.items():
        _read_one(found, path, content, labels)
    return found


def _parsed(path, found):
    """The parts of a file that are needed, without the picture in it; None if it is not
    LabelMe's."""
    try:
        content = read_json(path)
    except (ValueError, OSError, MemoryError) as error:
        if found:
            found.skipped.add("annotation file that does not parse", f"{path}: {error}")
        return None
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        if found:
            found.skipped.add("JSON file that is not a LabelMe annotation", path)
        return None
    wanted = ("shapes", "imagePath", "imageWidth", "imageHeight")
    return {name: content.get(name) for name in wanted}


def _shapes(content):
    return [shape for shape in content["shapes"] if isinstance(shape, dict)]


def _label(shape):
    label = shape.get("label")
    return str(label).strip() if isinstance(label, (str, int)) else ""


def _read_one(found, path, content, labels):
    stem = stem_of(path)
    written = content["imagePath"] if isinstance(content["imagePath"], str) else ""
    size = size_of(content["imageWidth"], content["imageHeight"])
    name = written if written and split_suffix(written)[1] else stem
    owner = len(found.images)
    found.images.append(Annotated(name, stem, size, os.path.dirname(path), stem))
    for shape in content["shapes"]:
        label = _label(shape) if isinstance(shape, dict) else ""
        box = _box(shape) if label else None
        if box is None:
            found.skipped.add("shape without a label or an extent", f"{path}: {str(shape)[:100]}")
        else:
            found.objects.add(owner, box, labels[label])


def _box(shape):
    """The box xyxy around a shape; None for points, lines and anything else without an area."""
    kind = shape.get("shape_type") or ""
    points = shape.get("points")
    points = [numbers(p, 2) for p in points] if isinstance(points, list) else []
    if kind not in _AREAS or len(points) < 2 or None in points:
        return None
    if kind == "circle":
        (x, y), (x1, y1) = points[:2]
        radius = math.hypot(x1 - x, y1 - y)
        return x - radius, y - radius, x + radius, y + radius
    x, y = zip(*points)
    return min(x), min(y), max(x), max(y)
