"""CVAT's own XML, "CVAT for images": one file with all pictures."""

import os
import re
from functools import partial

from .. import split_names
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, read_head, read_xml, size_of
from .coco_classes import note_alike

NAME = "CVAT XML"
LOOKED_FOR = "CVAT for images: an .xml file with <annotations> and an <image> for each picture"
_ROOT = re.compile(r"<annotations[\s>]")


def find(tree):
    """Split name -> reader."""
    files = [p for p in tree.of(".xml") if _ROOT.search(read_head(p, 4096))][:50]
    named = [
        (split_names.of_file(path, tree.root), path, partial(read, tree, path)) for path in files
    ]
    return {None: named[0][2]} if tree.is_file and named else split_names.unique(named)


def read(tree, path):
    """The `Annotations` of one file."""
    try:
        root = read_xml(path)
    except (ValueError, OSError, MemoryError) as error:
        raise DatasetError(f"{path}: expected CVAT's XML; it does not parse ({error}).") from error
    folder = os.path.dirname(path)
    pictures = tree.pictures(f"{folder}/images", folder or ".")
    found = Annotations([], Objects(), _names(root), [], pictures, path)
    found.category_ids = list(range(len(found.class_names)))
    note_alike(found.class_names, found.skipped)
    labels = {name: i for i, name in enumerate(found.class_names)}
    for image in root.iter("image"):
        name = (image.get("name") or "").strip()
        if not name:
            found.skipped.add("image entry without a name", str(image.attrib)[:120])
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
    """In the order of the job's labels, then those that only objects have."""
    stated = [(e.findtext("name") or "").strip() for e in root.iter("label")]
    used = sorted(
        {(s.get("label") or "").strip() for image in root.iter("image") for s in image if _box(s)}
    )
    return [name for name in dict.fromkeys([*stated, *used]) if name]


def _box(shape):
    if shape.tag == "box":
        box = [number(shape.get(side)) for side in ("xtl", "ytl", "xbr", "ybr")]
        return None if None in box else box
    points = [p.split(",") for p in (shape.get("points") or "").split(";")]
    points = [[number(v) for v in p] for p in points if len(p) == 2]
    if shape.tag != "polygon" or len(points) < 3 or any(None in p for p in points):
        return None
    x, y = zip(*points)
    return min(x), min(y), max(x), max(y)
