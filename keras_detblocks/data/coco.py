"""Reads COCO JSON (https://cocodataset.org/#format-data): images, annotations, categories of any
numbering."""

import json
import math
import pathlib

from .dataset import DatasetError, Skipped, finish, make_record


def read_coco(annotations, images=None):
    """Reads one COCO JSON file.

    Args:
        annotations: path of the JSON file.
        images: folder of the image files; found beside the JSON file, by its name, where it is not
            given.

    Returns:
        A `Dataset`; classes are in the order of the category ids, which may be any numbers. Crowds
        are kept and marked. What is wrong with single annotations or images is skipped and counted
        in `skipped`.

    Raises:
        DatasetError: (a ValueError) the file is missing, not COCO JSON, or nothing in it is usable.
    """
    path = pathlib.Path(annotations)
    content = _parse(path)
    categories = sorted(
        (c for c in content["categories"]), key=lambda c: (isinstance(c["id"], str), c["id"])
    )
    label_of = {c["id"]: label for label, c in enumerate(categories)}
    folder = pathlib.Path(images) if images is not None else _find_images(path, content["images"])
    skipped = Skipped()
    objects = _objects_by_image(content, label_of, skipped)
    records = [_record(image, folder, objects, skipped) for image in content["images"]]
    names = [str(c.get("name", c["id"])) for c in categories]
    return finish(records, names, [c["id"] for c in categories], skipped, str(path))


def _parse(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: expected a COCO JSON file; it does not exist. Check the path."
        ) from error
    except (ValueError, OSError) as error:
        raise DatasetError(
            f"{path}: expected COCO JSON; it does not parse ({error}). Write it again or download "
            f"it anew."
        ) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DatasetError(
                f"{path}: expected COCO JSON with the lists images, annotations, categories; "
                f"received no list {key!r}."
            )
    for key, fields in (("images", ("id", "file_name")), ("categories", ("id",))):
        for entry in content[key]:
            if not isinstance(entry, dict) or not all(f in entry for f in fields):
                raise DatasetError(
                    f"{path}: expected {' and '.join(fields)} in every entry of {key}; received "
                    f"{str(entry)[:80]}."
                )
    if not content["categories"]:
        raise DatasetError(
            f"{path}: expected at least one category; received none. Add the classes to "
            f"'categories'."
        )
    return content


def _find_images(path, images):
    """The folder below which the first image files are, out of the usual layouts around the JSON
    file."""
    stem = path.stem.removeprefix("instances_")
    bases = (path.parent, path.parent.parent)
    candidates = [base / part for base in bases for part in (stem, f"images/{stem}", "images", "")]
    names = [str(image["file_name"]) for image in images[:20]]
    for folder in candidates:
        if any((folder / name).is_file() for name in names):
            return folder
    tried = ", ".join(str(c) for c in candidates)
    raise DatasetError(
        f"{path}: expected its image files (such as {names[:1]}) in one of {tried}; found none. "
        f"Put them there, or "
        "name their folder with `images`."
    )


def _objects_by_image(content, label_of, skipped):
    objects = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        problem = _problem(annotation, objects, label_of)
        if problem:
            skipped.add(problem, str(annotation)[:120])
            continue
        x, y, width, height = (float(v) for v in annotation["bbox"])
        label = label_of[annotation["category_id"]]
        box = (x, y, x + width, y + height)
        objects[annotation["image_id"]].append(
            (box, label, annotation.get("iscrowd", 0), _area(annotation))
        )
    return objects


def _problem(annotation, objects, label_of):
    """What makes an annotation unusable, or None."""
    if not isinstance(annotation, dict):
        return "annotation that is no JSON object"
    if not _in(annotation.get("image_id"), objects):
        return "annotation with an unknown image id"
    if not _in(annotation.get("category_id"), label_of):
        return "annotation with an unknown category id"
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) for v in box):
        return "annotation without a bbox of four numbers"
    return None


def _in(key, table):
    return isinstance(key, (int, float, str)) and key in table


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _area(annotation):
    area = annotation.get("area")
    return float(area) if _is_number(area) and area > 0 else None


def _record(image, folder, objects, skipped):
    width, height = image.get("width"), image.get("height")
    stated = (
        (int(width), int(height))
        if _is_number(width) and _is_number(height) and width > 0 and height > 0
        else None
    )
    return make_record(
        folder / str(image["file_name"]), stated, objects[image["id"]], image["id"], skipped
    )
