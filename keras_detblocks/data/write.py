"""Writes data sets as COCO, Pascal VOC or YOLO folders, which read back as what was written."""

import json
import os
import shutil
from xml.sax.saxutils import escape

from ..checks import check_flag, spelled
from ..files import written_beside
from .dataset import check_parts
from .errors import DatasetError, check_new_folder

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def write(parts, out, layout, link=False):
    """Writes a data set, with its pictures, to a new folder.

    Args:
        parts: a `Dataset`, or a dict of them by the names of their splits (None: not split), all of
            the same classes.
        out: folder to make.
        layout: "coco", "voc" or "yolo", in any case.
        link: whether to make hard links to the pictures instead of copies, if the file system has
            them.

    Returns:
        A list of lines that say what the layout could not hold.

    Raises:
        ValueError: an unknown layout.
        DatasetError: parts of different classes, or a folder that is not empty.
    """
    layout, link = spelled(WRITERS, layout, "layout"), check_flag(link, "link")
    parts, out = check_parts(parts), check_new_folder(out)
    _check_classes(parts)
    with written_beside(out, durable=False) as folder:
        folder.mkdir()
        names = _names(parts)
        WRITERS[layout](parts, names, folder, link)
        (folder / "account.json").write_text(json.dumps(_account(parts), indent=1))
    return list(_lost(parts, layout))


def _check_classes(parts):
    first, *others = parts.values()
    for other in others:
        if other.class_names != first.class_names:
            raise DatasetError(
                f"expected the same classes in all parts; received {first.class_names} and "
                f"{other.class_names}. Bring them together with `with_classes`."
            )


def _account(parts):
    return {str(split): part.skipped.as_list() for split, part in parts.items()}


def _names(parts):
    """Returns path of a picture -> file name, unique in the whole set: pictures in different
    folders may have the same name, and splits may share pictures."""
    names, taken = {}, set()
    for record in (record for part in parts.values() for record in part.records):
        if record.path in names:
            continue
        stem, suffix = os.path.splitext(os.path.basename(record.path))
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.lower())
        names[record.path] = name + suffix
    return names


def _put(record, target, link):
    """Copies or links the picture's file under another name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():  # already there from another split
        return
    if link:
        try:
            os.link(os.path.realpath(record.path), target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(record.path, target)


def _coco(parts, names, folder, link):
    for split, part in parts.items():
        pictures = folder / (split or "images")
        images, annotations = [], []
        ids = _image_ids(part)
        for record, image_id in zip(part.records, ids):
            name = names[record.path]
            _put(record, pictures / name, link)
            size = {"width": record.width, "height": record.height}
            images.append({"id": image_id, "file_name": name, **size})
            for box, label, crowd, area in _objects(record):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": part.category_ids[label],
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "area": area,
                        "iscrowd": int(crowd),
                    }
                )
        categories = [
            {"id": number, "name": name}
            for number, name in zip(part.category_ids, part.class_names)
        ]
        content = {"images": images, "annotations": annotations, "categories": categories}
        name = f"annotations/instances_{split}.json" if split else "annotations.json"
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(content))


def _image_ids(part):
    """The set's own ids if all are unique and fit JSON, else numbers."""
    ids = [record.image_id for record in part.records]
    usable = all(isinstance(each, (int, str)) for each in ids) and len(set(map(str, ids))) == len(
        ids
    )
    return ids if usable else list(range(1, len(ids) + 1))


def _objects(record):
    return zip(
        record.boxes.tolist(), record.labels.tolist(), record.crowd.tolist(), record.areas.tolist()
    )


def _voc(parts, names, folder, link):
    first = next(iter(parts.values()))
    (folder / "Annotations").mkdir()
    lines = ["# label:color_rgb:parts:actions", *(f"{name}:::" for name in first.class_names)]
    (folder / "labelmap.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for split, part in parts.items():
        for record in part.records:
            name = names[record.path]
            _put(record, folder / "JPEGImages" / name, link)
            target = folder / "Annotations" / f"{os.path.splitext(name)[0]}.xml"
            target.write_text(_voc_xml(record, name, part.class_names), encoding="utf-8")
        if split is not None:
            target = folder / "ImageSets" / "Main" / f"{split}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            stems = [os.path.splitext(names[record.path])[0] for record in part.records]
            target.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")


def _voc_xml(record, name, class_names):
    objects = ""
    for (x0, y0, x1, y1), label, crowd, _ in _objects(record):
        sides = zip(_SIDES, (x0 + 1, y0 + 1, x1, y1))
        box = "".join(f"<{side}>{value!r}</{side}>" for side, value in sides)
        objects += (
            f"<object><name>{escape(class_names[label])}</name><difficult>{int(crowd)}</difficult>"
            f"<bndbox>{box}</bndbox></object>\n"
        )
    size = f"<width>{record.width}</width><height>{record.height}</height><depth>3</depth>"
    head = f"<filename>{escape(name)}</filename><size>{size}</size>"
    return f"<annotation>{head}\n{objects}</annotation>\n"


def _yolo(parts, names, folder, link):
    first = next(iter(parts.values()))
    places = {}
    for split, part in parts.items():
        inner = [split] if split else []
        places[split or "train"] = "/".join(["images", *inner])
        (folder / "labels").joinpath(*inner).mkdir(parents=True, exist_ok=True)
        for record in part.records:
            name = names[record.path]
            _put(record, (folder / "images").joinpath(*inner, name), link)
            target = (folder / "labels").joinpath(*inner, f"{os.path.splitext(name)[0]}.txt")
            target.write_text(_yolo_lines(record))
    listed = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(first.class_names))
    paths = "".join(f"{split}: {place}\n" for split, place in places.items())
    (folder / "data.yaml").write_text(f"path: .\n{paths}names:\n{listed}", encoding="utf-8")


def _yolo_lines(record):
    lines = ""
    for (x0, y0, x1, y1), label, crowd, _ in _objects(record):
        if not crowd:
            x, width = (x0 + x1) / 2 / record.width, (x1 - x0) / record.width
            y, height = (y0 + y1) / 2 / record.height, (y1 - y0) / record.height
            lines += f"{label} {x!r} {y!r} {width!r} {height!r}\n"
    return lines


WRITERS = {"coco": _coco, "voc": _voc, "yolo": _yolo}


def _lost(parts, layout):
    """Lines on what a layout has no place for."""
    records = [record for part in parts.values() for record in part.records]
    crowd = sum(int(record.crowd.sum()) for record in records)
    if crowd and layout == "yolo":
        yield f"YOLO has no crowd or difficult objects: {crowd} are left out"
    outlines = sum(int((abs(r.areas - _extents(r)) > 0.01 * _extents(r)).sum()) for r in records)
    if outlines and layout != "coco":
        yield f"{layout.upper()} has no areas of outlines: {outlines} are those of boxes when read"


def _extents(record):
    return (record.boxes[:, 2:] - record.boxes[:, :2]).prod(1)
