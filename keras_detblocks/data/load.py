"""Finds out, by evidence, what a path holds, and reads it."""

from ..checks import check_choice, check_path, look_up
from .account import ASSUMED
from .clean import cleaned
from .dataset import merge
from .errors import DatasetError
from .frames import CONVENTIONS
from .layouts import (
    coco,
    createml,
    csv,
    cvat,
    fiftyone,
    keras_txt,
    kitti,
    label_studio,
    labelme,
    supervisely,
    via,
    voc,
    yolo,
)
from .parse import without_collector
from .tree import Tree

# In this order: the first one with evidence reads.
LAYOUTS = (
    *(coco, voc, yolo, cvat, label_studio, createml, labelme, supervisely, fiftyone, via),
    *(keras_txt, csv, kitti),
)
# What messages recommend for files that cannot be read.
_HINTS = {
    ".zip": "Unpack the archive.",
    ".tar": "Unpack the archive.",
    ".gz": "Unpack the archive.",
    ".7z": "Unpack the archive.",
    ".rar": "Unpack the archive.",
    ".tfrecord": "TFRecords go through `tf.data` (see docs), or export COCO instead.",
    ".record": "TFRecords go through `tf.data` (see docs), or export COCO instead.",
    ".parquet": "Bring Parquet and Arrow through `data.from_records`, or export COCO instead.",
    ".arrow": "Bring Parquet and Arrow through `data.from_records`, or export COCO instead.",
    ".jsonl": "Bring JSON lines through `data.from_records`, or export COCO instead.",
}


def splits(path, layout=None, images=None):
    """Names of the splits that the data set at `path` holds, such as `("train", "val")`; `(None,)`
    where it is not split. `layout` and `images` as in `load`."""
    return tuple(_readers(Tree(path, _folder(images)), layout)[0])


def load(path, split=None, images=None, exif="evidence", layout=None, **limits):
    """Reads a data set, whatever its layout.

    Args:
        path: a folder, or a COCO, Label Studio or Create ML JSON file, a YOLO data.yaml, a CSV
            table, a CVAT XML file.
        split: name of the split, one of `splits(path)`, or several joined by "+", such as
            "train+val". It may be left out where there is only one.
        images: folder of the pictures, if they do not lie beside the annotations.
        exif: what the boxes of pictures with an EXIF orientation were drawn on: "upright",
            "stored", or "evidence", which decides by the boxes that leave one of the two frames.
        layout: name of the layout in any case, such as "yolo" or "COCO JSON", for folders that hold
            several.
        **limits: `max_pixels`, the largest size of a picture.

    Returns:
        A `Dataset`; its `skipped` says what was skipped, repaired and assumed, `describe()` reports
        on all of it.

    Raises:
        ValueError: another `exif` or `layout`.
        DatasetError: (a ValueError) nothing there can be read, or there is no such split;
            `PicturesNotFound` if annotations were found, but none of their pictures.
    """
    exif = check_choice(exif, "exif", CONVENTIONS)
    tree = Tree(path, _folder(images))
    readers, others = _readers(tree, layout)
    if split is None and len(readers) == 1:
        wanted = list(readers)
    else:
        wanted = [split] if split in list(readers) else str(split).split("+")
    for name in wanted:
        if name not in readers:
            known = ", ".join(map(str, readers))
            raise DatasetError(
                f"{path}: expected one of the splits {known}, or several joined by '+'; received "
                f"split={split!r}."
            )
    with without_collector():
        dataset = merge([cleaned(readers[name](), exif, **limits) for name in wanted])
    if others:
        dataset.skipped.add("layout that was found too and not read", ", ".join(others), ASSUMED)
    reason = "file of macOS beside the real one (._name)"
    dataset.skipped.add_many(reason, len(tree.foreign), iter(tree.foreign))
    return dataset


def _folder(images):
    images = check_path(images, "images", optional=True)
    if images is not None and not images.is_dir():
        raise DatasetError(
            f"expected images to be the folder of the pictures; received {images}, which is none."
        )
    return images


def _readers(tree, layout=None):
    """Returns `({split: function that reads it}, names of other layouts found)`."""
    if not tree.path.exists():
        raise DatasetError(
            f"{tree.path}: it does not exist; expected a data set in one of the layouts "
            f"{_all_names()}."
        )
    layouts = LAYOUTS if layout is None else [_named(layout)]
    if tree.is_file:
        # A JSON file of no other layout is taken for COCO's, whose errors say what is missing.
        layouts = sorted(layouts, key=lambda each: each is coco)
    elif not tree.path.is_dir():
        raise DatasetError(f"{tree.path}: it is neither a file nor a folder.")
    found = {}
    for each in layouts:
        readers = each.find(tree)
        if readers:
            found[each.NAME] = readers
            if tree.is_file:
                break
    if not found:
        raise DatasetError(_nothing_found(tree, layouts))
    first, *others = found
    return found[first], others


def _named(layout):
    """The layout of a name in words, or in one."""
    short = {each.__name__.rpartition(".")[2].replace("_", "-"): each.NAME for each in LAYOUTS}
    name = short.get(str(layout).lower(), layout)
    return look_up({each.NAME: each for each in LAYOUTS}, name, "layout")


def _all_names():
    return ", ".join(each.NAME for each in LAYOUTS)


def _nothing_found(tree, layouts):
    """The message: what is there, what could be read, and what to do."""
    counts = {suffix: len(paths) for suffix, paths in tree.by_suffix.items()}
    there = ", ".join(
        f"{count} {suffix or 'without a suffix'}"
        for suffix, count in sorted(counts.items(), key=lambda each: -each[1])[:6]
    )
    found = f"the files there ({there}) are none of these" if there else "it is empty"
    if len(layouts) == 1:
        return f"{tree.path}: expected {layouts[0].LOOKED_FOR}; {found}."
    remedy = next((_HINTS[suffix] for suffix in counts if suffix in _HINTS), _REMEDY)
    return (
        f"{tree.path}: expected a data set in one of the layouts {_all_names()}; {found}. {remedy}"
    )


_REMEDY = (
    "Export one of these, name the folder that holds pictures and annotations, or bring a format "
    "of your own through `data.from_records`."
)


def read_coco(annotations, images=None):
    """Reads one COCO JSON file: `load(annotations, images=images, layout="COCO JSON")`."""
    return load(annotations, images=images, layout=coco.NAME)


def read_voc(folder, split=None):
    """Reads one split of a VOC folder: `load(folder, split, layout="Pascal VOC")`."""
    return load(folder, split, layout=voc.NAME)
