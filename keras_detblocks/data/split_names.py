"""What splits are called, in names of folders and files."""

import os
import re

TRAINING = ("train", "train2017", "train2014", "training", "trainval")
VALIDATION = ("val", "valid", "val2017", "val2014", "validation", "dev")
TEST = ("test", "test2017", "test2014", "testing")
NAMES = frozenset((*TRAINING, *VALIDATION, *TEST, "minival", "test-dev", "eval", "unlabeled"))
# What the rest of a file's name says, beside the split.
_WORDS = re.compile(
    r"person_keypoints|instances|annotations?|labels?|result|coco|_?createml|export|bboxes|boxes|objects|dataset"
    r"|data|images?"
)


def of_folder(path, root):
    """The split that a file belongs to by a folder between `root` and it; None for none."""
    inside = os.path.relpath(os.path.dirname(path) or ".", root or ".")
    for part in inside.split(os.sep):
        if part.lower() in NAMES:
            return part
    return None


def of_file(path, root):
    """The split by a file's name (`instances_val.json`, `train_annotations.csv`), else by its
    folders; None for none."""
    stem = os.path.basename(path).partition(".")[0] if path.endswith(".coco.json") else None
    stem = os.path.splitext(os.path.basename(path))[0] if stem is None else stem
    rest = [part for part in re.split(r"[_.\s]+", _WORDS.sub("_", stem)) if part]
    named = [part for part in re.split(r"[_.\-\s]+", stem) if part.lower() in NAMES]
    if len(named) == 1:
        return named[0]
    whole = stem.removeprefix("instances_")  # COCO's own: the rest is the split
    return of_folder(path, root) or (whole if whole != stem else "_".join(rest)) or None


def first(wanted, names):
    """The first of the wanted names that is there, in any case; None where none is."""
    there = {str(name).lower(): name for name in names if name is not None}
    return next((there[name] for name in wanted if name in there), None)


def unique(found):
    """split -> item out of (split, path, item) triples; paths tell apart what has one name."""
    counts = {}
    for split, _, _ in found:
        counts[split] = counts.get(split, 0) + 1
    return {
        split if counts[split] == 1 else os.path.splitext(os.path.basename(path))[0]: item
        for split, path, item in found
    }
