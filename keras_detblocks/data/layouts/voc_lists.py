"""Reads VOC's lists of pictures, ImageSets/Main/SPLIT.txt, with one name per line.

VOC's own folders also hold a list per class, with a second column of -1, 0 or 1."""

import glob
import os
import re

from .. import split_names
from ..parse import read_text
from ..pictures import split_suffix, stem_of

_FLAGGED = re.compile(r"^(\S+)\s+(-1|0|1)$")
_LOOKED_AT = 200


def image_lists(home):
    """Returns split name -> path of its list; empty without lists."""
    names = _stems(home)
    lists = {}
    for path in sorted(glob.glob(f"{glob.escape(home)}/ImageSets/Main/*.txt")):
        if not os.path.basename(path).startswith("._") and not _is_of_a_class(path, names):
            lists[stem_of(path)] = path
    return lists


def _stems(home):
    """Names of the annotation files."""
    stems = set()
    for folder, _, files in os.walk(f"{home}/Annotations"):
        del folder
        stems.update(os.path.splitext(name)[0] for name in files)
    return stems


def _is_of_a_class(path, names):
    """Whether lines end in a flag, and are known names without it rather than with it: `photo 1`
    may be a picture."""
    lines = _lines(path)[:_LOOKED_AT]
    flagged = [match for line in lines if (match := _FLAGGED.match(line))]
    split = stem_of(path)
    if not lines or len(flagged) < len(lines) or split.lower() in split_names.NAMES:
        return False
    whole = sum(_plain(match.group(0)) in names for match in flagged)
    cut = sum(_plain(match.group(1)) in names for match in flagged)
    if whole == cut:  # annotations are missing: VOC calls these lists CLASS_SPLIT
        return "_" in os.path.basename(path)
    return cut > whole


def _lines(path):
    try:
        text = read_text(path)
    except OSError:
        return []
    return [line.strip().strip("\ufeff") for line in text.splitlines() if line.strip("\ufeff \t")]


def listed_names(path, known):
    """Names of annotations, without folders and suffixes; `known` holds those that may contain
    blanks."""
    names = []
    for line in _lines(path):
        forms = [line, line.split()[0]]
        forms = [form for each in forms for form in (each, _plain(each))]
        names.append(next((form for form in forms if form in known), _plain(line)))
    return names


def _plain(line):
    last = line.replace("\\", "/").rpartition("/")[2]
    stem = split_suffix(last)[0]
    return stem[: -len(".xml")] if stem.lower().endswith(".xml") else stem
