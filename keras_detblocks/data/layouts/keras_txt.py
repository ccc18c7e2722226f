"""One text file for all pictures, `picture x1,y1,x2,y2,class x1,y1,x2,y2,class ...` in pixels, as
the Keras and PyTorch ports of YOLOv3 and v4 read and Roboflow exports it."""

import os
import re
from functools import partial

from .. import split_names
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import number, read_head, read_text
from ..pictures import is_picture, split_suffix, stem_of
from .yolo_config import names_of_file

NAME = "Keras TXT"
LOOKED_FOR = "Keras TXT: a .txt file of lines `picture x1,y1,x2,y2,class ...`, and _classes.txt"
_LINE = re.compile(r"^(?P<name>\S.*?)(?P<boxes>(?:\s+[^\s,]+(?:,[^\s,]+){4})*)\s*$")
_LOOKED_AT = 200
_NAME_FILES = ("_classes.txt", "classes.txt")


def find(tree):
    """Split name -> reader."""
    stems = {split_suffix(os.path.basename(path))[0] for path in tree.picture_files}
    files = [p for p in tree.of(".txt") if stem_of(p) not in stems]
    files = [path for path in files[:_LOOKED_AT] if _is_table(path)]
    return {s: partial(read, tree, path) for s, path in split_names.by_file(tree, files).items()}


def _is_table(path):
    """Whether most lines begin with a picture, and boxes follow in at least one."""
    text = read_head(path)
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    found = [match for line in lines if (match := _LINE.match(line))]
    found = [match for match in found if is_picture(os.path.basename(match["name"]))]
    return 2 * len(found) > len(lines) and any(match["boxes"] for match in found)


def read(tree, path):
    """The `Annotations` of one file."""
    folder = os.path.dirname(path) or "."
    found = Annotations([], Objects(), [], [], tree.pictures(folder), path)
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise DatasetError(f"{path}: expected a text file; it cannot be read ({error}).") from error
    names = next(filter(None, (names_of_file(f"{folder}/{name}") for name in _NAME_FILES)), [])
    highest = -1
    for line in filter(str.strip, lines):
        match = _LINE.match(line)
        if not match or not is_picture(os.path.basename(match["name"])):
            found.skipped.add("line without the name of a picture", line)
            continue
        owner = len(found.images)
        image_id = split_suffix(match["name"])[0]
        found.images.append(Annotated(match["name"], image_id, None, folder))
        for box in match["boxes"].split():
            values = [number(value) for value in box.split(",")]
            if None in values or values[4] != int(values[4]) or values[4] < 0:
                found.skipped.add("box that is not four numbers and a class", line)
            elif names and values[4] >= len(names):
                found.skipped.add("class number beyond the names", line)
            else:
                highest = max(highest, int(values[4]))
                found.objects.add(owner, values[:4], int(values[4]))
    found.name_classes(names, highest)
    return found
