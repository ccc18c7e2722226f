"""Reads the data.yaml of YOLO data sets: class names as a list or dict, and the splits' folders."""

import os
from dataclasses import dataclass
from itertools import accumulate

from .. import split_names
from ..errors import DatasetError
from ..parse import number, read_head, read_text

# Keys of a file that are not paths of splits.
_OTHERS = ("path", "names", "nc", "download", "kpt_shape", "flip_idx", "roboflow", "channels")


@dataclass
class Config:
    """The content of a data.yaml.

    Attributes:
        names: class names by number.
        splits: name -> paths.
        keypoints: how many numbers follow a box.
        missing: splits whose paths do not exist while others do.
        lists: whether it came from lists of pictures instead of YAML.
    """

    path: str
    root: str
    names: list
    splits: dict
    keypoints: int = 0
    missing: list = ()
    lists: bool = False


def read_config(tree):
    """The `Config` of the only file with names and splits, or of the one given; else None.

    Raises:
        DatasetError: there are several, or the one given has no names and splits.
    """
    given = tree.is_file and str(tree.path).lower().endswith((".yaml", ".yml"))
    if tree.is_file and not given:
        return None
    found = [c for path in tree.of(".yaml", ".yml") if (c := _config(path))]
    if given and not found:
        raise DatasetError(
            f"{tree.path}: expected the data.yaml of a YOLO data set, with names and at least one "
            "of train, val and test; received something else. Check the file."
        )
    outermost = min((c.path.count("/") for c in found), default=0)
    found = [c for c in found if c.path.count("/") == outermost]
    if len(found) > 1:
        names = ", ".join(c.path for c in found)
        raise DatasetError(f"{tree.path}: expected one data.yaml; found {names}. Name one of them.")
    return found[0] if found else None


def _config(path):
    if "names" not in read_head(path):
        return None
    content = _parsed(path)
    if not isinstance(content, dict):
        return None
    folder = os.path.dirname(path)
    roots = _roots(folder, content.get("path"))
    names = _names(content.get("names"), content.get("nc"), roots)
    parts = {str(s): _paths(v, roots, str(s)) for s, v in content.items() if _is_split(s, v)}
    there = {s: p for s, p in parts.items() if any(map(os.path.exists, p))}
    named = {s: p for s, p in parts.items() if s.lower() in split_names.NAMES}
    if not names or not (there or named):
        return None
    missing = [f"{s}: {', '.join(p)}" for s, p in named.items() if there and s not in there]
    keypoints = _keypoints(content.get("kpt_shape"))
    return Config(path, roots[0], names, there or named, keypoints, missing)


def _is_split(name, value):
    """Whether it is a path or a list of paths, under a name that has no other meaning."""
    values = value if isinstance(value, list) else [value]
    return name not in _OTHERS and all(isinstance(v, str) and v.strip() for v in values) and values


def _parsed(path):
    try:
        import yaml
    except ImportError as error:
        raise ImportError(f"{path} needs PyYAML: pip install pyyaml") from error
    try:
        text = read_text(path).replace("\t", "    ")
        # PyYAML takes seconds on brackets nested by the thousand.
        return None if _depth(text) > 50 else yaml.safe_load(text)
    except (yaml.YAMLError, OSError, ValueError, RecursionError):
        return None


def _depth(text):
    """An upper bound on how deeply brackets are nested."""
    steps = (1 if mark in "[{" else -1 for mark in text if mark in "[]{}")
    return max(accumulate(steps), default=0)


def _names(names, count, roots):
    """Class names as a list of texts, from a list, a dict by number, a file, or a number of
    classes."""
    if isinstance(names, str) and names.lower().endswith((".txt", ".names")):
        return names_of_file(path_of(names, roots, ""))
    if isinstance(names, str):
        names = [part.strip(" '\"") for part in names.strip("[]").split(",")]
    if isinstance(names, dict):
        by_number = {int(k): v for key, v in names.items() if (k := number(key)) is not None}
        if not by_number or min(by_number) < 0 or max(by_number) > 100_000:
            return []
        names = [by_number.get(i, i) for i in range(max(by_number) + 1)]
    scalars = (str, int, float, bool)
    if not isinstance(names, list) or not all(isinstance(n, scalars) for n in names):
        count = number(count)
        return [str(i) for i in range(int(count))] if count and 0 < count < 100_000 else []
    return [str(name).strip() for name in names]


def _roots(folder, stated):
    """Folders that paths may be relative to, existing ones first."""
    roots = [folder]
    if isinstance(stated, str) and stated.strip():
        stated = os.path.expanduser(stated.replace("\\", "/").rstrip("/"))
        written = os.path.normpath(os.path.join(folder, stated))
        # A path from another machine: which part of it exists below this folder?
        parts = [part for part in stated.split("/") if part not in ("", ".", "..")]
        below = [os.path.join(folder, *parts[k:]) for k in range(len(parts))]
        roots = [r for r in (written, *below) if os.path.isdir(r)] + roots
    return list(dict.fromkeys(roots))


def _paths(value, roots, split):
    """Paths of the folders and lists of a split; as written if nothing exists there."""
    values = value if isinstance(value, list) else [value]
    return [path_of(str(v), roots, "" if len(values) > 1 else split) for v in values]


def path_of(written, roots, split):
    """Finds a path as written. Roboflow writes `../train/images` for the folder `train/images`
    beside data.yaml; if a path leads nowhere, the usual folders of its split are tried."""
    written = written.replace("\\", "/").strip()
    parts = [part for part in written.split("/") if part not in ("", ".", "..")]
    shorter = ["/".join(parts[k:]) for k in range(len(parts))]
    usual = [f"images/{split}", f"{split}/images", split] if split else []
    for form in (written.rstrip("/"), *shorter, *usual):
        for root in roots:
            path = os.path.normpath(os.path.join(root, form))
            if os.path.exists(path) and path != os.path.normpath(root):
                return path
    return os.path.join(roots[0], written)


def names_of_file(path):
    """Class names, one per line; an empty list if the file cannot be read."""
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except OSError:
        return []
    return [line for line in lines if line]


def _keypoints(shape):
    """How many numbers follow a box in a pose data set."""
    try:
        return int(shape[0]) * int(shape[1])
    except (TypeError, ValueError, IndexError, KeyError):
        return 0
