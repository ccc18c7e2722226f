"""CVAT's own XML, "CVAT for images": one file with all pictures."""

import os
import re
from functools import partial

from .. import split_names
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, read_head, read_xml, size_of
from ..shapes import box_around, box_of_rotated

NAME = "CVAT XML"
LOOKED_FOR = "CVAT for images: an .xml file with <annotations> and an <image> for each picture"
_ROOT = re.compile(r"<annotations[\s>]")


def find(tree):
    """Split name -> reader."""
    files = [p for p in tree.of(".xml") if _ROOT.search(read_head(p, 4096))][:50]
    if len(files) == 1 and len(subsets := _subsets(files[0])) > 1:
        return {s: partial(read, tree, files[0], s) for s in subsets}
    return {s: partial(read, tree, path) for s, path in split_names.by_file(tree, files).items()}


def _subsets(path):
    """CVAT's names for the parts of a task, in the order of its pictures."""
    try:
        root = read_xml(path)
    except (ValueError, OSError, MemoryError):
        return []
    return list(dict.fromkeys(image.get("subset") or "default" for image in root.iter("image")))


def read(tree, path, subset=None):
    """The `Annotations` of one file, or of one subset of its pictures."""
    try:
        root = read_xml(path)
    except (ValueError, OSError, MemoryError) as error:
        raise DatasetError(f"{path}: expected CVAT's XML; it does not parse ({error}).") from error
    if root.find(".//track") is not None and root.find(".//image") is None:
        raise DatasetError(
            f"{path}: expected CVAT's XML with an <image> for each picture; received tracks of a "
            "video. Export the task as 'CVAT for images' or 'COCO', with its pictures."
        )
    folder = os.path.dirname(path) or "."
    places = [f"{folder}/images", folder]
    places = [f"{folder}/images/{subset}", f"{folder}/{subset}", *places] if subset else places
    pictures = tree.pictures(*places)
    found = Annotations([], Objects(), [], [], pictures, path)
    labels = found.name_classes(_names(root))
    for image in root.iter("image"):
        name = (image.get("name") or "").strip()
        if not name:
            found.skipped.add("image entry without a name", str(image.attrib)[:120])
            continue
        if subset not in (None, image.get("subset") or "default"):
            continue
        owner = len(found.images)
        size = size_of(image.get("width"), image.get("height"))
        found.images.append(Annotated(name, image.get("id") or name, size, folder))
        for shape in image:
            label, box = (shape.get("label") or "").strip(), _box(shape)
            if label in labels and box is not None:
                found.objects.add(owner, box, labels[label])
            elif shape.tag != "tag":
                found.skipped.add("shape without a label or an extent", f"{name}: <{shape.tag}>")
    return found


def _names(root):
    """Class names in the order of the job's labels, then those that only occur on objects."""
    stated = [(e.findtext("name") or "").strip() for e in root.iter("label")]
    used = sorted(
        {(s.get("label") or "").strip() for image in root.iter("image") for s in image if _box(s)}
    )
    return [name for name in dict.fromkeys([*stated, *used]) if name]


def _box(shape):
    """The box xyxy around a shape; None for points, lines and anything else without an area."""
    if shape.tag == "polygon":
        points = [p.split(",") for p in (shape.get("points") or "").split(";")]
        points = [[number(v) for v in p] for p in points if len(p) == 2]
        return box_around(points) if len(points) > 2 else None
    if shape.tag not in _SIDES:
        return None
    values = [number(shape.get(side)) for side in _SIDES[shape.tag]]
    if None in values:
        return None
    a, b, c, d = values
    box = {
        "box": (a, b, c, d),
        "ellipse": (a - c, b - d, a + c, b + d),
        "mask": (a, b, a + c, b + d),
    }[shape.tag]
    return box_of_rotated(box, number(shape.get("rotation")) or 0)


_SIDES = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "mask": ("left", "top", "width", "height"),
}
