"""Reads lists of pictures with one path per line: those named in darknet's .data file, or train.txt
and val.txt on their own."""

import os
import re

from .. import split_names
from ..parse import read_head, read_text
from ..pictures import is_picture, stem_of
from .yolo_config import Config, names_of_file, path_of

_LINE = re.compile(r"^\s*(train|valid|val|test|names)\s*=\s*(\S.*?)\s*$", re.MULTILINE)


def read_data_file(tree):
    """The `Config` of darknet's .data file; None without one."""
    found = (_of_data_file(path) for path in _outermost(tree.of(".data")))
    return next(filter(None, found), None)


def read_lists(tree):
    """The `Config` of lists named for splits, beside labels; None without any."""
    named = [p for p in tree.of(".txt") if stem_of(p).lower() in split_names.NAMES and _is_list(p)]
    splits = {stem_of(path): [path] for path in _outermost(named)}
    return Config(tree.root, tree.root, [], splits, lists=True) if splits else None


def _of_data_file(path):
    try:
        values = dict(_LINE.findall(read_text(path)))
    except OSError:
        return None
    roots = [os.path.dirname(path) or "."]
    names = names_of_file(path_of(values.pop("names", ""), roots, ""))
    paths = {split: path_of(value, roots, split) for split, value in values.items()}
    splits = {split: [p] for split, p in paths.items() if os.path.exists(p)}
    missing = [f"{split}: {p}" for split, p in paths.items() if split not in splits]
    return Config(path, roots[0], names, splits, 0, missing, lists=True) if splits else None


def _outermost(paths):
    depth = min((path.count("/") for path in paths), default=0)
    return [path for path in paths if path.count("/") == depth]


def _is_list(path):
    """Whether the first line names a picture; it is one of VOC's lists otherwise."""
    lines = [line.strip() for line in read_head(path, 4096).splitlines() if line.strip()]
    return bool(lines) and is_picture(lines[0].replace("\\", "/").rpartition("/")[2])
