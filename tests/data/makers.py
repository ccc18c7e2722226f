"""Small data sets in every layout, each of the same pictures and boxes, in the smallest form that
its tool writes."""

import json
import pathlib

import numpy as np
from PIL import Image

SIZE = (40, 30)
# picture -> list of (class, box xyxy in pixels)
OBJECTS = {"a": [("cat", (10, 6, 20, 15)), ("dog", (0, 0, 8, 8))], "b": [("cat", (4, 3, 24, 27))]}
CLASSES = ("cat", "dog")


def picture(path, size=SIZE, color="red", **options):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **options)
    return path


def put(path, content):
    """Writes text, bytes or JSON; returns the path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def coco(names=("a", "b"), categories=None, file_name="{}.png", **changes):
    """COCO's JSON of the pictures named."""
    categories = categories or [{"id": i, "name": n} for i, n in enumerate(CLASSES, start=1)]
    ids = {c["name"]: c["id"] for c in categories}
    images = [
        {"id": i, "file_name": file_name.format(n), "width": SIZE[0], "height": SIZE[1]}
        for i, n in enumerate(names)
    ]
    annotations = [
        {
            "id": len(names) * k + i,
            "image_id": i,
            "category_id": ids[label],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
        }
        for i, n in enumerate(names)
        for k, (label, (x0, y0, x1, y1)) in enumerate(OBJECTS[n])
    ]
    return {"images": images, "annotations": annotations, "categories": categories} | changes


def voc(name, filename=None, objects=None):
    """VOC's XML of one picture."""
    parts = [
        f"<object><name>{label}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, (x0, y0, x1, y1) in (OBJECTS[name] if objects is None else objects)
    ]
    size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
    filename = f"{name}.png" if filename is None else filename
    return f"<annotation><filename>{filename}</filename>{size}{''.join(parts)}</annotation>"


def yolo(name, polygon=False):
    """YOLO's text of one picture."""
    lines = []
    for label, (x0, y0, x1, y1) in OBJECTS[name]:
        x0, x1, y0, y1 = x0 / SIZE[0], x1 / SIZE[0], y0 / SIZE[1], y1 / SIZE[1]
        box = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
        numbers = [x0, y0, x1, y0, x1, y1, x0, y1] if polygon else box
        lines.append(" ".join(map(str, [CLASSES.index(label), *numbers])))
    return "\n".join(lines)


def labelme(name, image_path=None):
    """LabelMe's JSON of one picture."""
    shapes = [
        {"label": label, "points": [[x1, y1], [x0, y0]], "shape_type": "rectangle", "flags": {}}
        for label, (x0, y0, x1, y1) in OBJECTS[name]
    ]
    return {
        "version": "5.0.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{name}.png" if image_path is None else image_path,
        "imageData": None,
        "imageHeight": SIZE[1],
        "imageWidth": SIZE[0],
    }


def check(dataset, names=("a", "b"), tolerance=1e-4):
    """The data set is the pictures named, with their boxes and classes."""
    assert [pathlib.Path(r.path).stem for r in dataset.records] == list(names)
    for record, name in zip(dataset.records, names):
        found = {
            (dataset.class_names[label], *np.round(box, 3).tolist())
            for label, box in zip(record.labels, record.boxes)
        }
        assert found == {(label, *map(float, box)) for label, box in OBJECTS[name]}
        assert (record.width, record.height) == SIZE
    used = {label for name in names for label, _ in OBJECTS[name]}
    assert used <= set(dataset.class_names)
