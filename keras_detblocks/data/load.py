"""Finds out what a path holds and reads it."""

import pathlib
from dataclasses import dataclass

from .coco import read_coco
from .dataset import DatasetError

_LAYOUTS = (
    "a COCO JSON file; a folder with annotations/instances_SPLIT.json and images in SPLIT/, images/SPLIT/ or images/; "
    "a folder with SPLIT/_annotations.coco.json"
)


@dataclass(frozen=True)
class _Source:
    """One split of a data set on disk, and how to read it."""

    read: object
    path: pathlib.Path

    def __call__(self):
        return self.read(self.path)


def splits(path):
    """Names of the splits that a data set folder holds, such as `("train", "val")`; `(None,)` for a single COCO JSON file."""
    return tuple(_sources(pathlib.Path(path)))


def load(path, split=None):
    """Reads a data set, whatever its layout.

    Args:
        path: a COCO JSON file, or a folder in one of the common COCO layouts.
        split: name of the split, one of `splits(path)`; may be left out where there is only one.

    Raises:
        DatasetError: (a ValueError) nothing there that can be read, or no such split.
    """
    sources = _sources(pathlib.Path(path))
    if split is None and len(sources) == 1:
        return next(iter(sources.values()))()
    if split not in sources:
        raise DatasetError(f"{path}: expected one of the splits {', '.join(map(str, sources))}; received split={split!r}.")
    return sources[split]()


def _sources(path):
    """Split name -> `_Source`."""
    if path.is_file() and path.suffix.lower() == ".json":
        return {None: _Source(read_coco, path)}
    if not path.is_dir():
        raise DatasetError(
            f"{path}: expected a data set ({_LAYOUTS}); {'it is another file' if path.exists() else 'it does not exist'}."
        )
    found = _coco_folder(path)
    if not found:
        raise DatasetError(f"{path}: expected {_LAYOUTS}; found none of them in this folder.")
    return found


def _coco_folder(path):
    files = {}
    for file in sorted([*path.glob("*.json"), *path.glob("annotations/*.json")]):
        if _looks_like_coco(file):
            files[file.stem.removeprefix("instances_").removeprefix("_annotations.coco") or None] = file
    for file in sorted(path.glob("*/_annotations.coco.json")):
        files[file.parent.name] = file
    return {split: _Source(read_coco, file) for split, file in files.items()}


def _looks_like_coco(file):
    """COCO's own annotation folder holds captions and keypoints too; a file of settings is no COCO file."""
    if file.stem.startswith(("captions_", "person_keypoints_", "panoptic_", "image_info_", "stuff_")):
        return False
    with open(file, "rb") as opened:
        head = opened.read(1 << 16)
    return b'"images"' in head or b'"annotations"' in head or b'"categories"' in head or file.stem.startswith("instances_")
