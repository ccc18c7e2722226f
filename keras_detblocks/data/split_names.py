"""Recognizes splits by the names of folders and files."""

import os
import re
from collections import Counter

from .pictures import stem_of

TRAINING = ("train", "train2017", "train2014", "training", "trainval")
VALIDATION = ("val", "valid", "val2017", "val2014", "validation", "dev")
TEST = ("test", "test2017", "test2014", "testing")
NAMES = frozenset((*TRAINING, *VALIDATION, *TEST, "minival", "test-dev", "eval", "unlabeled"))
# Words that a file's name may contain beside the split.
_WORDS = re.compile(
    r"person_keypoints|instances|annotations?|labels?|result|coco|_?createml|export|bboxes|boxes|objects|dataset"
    r"|data|images?"
)


def of_folder(path, root):
    """The split that a file belongs to by a folder between `root` and it; None if no folder names
    one."""
    inside = os.path.relpath(os.path.dirname(path) or ".", root or ".")
    for part in inside.split(os.sep):
        if part.lower() in NAMES:
            return part
    return None


def of_file(path, root):
    """The split by a file's name (`instances_val.json`, `train_annotations.csv`), else by its
    folders; None if neither names one."""
    stem = os.path.basename(path).partition(".")[0] if path.endswith(".coco.json") else None
    stem = stem_of(path) if stem is None else stem
    rest = [part for part in re.split(r"[_.\s]+", _WORDS.sub("_", stem)) if part]
    named = [part for part in re.split(r"[_.\-\s]+", stem) if part.lower() in NAMES]
    if len(named) == 1:
        return named[0]
    whole = stem.removeprefix("instances_")  # COCO's own: the rest is the split
    return of_folder(path, root) or (whole if whole != stem else "_".join(rest)) or None


def first(wanted, names):
    """The first of the wanted names among `names`, ignoring case; None if none is."""
    there = {str(name).lower(): name for name in names if name is not None}
    return next((there[name] for name in wanted if name in there), None)


def by_file(tree, files):
    """Returns split name -> file, taking each file of a `Tree` as a split; files with the same
    split name are told apart by their own names. A tree that is a single file is not split: its
    name is None."""
    if tree.is_file:
        return {None: files[0]} if files else {}
    named = [(of_file(path, tree.root), path) for path in files]
    counts = Counter(split for split, _ in named)
    return {split if counts[split] == 1 else stem_of(path): path for split, path in named}


def by_folder(tree, files):
    """Returns split name -> files of a `Tree`, by their folders. A tree that is a single file is
    not split: its name is None."""
    parts = {}
    for path in files:
        split = None if tree.is_file else of_folder(path, tree.root)
        parts.setdefault(split, []).append(path)
    return parts
