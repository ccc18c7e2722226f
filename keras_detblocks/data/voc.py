"""Reads Pascal VOC folders (http://host.robots.ox.ac.uk/pascal/VOC/): Annotations/*.xml,
JPEGImages/, ImageSets/Main/*.txt.

VOC counts pixels from 1 and includes the last one, so that a box is (xmin - 1, ymin - 1, xmax,
ymax) in our coordinates.
"""

import pathlib
from xml.etree import ElementTree

from .dataset import DatasetError, Skipped, finish, make_record

_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp", ".webp")


def is_voc(folder):
    """Whether the folder has VOC's layout."""
    return (pathlib.Path(folder) / "Annotations").is_dir()


def voc_splits(folder):
    """Split name -> path of its list of images; `{None: None}` where there are no lists: all
    annotations are one split."""
    lists = sorted((pathlib.Path(folder) / "ImageSets" / "Main").glob("*.txt"))
    # VOC's own folders hold a list per class too, with a second column.
    return {path.stem: path for path in lists if len(_first_line(path).split()) == 1} or {
        None: None
    }


def read_voc(folder, split=None):
    """Reads one split of a VOC folder.

    Args:
        folder: the folder with `Annotations` in it.
        split: name of a list in `ImageSets/Main`; None reads every annotation file.

    Returns:
        A `Dataset`. The classes are the sorted names in all annotation files, so that every split
        has the same; `category_ids` are 0 to C - 1. Objects marked difficult become crowds: not
        trained on, and ignored in evaluation.

    Raises:
        DatasetError: (a ValueError) no such split, malformed XML, or nothing in it is usable.
    """
    folder = pathlib.Path(folder)
    trees = _parse_all(folder)
    names = sorted({name for tree in trees.values() for name in _names(tree)})
    skipped = Skipped()
    records = [
        _record(folder, image, trees.get(image), names, skipped)
        for image in _images_of(folder, split, trees)
    ]
    return finish(records, names, range(len(names)), skipped, f"{folder} ({split or 'all'})")


def _first_line(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline()


def _parse_all(folder):
    """File name without suffix -> root of the XML tree, of all annotations."""
    trees, broken = {}, []
    for path in sorted((folder / "Annotations").glob("*.xml")):
        try:
            trees[path.stem] = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, OSError, ValueError) as error:
            broken.append(f"{path} ({error})")
    if broken:
        raise DatasetError(
            f"expected VOC XML; {len(broken)} files do not parse: {', '.join(broken[:3])}. Mend "
            f"or remove them."
        )
    if not trees:
        raise DatasetError(
            f"{folder / 'Annotations'}: expected XML files in it; found none. Is this the folder "
            f"of the data set?"
        )
    return trees


def _names(tree):
    names = (found.findtext("name", "").strip() for found in tree.iter("object"))
    return [name for name in names if name]


def _images_of(folder, split, trees):
    if split is None:
        return list(trees)
    lists = voc_splits(folder)
    if split not in lists:
        raise DatasetError(
            f"{folder}: expected one of the splits {', '.join(map(str, lists))}; received "
            f"{split!r}."
        )
    lines = lists[split].read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def _record(folder, image, tree, names, skipped):
    if tree is None:
        skipped.add("image without an annotation file", image)
        return None
    objects = []
    for found in tree.iter("object"):
        name, box = found.findtext("name", "").strip(), _box(found)
        if not name or box is None:
            skipped.add(
                "object without a name or a box of four numbers",
                f"image {image}: {name or 'no name'}",
            )
            continue
        objects.append(
            (box, names.index(name), found.findtext("difficult", "0").strip() == "1", None)
        )
    return make_record(
        _image_file(folder, image, tree), _stated_size(tree), objects, image, skipped
    )


def _box(found):
    try:
        x0, y0, x1, y1 = (
            float(found.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")
        )
    except (TypeError, ValueError):
        return None
    if x1 <= x0 or y1 <= y0:  # a click without a drag, in real annotations; no object of one pixel
        return x0, y0, x1, y1
    return x0 - 1, y0 - 1, x1, y1


def _stated_size(tree):
    """(width, height), None where the file states none (zeros are common)."""
    try:
        width, height = (int(float(tree.findtext(f"size/{key}"))) for key in ("width", "height"))
    except (TypeError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _image_file(folder, image, tree):
    """The image of the annotation file's name; the name written inside is often out of date and
    comes second."""
    names = [image + suffix for suffix in _SUFFIXES] + [tree.findtext("filename", "").strip()]
    paths = [folder / part / name for part in _IMAGE_FOLDERS for name in names if name]
    return next(
        (path for path in paths if path.is_file()), folder / "JPEGImages" / (image + ".jpg")
    )
