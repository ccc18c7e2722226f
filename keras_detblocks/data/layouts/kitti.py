"""Text files, one per picture, with class names and pixels: KITTI's (`class truncated occluded
alpha x1 y1 x2 y2 ...`), DOTA's (`x1 y1 ... x4 y4 class difficult`) and those of the OpenImages
downloader (`class x1 y1 x2 y2`)."""

import os
from functools import partial

from .. import split_names
from ..account import ASSUMED
from ..annotations import Annotated, Annotations, Objects
from ..parse import number, read_head, read_text
from ..pictures import split_suffix, stem_of
from ..shapes import box_around

NAME = "KITTI or DOTA text"
LOOKED_FOR = (
    "KITTI, DOTA: .txt files, one per picture, of `class truncated occluded alpha x1 y1 x2 y2 ...` "
    "or `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`"
)
_REGION = "dontcare"  # KITTI's: objects in such a region count neither as missed nor as false
_LOOKED_AT = 50


def find(tree):
    """Split name -> reader."""
    stems = {split_suffix(os.path.basename(path))[0] for path in tree.picture_files}
    files = [path for path in tree.of(".txt") if stem_of(path) in stems]
    step = max(1, len(files) // _LOOKED_AT)
    shown = [read_head(path, 4096) for path in files[::step]]
    lines = [line for text in shown for line in text.splitlines()]
    lines = [line for line in lines if line.strip() and not _is_head(line)]
    if not lines or sum(_object(line) is not None for line in lines) < 0.5 * len(lines):
        return {}
    parts = split_names.by_folder(tree, files)
    return {split: partial(read, tree, files, part) for split, part in parts.items()}


def read(tree, files, part):
    """The `Annotations` of one split; the classes are those of all `files`."""
    found = Annotations([], Objects(), [], [], tree.pictures(), tree.root)
    chosen, rows, used = set(part), [], set()
    for path in files:
        try:
            lines = read_text(path).splitlines()
        except OSError as error:
            found.skipped.add("label file that cannot be read", f"{path}: {error}")
            continue
        objects = [(line, _object(line)) for line in lines if line.strip() and not _is_head(line)]
        used |= {made[0] for _, made in objects if made and made[0].lower() != _REGION}
        if path in chosen:
            rows.append((path, objects))
    labels = found.name_classes(sorted(used))
    for path, objects in rows:
        found.images.append(Annotated(stem_of(path), stem_of(path), None, os.path.dirname(path)))
        for line, made in objects:
            _add(found, labels, path, line, made)
    return found


def _add(found, labels, path, line, made):
    if made is None:
        found.skipped.add("line that is not a class and a box", f"{path}: {line[:80]}")
    elif made[0].lower() == _REGION:
        # A region without a class is a crowd of every class.
        found.skipped.add("DontCare region (ignored for every class)", f"{path}: {line}", ASSUMED)
        for label in labels.values():
            found.objects.add(len(found.images) - 1, made[1], label, crowd=True)
    else:
        found.objects.add(len(found.images) - 1, made[1], labels[made[0]], made[2])


def _is_head(line):
    """Whether it is one of DOTA's first lines: `imagesource:GoogleEarth`, `gsd:0.146`."""
    return line.partition(":")[0].strip().lower() in ("imagesource", "gsd")


def _object(line):
    """Returns `(class, xyxy, difficult)` of a line; None if it is not an object."""
    cells = line.split()
    values = [number(cell) for cell in cells]
    if len(cells) in (15, 16) and values[0] is None and None not in values[1:15]:
        return cells[0], tuple(values[4:8]), False
    if len(cells) in (9, 10) and None not in values[:8] and values[8] is None:
        box = box_around(list(zip(values[:8:2], values[1:8:2])))
        return cells[8], box, len(cells) == 10 and values[9] not in (None, 0)
    words = next((i for i, value in enumerate(values) if value is not None), 0)
    if words and len(cells) == words + 4 and None not in values[words:]:
        return " ".join(cells[:words]), tuple(values[words:]), False
    return None
