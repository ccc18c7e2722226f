"""VGG Image Annotator (https://www.robots.ox.ac.uk/~vgg/software/via/): regions by picture, as
JSON, as a whole project, or as CSV with JSON in its cells."""

import csv
import io
import json
import os
from functools import partial

from .. import split_names
from ..account import ASSUMED
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, read_head, read_json, read_text
from ..shapes import box_around

NAME = "VIA"
LOOKED_FOR = "VIA: a .json or .csv file with regions, their shape_attributes and region_attributes"
_SHAPES, _CLASSES = "region_shape_attributes", "region_attributes"
# Names of the attribute that holds the class, the most likely first; else the only attribute.
_CLASS = ("class", "label", "name", "type", "category", "object", "species")


def find(tree):
    """Split name -> reader."""
    files = [p for p in tree.of(".json") if "shape_attributes" in tree.json_head(p).keys]
    files += [p for p in tree.of(".csv") if _SHAPES in read_head(p, 4096).partition("\n")[0]]
    parts = split_names.by_file(tree, files)
    return {split: partial(read, tree, path, files) for split, path in parts.items()}


def read(tree, path, files):
    """The `Annotations` of one file; the classes are those of all `files`."""
    try:
        contents = {each: _entries(each) for each in files}
    except (ValueError, OSError, MemoryError, csv.Error) as error:
        raise DatasetError(f"{path}: expected regions; it does not parse ({error}).") from error
    folder = os.path.dirname(path) or "."
    found = Annotations([], Objects(), [], [], tree.pictures(folder), path)
    regions = [region for entries in contents.values() for _, some in entries for region in some]
    attribute = _class_attribute(regions)
    names = sorted({name for r in regions if (name := _label(r, attribute))})
    labels = found.name_classes(names or ["object"])
    if not names:
        reason = "regions without an attribute for the class (one class is assumed)"
        found.skipped.add(reason, path, ASSUMED)
    for name, some in contents[path]:
        for region in some:
            box = _box(region[0])
            label = _label(region, attribute) if names else "object"
            if box is None or not label:
                reason = "region without a class or an extent"
                found.skipped.add(reason, f"{name}: {str(region)[:100]}")
            else:
                found.objects.add(len(found.images), box, labels[label])
        found.images.append(Annotated(name, os.path.splitext(name)[0], None, folder))
    return found


def _entries(path):
    """`(name of the picture, [(shape, attributes)])` of a file."""
    if path.lower().endswith(".csv"):
        return _rows(path)
    content = read_json(path)
    content = content if isinstance(content, dict) else {}
    content = content.get("_via_img_metadata", content)
    entries = []
    for entry in content.values() if isinstance(content, dict) else ():
        name = entry.get("filename") if isinstance(entry, dict) else None
        if isinstance(name, str) and name.strip():
            regions = entry.get("regions") or []
            regions = regions.values() if isinstance(regions, dict) else regions
            entries.append((name, [_region(r) for r in regions if isinstance(r, dict)]))
    return entries


def _region(region):
    return region.get("shape_attributes"), region.get("region_attributes")


def _rows(path):
    """The same as `_entries`, from a table with one region per line."""
    csv.field_size_limit(1 << 24)
    entries = {}
    for row in csv.DictReader(io.StringIO(read_text(path))):
        name = row.get("filename") or row.get("#filename") or ""
        if name:
            shape, attributes = _parsed(row.get(_SHAPES)), _parsed(row.get(_CLASSES))
            entries.setdefault(name, []).extend([(shape, attributes)] if shape else [])
    return list(entries.items())


def _parsed(text):
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text


def _class_attribute(regions):
    """The attribute that holds the class: by its name, else the most frequent one."""
    counts = {}
    for _, attributes in regions:
        for name in attributes if isinstance(attributes, dict) else ():
            counts[name] = counts.get(name, 0) + 1
    usual = [name for wanted in _CLASS for name in counts if name.lower() == wanted]
    return next(iter(usual), max(counts, key=counts.get, default=None))


def _label(region, attribute):
    """The class of a region, or the only box that is ticked; "" if it has none."""
    value = region[1].get(attribute) if isinstance(region[1], dict) else None
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on in (True, "true", 1)]
        value = ticked[0] if len(ticked) == 1 else ""
    return str(value).strip() if isinstance(value, (str, int)) else ""


def _box(shape):
    """The box xyxy around a shape; None for points, lines and anything else without an area."""
    if not isinstance(shape, dict):
        return None
    kind = shape.get("name")
    if kind in ("polygon", "polyline"):
        axes = [shape.get(f"all_points_{axis}") for axis in "xy"]
        if kind == "polyline" or not all(isinstance(axis, list) for axis in axes):
            return None
        return box_around([tuple(map(number, point)) for point in zip(*axes)])
    keys = {
        "rect": ("x", "y", "width", "height"),
        "circle": ("cx", "cy", "r", "r"),
        "ellipse": ("cx", "cy", "rx", "ry"),
    }.get(kind)
    values = [number(shape.get(key)) for key in keys] if keys else [None]
    if None in values:
        return None
    a, b, c, d = values
    return (a, b, a + c, b + d) if kind == "rect" else (a - c, b - d, a + c, b + d)
