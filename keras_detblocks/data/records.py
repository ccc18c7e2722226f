"""Data sets in formats of your own: from dicts in memory, through the same cleaning as files."""

import numpy as np

from ..checks import check_names, check_path, refused
from .annotations import Annotated, Annotations, Objects
from .clean import cleaned
from .errors import DatasetError
from .parse import numbers, size_of
from .pictures import Pictures


def from_records(records, class_names=None, images=None, source="records", exif="evidence"):
    """Makes a `Dataset` of dicts; bad pictures and boxes are skipped and counted, as in files.

    Args:
        records: an iterable of dicts, one per picture: `"image"`, the path of its file; `"boxes"`,
            (n, 4) as x_min, y_min, x_max, y_max in pixels (or all of them as shares, 0 to 1);
            `"labels"`, n class names or numbers; and optionally `"width"` and
            `"height"` that the boxes belong to, `"crowd"` (n,), `"areas"` (n,), `"image_id"`.
        class_names: in the order of the numbers; by default the names that occur, sorted.
        images: folder that the paths are relative to.
        source: what messages call the data set.
        exif: as in `data.load`.

    Raises:
        DatasetError: a record without an image, boxes or labels, or no usable picture.

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.png"
    >>> Image.new("RGB", (32, 24)).save(path)
    >>> records = [{"image": path, "boxes": [[1, 2, 11, 12]], "labels": ["cat"]}]
    >>> len(kdb.data.from_records(records))
    1
    """
    if isinstance(records, (str, dict)) or not hasattr(records, "__iter__"):
        raise refused(records, "records", "a list of dicts, one per picture")
    images = check_path(images, "images", optional=True)
    records = list(records)
    for i, record in enumerate(records):
        _check(record, i)
    names = _names(records, class_names)
    labels = {name: label for label, name in enumerate(names)}
    pictures = Pictures(["" if images is None else str(images)])
    found = Annotations([], Objects(), names, list(range(len(names))), pictures, source)
    for record in records:
        _add(found, record, labels)
    return cleaned(found, exif)


def _check(record, i):
    missing = [
        k
        for k in ("image", "boxes", "labels")
        if not hasattr(record, "get") or record.get(k) is None
    ]
    if missing:
        raise DatasetError(
            f"from_records: expected a dict with image, boxes and labels; record {i} has no "
            f"{', '.join(missing)}. Give empty lists where there are no objects."
        )
    if len(record["boxes"]) != len(record["labels"]):
        raise DatasetError(
            f"from_records: expected as many labels as boxes; record {i} ({record['image']}) has "
            f"{len(record['boxes'])} boxes and {len(record['labels'])} labels."
        )


def _names(records, class_names):
    """The class names; plain numbers become names if none are given."""
    if class_names is not None:
        return list(check_names(class_names, "class_names"))
    used = {label for record in records for label in _plain(record["labels"])}
    if used and all(isinstance(label, int) for label in used):
        return [str(i) for i in range(max(used) + 1)]
    return sorted(str(label) for label in used)


def _plain(labels):
    """Labels as Python's own ints and strings."""
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    return [v.item() if isinstance(v, np.generic) else v for v in values]


def _add(found, record, labels):
    owner = len(found.images)
    name = str(record["image"])
    image_id = record.get("image_id", name)
    size = size_of(record.get("width"), record.get("height"))
    found.images.append(Annotated(name, image_id, size))
    crowd = record.get("crowd")
    areas = record.get("areas")
    for i, label in enumerate(_plain(record["labels"])):
        box = numbers(np.asarray(record["boxes"][i], object).tolist(), 4)
        number = label if isinstance(label, int) else labels.get(str(label))
        if box is None or number is None or not 0 <= number < len(found.class_names):
            reason = "object of an unknown class or without a box of four numbers"
            found.skipped.add(reason, f"{name}: {label}, {str(record['boxes'][i])[:80]}")
            continue
        area = None if areas is None else float(areas[i])
        found.objects.add(owner, box, number, crowd is not None and bool(crowd[i]), area)
