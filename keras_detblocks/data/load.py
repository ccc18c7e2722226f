"""Finds out what a path holds and reads it."""

import pathlib
from functools import partial

from .coco import read_coco
from .dataset import DatasetError, merge
from .voc import is_voc, read_voc, voc_splits

_LAYOUTS = (
    "a COCO JSON file; a folder with annotations/instances_SPLIT.json and images in SPLIT/, "
    "images/SPLIT/ or images/; "
    "a folder with SPLIT/_annotations.coco.json; a Pascal VOC folder with Annotations/, "
    "JPEGImages/ and ImageSets/Main/SPLIT.txt"
)


def splits(path):
    """Names of the splits that a data set holds, such as `("train", "val")`; `(None,)` where it is
    not split."""
    return tuple(_readers(pathlib.Path(path)))


def load(path, split=None, images=None):
    """Reads a data set, whatever its layout.

    Args:
        path: a COCO JSON file, or a folder in one of the common COCO layouts or in Pascal VOC's.
        split: name of the split, one of `splits(path)`, or several joined by "+", such as
            "train+val". It may be left out where there is only one.
        images: folder of the pictures of a COCO JSON file, where they do not lie beside it.

    Returns:
        A `Dataset`; its `skipped` says what in it could not be used, `describe()` tells all about
        it.

    Raises:
        DatasetError: (a ValueError) nothing there that can be read, or no such split.
    """
    readers = _readers(pathlib.Path(path))
    if images is not None:
        if None not in readers or split is not None:
            raise DatasetError(
                f"{path}: `images` is for a single COCO JSON file. Received: images={images!r}, "
                f"split={split!r}"
            )
        return read_coco(path, images)
    if split is None and len(readers) == 1:
        return next(iter(readers.values()))()
    wanted = [split] if split in readers else str(split).split("+")
    for name in wanted:
        if name not in readers:
            known = ", ".join(map(str, readers))
            raise DatasetError(
                f"{path}: expected one of the splits {known}, or several joined by '+'; received "
                f"split={split!r}."
            )
    return merge([readers[name]() for name in wanted])


def _readers(path):
    """Split name -> a function that reads it."""
    if path.is_file() and path.suffix.lower() == ".json":
        return {None: partial(read_coco, path)}
    if not path.is_dir():
        what = "it is another kind of file" if path.exists() else "it does not exist"
        raise DatasetError(f"{path}: {what}; expected a data set: {_LAYOUTS}.")
    for reader in (_coco_readers, _voc_readers):
        found = reader(path)
        if found:
            return found
    raise DatasetError(f"{path}: expected a data set; found none of the known layouts: {_LAYOUTS}.")


def _voc_readers(path):
    """VOC's own archives put the folder two levels down: VOCdevkit/VOC2012."""
    folders = [
        folder
        for folder in (path, *sorted(path.glob("*")), *sorted(path.glob("VOCdevkit/*")))
        if is_voc(folder)
    ]
    if not folders:
        return {}
    if len(folders) > 1 and folders[0] != path:
        found = ", ".join(map(str, folders))
        raise DatasetError(
            f"{path}: expected one Pascal VOC folder; found {found}. Name one of them."
        )
    return {split: partial(read_voc, folders[0], split) for split in voc_splits(folders[0])}


def _coco_readers(path):
    files = {}
    for file in sorted([*path.glob("*.json"), *path.glob("annotations/*.json")]):
        if _looks_like_coco(file):
            files[
                file.stem.removeprefix("instances_").removeprefix("_annotations.coco") or None
            ] = file
    for file in sorted(path.glob("*/_annotations.coco.json")):
        files[file.parent.name] = file
    return {split: partial(read_coco, file) for split, file in files.items()}


def _looks_like_coco(file):
    """COCO's own annotation folder holds captions and keypoints too; a file of settings is no COCO
    file."""
    if file.stem.startswith(
        ("captions_", "person_keypoints_", "panoptic_", "image_info_", "stuff_")
    ):
        return False
    with open(file, "rb") as opened:
        head = opened.read(1 << 16)
    return (
        b'"images"' in head
        or b'"annotations"' in head
        or b'"categories"' in head
        or file.stem.startswith("instances_")
    )
