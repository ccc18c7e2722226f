"""CSV tables with one object per line: with a header and columns in any order (TensorFlow's,
Roboflow's, OpenImages'), or without one (`path,x1,y1,x2,y2,class`, makesense's, SKU-110K's)."""

import contextlib
import csv
import os
import re
from functools import partial

from .. import split_names
from ..account import ASSUMED
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import flag, number, read_head, read_text, size_of
from ..pictures import split_suffix

NAME = "CSV"
LOOKED_FOR = (
    "CSV: .csv files with one object per line and a header such as "
    "filename,width,height,class,xmin,ymin,"
    "xmax,ymax, or none and path,x1,y1,x2,y2,class"
)
# Names of columns, in lower case without blanks, dashes and underscores.
_FILE = (
    *("filename", "file", "path", "image", "imagepath", "img", "imagename", "imageid"),
    *("filepath", "imgpath", "imagefile", "picture", "frame", "framename", "name", "id"),
)
_CLASS = (
    *("classname", "labelname", "categoryname", "class", "label", "category", "object", "type"),
    *("classid", "categoryid", "labelid", "labels", "name"),
)
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
    ("bboxxmin", "bboxymin", "bboxxmax", "bboxymax"),
    ("roix1", "roiy1", "roix2", "roiy2"),
    ("minx", "miny", "maxx", "maxy"),
)
_SIDES = (
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("xmin", "ymin", "width", "height"),
    ("xmin", "ymin", "w", "h"),
    ("left", "top", "width", "height"),
    ("bboxx", "bboxy", "bboxwidth", "bboxheight"),
    ("bboxx", "bboxy", "bboxw", "bboxh"),
    ("bboxleft", "bboxtop", "bboxwidth", "bboxheight"),
)
_CENTERS = (
    ("xcenter", "ycenter", "width", "height"),
    ("centerx", "centery", "width", "height"),
    ("cx", "cy", "w", "h"),
    ("cx", "cy", "width", "height"),
    ("xcenter", "ycenter", "w", "h"),
)
_BOX = ("bbox", "box", "boundingbox")
_SIZE = (("width", "height"), ("imagewidth", "imageheight"), ("imgwidth", "imgheight"))
_GROUPS = ("isgroupof", "iscrowd")
_DESCRIPTIONS = "class-descriptions"  # OpenImages' names of its labels
_DECIMAL = re.compile(r"(?<=;)(-?\d+),(\d+)(?=;|$)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def find(tree):
    """Split name -> reader."""
    files = [path for path in tree.of(".csv", ".tsv") if _form_of_file(path)]
    if tree.is_file and not files and tree.of(".csv", ".tsv"):
        raise DatasetError(
            f"{tree.path}: expected a table of objects; found columns that are none. {LOOKED_FOR}."
        )
    parts = split_names.by_file(tree, files)
    return {split: partial(read, tree, path, files) for split, path in parts.items()}


def _form_of_file(path):
    text = read_head(path, 8192)
    rows = _rows(text.rpartition("\n")[0] or text)
    return _form(rows[:50]) if rows else None


def _rows(text):
    """Cells of the lines that are not empty, split at the most frequent delimiter of the first
    line."""
    lines = [line for line in text.replace("\0", "").splitlines() if line.strip()]
    if not lines:
        return []
    delimiter = max(",;\t", key=lines[0].count)
    if delimiter == ";":  # used where numbers have a decimal comma
        lines = [_DECIMAL.sub(r"\1.\2", line) for line in lines]
    csv.field_size_limit(1 << 24)
    try:
        return [[c.strip() for c in row] for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return [[c.strip() for c in line.split(delimiter)] for line in lines]


def _form(rows):
    """How to read a row: a dict of the positions of its cells; None if that is unclear."""
    names = ["".join(c for c in cell.lower() if c.isalnum()) for cell in rows[0]]
    return _with_header(names) or _without_header(rows)


def _with_header(names):
    file = next((names.index(n) for n in _FILE if n in names), None)
    class_ = next((names.index(n) for n in _CLASS if n in names and names.index(n) != file), None)
    columns, kind = _columns(names)
    if file is None or not columns:
        return None
    size = next((s for s in _SIZE if set(s) <= set(names) and not set(s) & set(columns)), None)
    return {
        "start": 1,
        "file": file,
        "class": class_,
        "box": [names.index(n) for n in columns],
        "kind": kind,
        "size": [names.index(n) for n in size] if size else None,
        "crowd": next((names.index(n) for n in _GROUPS if n in names), None),
    }


def _columns(names):
    """Names of the columns of the box, and their kind."""
    for kind, forms in (("corners", _CORNERS), ("center", _CENTERS), ("sides", _SIDES)):
        found = next((form for form in forms if set(form) <= set(names)), None)
        if found:
            return found, kind
    return [n for n in _BOX if n in names][:1], "cell"


def _without_header(rows):
    """The form of a table without a header, by the columns that hold numbers: a file name, four
    numbers, and a class."""
    width = len(rows[0])
    rows = [row for row in rows if len(row) == width]
    a_file = [all(split_suffix(row[k])[1] for row in rows) for k in range(width)]
    numeric = [
        all(number(r[k]) is not None for r in rows if r[k]) and any(r[k] for r in rows)
        for k in range(width)
    ]
    for file, box, class_, size, kind in _HEADERLESS:
        places = [file, class_, *box, *(size or ())]
        if len(places) != width or not (a_file[file] or not (any(a_file) or numeric[file])):
            continue
        if all(numeric[k] for k in (*box, *(size or ()))):
            form = {"start": 0, "file": file, "class": class_, "box": box, "kind": kind}
            return {**form, "size": size, "crowd": None}
    return None


# Positions of file, box, class and size, and the kind of box.
_HEADERLESS = (
    (0, [1, 2, 3, 4], 5, None, "corners"),  # RetinaNet's
    (0, [4, 5, 6, 7], 3, [1, 2], "corners"),  # TensorFlow's
    (0, [1, 2, 3, 4], 5, [6, 7], "corners"),  # SKU-110K's
    (5, [1, 2, 3, 4], 0, [6, 7], "sides"),  # makesense's
    (0, [2, 3, 4, 5], 1, None, "corners"),
)


def read(tree, path, files):
    """The `Annotations` of one file; the classes are those of all `files`."""
    folder = os.path.dirname(path) or "."
    split = split_names.of_file(path, tree.root)
    parts = [*([split, f"images/{split}"] if split else ()), "images", "data"]
    pictures = tree.pictures(folder, *(f"{folder}/{part}" for part in parts))
    found = Annotations([], Objects(), [], [], pictures, path)
    try:
        rows = _rows(read_text(path))
        others = [_rows(read_text(other)) for other in files if other != path]
    except OSError as error:
        raise DatasetError(f"{path}: expected a CSV file; it cannot be read ({error}).") from error
    form = _form(rows[:50]) if rows else None
    if form is None:
        raise DatasetError(f"{path}: expected a table of objects; received none. {LOOKED_FOR}.")
    names = {_class(row, form) for row in rows[form["start"] :]}
    for table in others:
        other = _form(table[:50]) if table else None
        names |= {_class(row, other) for row in table[other["start"] :]} if other else set()
    known = sorted(name for name in names if name)
    labels = {name: label for label, name in enumerate(known)}
    described = _described(tree)
    found.name_classes([described.get(name, name) for name in known])
    if form["class"] is None:
        found.skipped.add("table without a column of classes (one is assumed)", path, ASSUMED)
    if form["kind"] == "cell":
        reason = "box in one cell (taken as x, y, width, height)"
        found.skipped.add(reason, rows[min(1, len(rows) - 1)], ASSUMED)
    _read_rows(found, rows, form, folder, labels)
    return found


def _described(tree):
    """OpenImages' label -> its name in words, from its file of descriptions if that exists."""
    rows = []
    for path in tree.of(".csv"):
        if os.path.basename(path).startswith(_DESCRIPTIONS):
            with contextlib.suppress(OSError):
                rows += _rows(read_text(path))
    return {row[0]: row[1] for row in rows if len(row) == 2 and row[1]}


def _class(row, form):
    """The class of a row; "" if it has none."""
    if form["class"] is None:
        return "object"
    return row[form["class"]] if form["class"] < len(row) else ""


def _read_rows(found, rows, form, folder, labels):
    owners = {}
    for i, row in enumerate(rows[form["start"] :], start=form["start"] + 1):
        where = f"line {i}: {','.join(row)[:100]}"
        name = row[form["file"]] if form["file"] < len(row) else ""
        if not name:
            found.skipped.add("line without the name of a picture", where)
            continue
        if name not in owners:
            owners[name] = len(found.images)
            size = size_of(*(row[k] for k in form["size"])) if _has(row, form["size"]) else None
            image_id = split_suffix(name)[0]
            found.images.append(Annotated(name, image_id, size, folder))
        cells = _box_cells(row, form)
        if cells is not None and not any(cells):
            continue  # a picture without objects
        values = [number(cell) for cell in cells] if cells and len(cells) == 4 else [None]
        class_name = _class(row, form)
        if None in values or not class_name:
            found.skipped.add("line without a class or a box of four numbers", where)
            continue
        box = _CORNERS_OF[form["kind"]](*values)
        found.objects.add(owners[name], box, labels[class_name], _crowd(found, row, form, where))


def _crowd(found, row, form, where):
    """Whether a row stands for a group of objects."""
    place = form["crowd"]
    value = flag(row[place]) if place is not None and place < len(row) else False
    if value is None:
        reason = "group or crowd that says neither yes nor no (taken as no)"
        found.skipped.add(reason, where, ASSUMED)
    return bool(value)


# The four numbers of each kind of box -> x_min, y_min, x_max, y_max.
_CORNERS_OF = {
    "corners": lambda x0, y0, x1, y1: (x0, y0, x1, y1),
    "sides": lambda x, y, w, h: (x, y, x + w, y + h),
    "cell": lambda x, y, w, h: (x, y, x + w, y + h),
    "center": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
}


def _has(row, places):
    return places is not None and max(places) < len(row)


def _box_cells(row, form):
    """The four texts of a box, also from one cell such as `[1, 2, 3, 4]`; None if the row is too
    short."""
    places = form["box"]
    if not _has(row, places):
        return None
    if form["kind"] == "cell":
        return _NUMBER.findall(row[places[0]]) or [""]
    return [row[k] for k in places]
