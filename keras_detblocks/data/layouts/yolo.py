"""YOLO text files, one per picture: `class x y width height` or `class x1 y1 x2 y2 x3 y3 ...` as
shares of the picture, in the arrangements of Ultralytics, Roboflow, CVAT and darknet."""

import os
import re
from functools import partial

from .. import split_names
from ..account import ASSUMED
from ..annotations import Annotated, Annotations, Objects
from ..parse import number, read_head, read_text
from ..pictures import is_picture, split_suffix, stem_of, walk_pictures
from .yolo_config import names_of_file, read_config
from .yolo_lists import read_data_file, read_lists

NAME = "YOLO"
LOOKED_FOR = (
    "YOLO: data.yaml with names and paths, darknet's .data file, or .txt files of `class x y width "
    "height` in labels/ or beside the pictures"
)
_LINE = re.compile(r"^\s*\d+(?:\.0*)?(?:\s+-?[\d.]+(?:[eE][-+]?\d+)?){4,}\s*$")
_NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt", "names.txt")
_NOT_LABELS = (*_NAME_FILES, "train.txt", "val.txt", "test.txt", "readme.txt", "license.txt")
_LABELS = ("labels", "Labels")
_LOOKED_AT = 200


def find(tree):
    """Split name -> reader."""
    config = read_config(tree) or read_data_file(tree)
    if config is None and (tree.is_file or not _has_labels(tree)):
        return {}
    config = config or read_lists(tree)
    if config is not None:
        return {s: partial(read, tree, s, w, config) for s, w in config.splits.items()}
    parts = {}
    root = tree.images or tree.root
    for path in _all_pictures(tree):
        parts.setdefault(split_names.of_folder(path, root), []).append(path)
    return {s: partial(read, tree, s, part, None) for s, part in parts.items()}


def _all_pictures(tree):
    """All pictures of the data set's folder, or of the one given for pictures."""
    return list(walk_pictures([tree.images])) if tree.images else tree.picture_files


def _has_labels(tree):
    """Whether a text file of label lines has a picture, or lies in a folder called labels."""
    texts = [p for p in tree.of(".txt") if os.path.basename(p).lower() not in _NOT_LABELS]
    stems = {split_suffix(os.path.basename(path))[0] for path in _all_pictures(tree)}
    for path in texts[:: max(1, len(texts) // _LOOKED_AT)]:
        of_picture = stem_of(path) in stems
        first = next((line for line in read_head(path, 4096).splitlines() if line.strip()), "")
        if of_picture and _LINE.match(first):
            return True
    return False


def read(tree, split, where, config):
    """The `Annotations` of one split.

    Args:
        tree: the `Tree`.
        split: its name.
        where: paths of pictures, of folders, or of lists of pictures.
        config: the `Config` of data.yaml, or None.
    """
    root = config.root if config else tree.root
    source = f"{config.path if config else root} ({split or 'all'})"
    found = Annotations([], Objects(), [], [], tree.pictures("", root), source, shares=True)
    labels = _Labels(tree)
    if tree.images and config and not config.lists:
        pictures = [path for path in _all_pictures(tree) if _is_of(labels.of(path), split, root)]
    else:
        pictures = _listed(found, where, root)
    names = list(config.names if config else ()) or _names(tree)
    for missing in config.missing if config else ():
        found.skipped.add("split whose pictures are not there", missing, ASSUMED)
    if config is None or config.lists:
        for path in tree.of(".yaml", ".yml"):
            reason = "YAML file without names and paths of splits, or that does not parse"
            found.skipped.add(reason, path)
    if config and config.lists:
        _note_unlisted(found, tree, config, labels)
    highest = _read_all(found, pictures, labels, names, config.keypoints if config else 0)
    found.name_classes(names, highest)
    return found


def _is_of(text_file, split, root):
    """Whether a label file belongs to a split by its folder, or to no split."""
    if text_file is None:
        return False
    folder = split_names.of_folder(text_file, root)
    aliases = (split_names.TRAINING, split_names.VALIDATION, split_names.TEST)
    alike = next((a for a in aliases if str(split).lower() in a), (str(split).lower(),))
    return folder is None or folder.lower() in alike


def _names(tree):
    for wanted in _NAME_FILES:
        for path in tree.files:
            if os.path.basename(path).lower() == wanted:
                return names_of_file(path)
    return []


def _listed(found, where, root):
    """Paths of pictures from folders, from lists, and named directly."""
    pictures = []
    for path in where:
        if os.path.isdir(path):
            pictures += walk_pictures([path])
        elif is_picture(os.path.basename(path)):
            pictures.append(path)
        else:
            pictures += _of_list(found, path, root)
    unique = list(dict.fromkeys(pictures))
    repeated = len(pictures) - len(unique)
    reason = "picture that is in its list twice"
    found.skipped.add_many(reason, repeated, iter([str(where)[:120]]))
    return unique


def _of_list(found, path, root):
    try:
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except OSError as error:
        found.skipped.add("list of pictures that cannot be read", f"{path}: {error}")
        return []
    near = os.path.dirname(path)
    return [_of_line(found, line, near, root) for line in lines]


def _note_unlisted(found, tree, config, labels):
    """Reports pictures with labels that appear in no split's list."""
    lines = [line for paths in config.splits.values() for p in paths for line in _lines_of(p)]
    listed = {_stem(line.replace("\\", "/")) for line in lines}
    left = [p for p in tree.picture_files if _stem(p) not in listed and labels.of(p)]
    found.skipped.add_many("picture with labels that is in no list", len(left), iter(left))


def _lines_of(path):
    return [] if os.path.isdir(path) else names_of_file(path)


def _stem(path):
    return split_suffix(os.path.basename(path))[0]


def _of_line(found, line, near, root):
    """The file that a line of a list names; CVAT and darknet write `data/` before names in the
    folder."""
    forms = ((line, near), (line.removeprefix("./").removeprefix("data/"), root))
    ways = [found.pictures.find(*form) for form in forms]
    full, how = min(ways, key=lambda way: (way[0] is None, way[1] is not None))
    if how:
        found.skipped.add(how, f"{line}: {full}", ASSUMED)
    return full or line


def _read_all(found, pictures, labels, names, keypoints):
    """Adds images and objects; returns the largest class number."""
    highest = -1
    for path in pictures:
        owner = len(found.images)
        stem = split_suffix(os.path.basename(path))[0]
        found.images.append(Annotated(path, stem))
        text_file = labels.of(path)
        if text_file is None:
            found.skipped.add("picture without a label file (taken as empty)", path, ASSUMED)
            continue
        for box, label in _boxes(found, text_file, len(names), keypoints):
            highest = max(highest, label)
            found.objects.add(owner, box, label)
    return highest


class _Labels:
    """Finds the label file of a picture, in its own folder or in the folder labels beside
    images."""

    def __init__(self, tree):
        texts = [] if tree.is_file else tree.of(".txt")
        self.known = set(texts)
        self.by_stem = {}
        for path in texts:
            stem = stem_of(path)
            self.by_stem.setdefault(stem, []).append(path)

    def of(self, path):
        folder, name = os.path.split(path)
        stem = split_suffix(name)[0]
        for place in _label_folders(folder):
            text_file = f"{place}/{stem}.txt"
            if text_file in self.known or os.path.isfile(text_file):
                return text_file
        only = self.by_stem.get(stem, ())
        return only[0] if len(only) == 1 else None


def _label_folders(folder):
    """Candidates for `a/images/b`: `a/labels/b`, the folder itself, labels/ in it and beside it."""
    parts = folder.split("/")
    places = [i for i, part in enumerate(parts) if part.lower() in ("images", "jpegimages", "imgs")]
    for k in places[-1:]:
        yield from ("/".join([*parts[:k], name, *parts[k + 1 :]]) for name in _LABELS)
    yield folder
    for place in (folder, os.path.dirname(folder)):
        yield from (f"{place}/{name}" for name in _LABELS)


def _boxes(found, path, num_classes, keypoints):
    """Yields `(xyxy shares, label)` for each line of a label file."""
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        found.skipped.add("label file that cannot be read", f"{path}: {error}")
        return
    for i, line in enumerate(lines, start=1):
        values = line.split()
        if not values:
            continue
        where = f"{path}, line {i}: {line[:80]}"
        numbers = [number(value) for value in values]
        if None in numbers or len(numbers) < 5:
            found.skipped.add("line that is not a class and a box", where)
        elif numbers[0] < 0 or numbers[0] != int(numbers[0]):
            found.skipped.add("class that is not a number from 0 on", where)
        elif num_classes and numbers[0] >= num_classes:
            found.skipped.add("class number beyond the names", where)
        elif (box := _box(numbers[1:], keypoints)) is None:
            found.skipped.add("line with a number of columns that no box or polygon has", where)
        elif min(box) < -0.5 or max(box) > 1.5:
            found.skipped.add("box that is not in shares of the picture (0 to 1)", where)
        else:
            if len(numbers) == 6:
                found.skipped.add("sixth number of a line (taken as a score)", where, ASSUMED)
            yield box, int(numbers[0])


def _box(values, keypoints):
    """The box xyxy from center and sides (perhaps followed by a score or points), or around a
    polygon."""
    count = len(values)
    if count == 5 and not 0 <= values[4] <= 1:
        return None  # an angle, which Ultralytics' labels never have
    if count in (4, 5) or (keypoints and count == 4 + keypoints):
        x, y, width, height = values[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if count >= 6 and count % 2 == 0:
        return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    return None
