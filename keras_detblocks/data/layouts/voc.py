"""Pascal VOC XML (http://host.robots.ox.ac.uk/pascal/VOC/), one file per picture, as in VOC's own
folders and as written by LabelImg, Roboflow, CVAT, Label Studio and FiftyOne.

VOC counts pixels from 1 and includes the last one, so that a box is (xmin - 1, ymin - 1, xmax,
ymax) in our coordinates. Some tools count from 0: one box that begins at 0 is the sign, and holds
for the whole set.
"""

import math
import os
import re
from functools import partial

from .. import split_names
from ..account import ASSUMED, REPAIRED
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import flag, number, read_head, read_text, read_xml, size_of
from ..pictures import split_suffix, stem_of
from ..shapes import box_of_rotated
from .voc_lists import image_lists, listed_names

NAME = "Pascal VOC"
LOOKED_FOR = (
    "Pascal VOC: .xml files with <annotation>, in Annotations/ with ImageSets/Main/SPLIT.txt, in "
    "SPLIT/, or beside the pictures"
)
_ROOT = re.compile(r"<annotation[\s>]")
_LOOKED_AT = 50
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_PICTURE_FOLDERS = ("JPEGImages", "images", "Images", "data", "")


def find(tree):
    """Split name -> reader."""
    files = tree.of(".xml")
    step = max(1, len(files) // _LOOKED_AT)
    if tree.is_file or not any(_ROOT.search(read_head(path)) for path in files[::step]):
        return _empty_folder(tree)
    home = _home(tree, files)
    files = [path for path in files if path.startswith(f"{home}/")]
    lists = image_lists(home)
    if lists:
        return {s: partial(read, tree, home, files, files, p) for s, p in lists.items()}
    parts = {}
    for path in files:
        parts.setdefault(split_names.of_folder(path, home), []).append(path)
    return {s: partial(read, tree, home, files, part) for s, part in parts.items()}


def _empty_folder(tree):
    """Whether there is a folder Annotations with nothing in it, which is VOC's all the same."""
    folder = os.path.join(tree.root, "Annotations")
    if tree.is_file or not os.path.isdir(folder) or tree.of(".xml"):
        return {}

    def nothing():
        raise DatasetError(
            f"{folder}: expected XML files in it; found none. Is this the folder of the data set?"
        )

    return dict.fromkeys(image_lists(tree.root) or [None], nothing)


def _home(tree, files):
    """The folder of the data set; VOC's own archives put it two levels down: VOCdevkit/VOC2012."""
    homes = {os.path.dirname(f) for p in files if (f := _annotations_folder(p))}
    homes = {home for home in homes if home == tree.root or home.startswith(f"{tree.root}/")}
    if tree.root in homes or not homes:
        return tree.root
    if len(homes) > 1:
        split_folders = {os.path.basename(home).lower() for home in homes} <= split_names.NAMES
        if split_folders:
            return tree.root
        found = ", ".join(sorted(homes))
        raise DatasetError(
            f"{tree.path}: expected one Pascal VOC folder; found {found}. Name one of them."
        )
    (home,) = homes
    return tree.root if os.path.basename(home).lower() in split_names.NAMES else home


def _annotations_folder(path):
    """The folder called Annotations that holds a file; None if none does."""
    folder = os.path.dirname(path)
    while folder not in ("", "/"):
        if os.path.basename(folder).lower() == "annotations":
            return folder
        folder = os.path.dirname(folder)
    return None


def read(tree, home, files, part, image_list=None):
    """The `Annotations` of one split.

    Args:
        tree: the `Tree`.
        home: folder of the data set.
        files: all annotation files: the classes are those of all splits.
        part: the files of this split; of these, the ones named in `image_list` if that is given.
    """
    source = f"{home} ({stem_of(image_list)})" if image_list else home
    found = Annotations([], Objects(), [], [], _pictures(tree, home), source, one_based=True)
    trees = _parse_all(found, files)
    labels = found.name_classes(_class_names(home, trees))
    for path in _chosen(found, trees, part, image_list):
        _read_one(found, path, trees[path], labels)
    from_zero = [p for p, root in trees.items() if any(map(_begins_at_0, root.iter("object")))]
    found.one_based = not from_zero
    reason = "annotation file with a box from 0 on (the whole set counts pixels from 0, not from 1)"
    found.skipped.add_many(reason, len(from_zero), iter(from_zero), ASSUMED)
    return found


def _pictures(tree, home):
    return tree.pictures(*(f"{home}/{part}" if part else home for part in _PICTURE_FOLDERS))


def _parse_all(found, files):
    """Returns path -> root of the XML tree for all annotations that can be read."""
    trees = {}
    for path in files:
        try:
            root = read_xml(path)
        except (ValueError, OSError, MemoryError, RecursionError) as error:
            found.skipped.add("annotation file that does not parse", f"{path}: {error}")
            continue
        if root.tag == "annotation":
            trees[path] = root
        else:
            found.skipped.add("XML file that is not a VOC annotation", f"{path}: <{root.tag[:80]}>")
    return trees


def _class_names(home, trees):
    """The class names in the order of CVAT's labelmap.txt if there is one, else sorted."""
    used = {name for root in trees.values() for obj in root.iter("object") if (name := _name(obj))}
    try:
        lines = read_text(f"{home}/labelmap.txt").splitlines()
    except OSError:
        lines = []
    # A name may contain colons; the last three belong to the line.
    listed = [line.rsplit(":", 3)[0].strip() for line in lines if not line.startswith("# label:")]
    listed = [n for n in dict.fromkeys(listed) if n and (n != "background" or n in used)]
    return listed + sorted(used - set(listed))


def _name(obj):
    return (obj.findtext("name") or "").strip()


def _chosen(found, trees, part, image_list):
    """Paths of the annotations of the split, in its order."""
    if image_list is None:
        return [path for path in part if path in trees]
    by_stem = {}
    for path in trees:
        stem = stem_of(path)
        if by_stem.setdefault(stem, path) != path:
            reason = "annotation file of a name that another one has (the first is taken)"
            found.skipped.add(reason, path, ASSUMED)
    chosen = {}
    for name in listed_names(image_list, by_stem):
        path = by_stem.get(name)
        if path is None:
            found.skipped.add("image without an annotation file", f"{name} in {image_list}")
        elif path in chosen:
            found.skipped.add("name that is in its list twice", name, REPAIRED)
        chosen[path] = True
    chosen.pop(None, None)
    return list(chosen)


def _read_one(found, path, root, labels):
    stem = stem_of(path)
    written = (root.findtext("filename") or "").strip()
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    near = os.path.dirname(path)
    owner = len(found.images)
    # The name inside is often out of date and comes second, but for the suffix.
    name = written if split_suffix(os.path.basename(written))[0] == stem else stem
    found.images.append(Annotated(name, stem, size, near, written))
    for obj in root.iter("object"):
        class_name, box = _name(obj), _box(obj)
        if not class_name or box is None:
            reason = "object without a name or a box of four numbers"
            found.skipped.add(reason, f"image {stem}: {class_name or 'no name'}")
            continue
        difficult = flag(obj.findtext("difficult", "0"))
        if difficult is None:
            reason = "difficult that says neither yes nor no (taken as no)"
            found.skipped.add(reason, f"image {stem}: {obj.findtext('difficult')}", ASSUMED)
        found.objects.add(owner, box, labels[class_name], difficult)


def _begins_at_0(obj):
    """Whether a box begins at pixel 0, or is one of roLabelImg's."""
    x0, y0, x1, y1 = (number(obj.findtext(f"bndbox/{side}")) for side in _SIDES)
    real = None not in (x0, y0, x1, y1) and x1 > x0 and y1 > y0
    return (real and 0 in (x0, y0)) or obj.find("robndbox") is not None


def _box(obj):
    """The box xyxy, taken around the polygon if there is no box."""
    box = [number(obj.findtext(f"bndbox/{side}")) for side in _SIDES]
    if None not in box:
        return box
    outline = obj.find("polygon")
    turned = [number(obj.findtext(f"robndbox/{k}")) for k in ("cx", "cy", "w", "h", "angle")]
    if None not in turned:  # roLabelImg's
        x, y, width, height, angle = turned
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return box_of_rotated(box, math.degrees(angle))
    if outline is None:
        return None
    points = {}
    for each in outline.iter():
        if each.tag[:1] in ("x", "y") and (value := number(each.text)) is not None:
            points.setdefault(each.tag[0], []).append(value)
    x, y = points.get("x"), points.get("y")
    return (min(x), min(y), max(x), max(y)) if x and y else None
