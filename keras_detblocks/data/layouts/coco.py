"""COCO JSON (https://cocodataset.org/#format-data): images, annotations, categories of any
numbering, in the arrangements of COCO, Roboflow, CVAT, Label Studio and FiftyOne."""

import os
from functools import partial

from .. import split_names
from ..account import ASSUMED, REPAIRED
from ..annotations import Annotated, Annotations, Objects
from ..errors import DatasetError
from ..parse import flag, key, number, numbers, read_json, size_of
from .coco_classes import read_classes
from .coco_outlines import outline_area, outline_box

NAME = "COCO JSON"
LOOKED_FOR = (
    "COCO JSON: a .json file with the lists images, annotations and categories, such as "
    "annotations/instances_SPLIT.json, SPLIT/_annotations.coco.json, SPLIT.json or labels.json"
)
# COCO's own folder holds these beside the boxes.
_KEYPOINTS = "person_keypoints_"
_OTHERS = ("captions_", _KEYPOINTS, "panoptic_", "image_info_", "stuff_", "lvis_")
_LISTS = ("images", "annotations", "categories")
_TEXT = "number or id written as text"


def find(tree):
    """Split name -> reader."""
    if tree.is_file:
        suffix = os.path.splitext(tree.path)[1].lower()
        return {None: partial(read, tree, str(tree.path))} if suffix == ".json" else {}
    files = [path for path in tree.of(".json") if _looks_like_coco(tree, path)]
    if not files:  # boxes of people with keypoints, if there are no others
        files = [p for p in tree.of(".json") if os.path.basename(p).startswith(_KEYPOINTS)]
    return {s: partial(read, tree, path) for s, path in split_names.by_file(tree, files).items()}


def _looks_like_coco(tree, path):
    """Tells a COCO file from a file of settings, of LabelMe, of tasks, or of categories alone."""
    name = os.path.basename(path)
    if name.startswith(_OTHERS):
        return False
    if name.startswith("instances_") or name.endswith(".coco.json"):
        return True
    head = tree.json_head(path)
    if head.is_list or head.keys & {"shapes", "imagePath"}:
        return False
    return bool(head.lists & {"images", "annotations"}) or ("categories" in head.lists and head.cut)


def read(tree, path):
    """The `Annotations` of one file.

    Raises:
        DatasetError: the file is missing, not COCO JSON, or has no categories.
    """
    content = _parse(path)
    found = Annotations([], Objects(), [], [], tree.pictures(*_folders(path)), path)
    labels, owners = _labels(found, content, path), _read_images(found, content["images"])
    _read_objects(found, content["annotations"], owners, labels)
    return found


def _parse(path):
    try:
        content = read_json(path, _without_outlines)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: expected a COCO JSON file; it does not exist. Check the path."
        ) from error
    except (ValueError, OSError, MemoryError) as error:
        raise DatasetError(
            f"{path}: expected COCO JSON; it does not parse ({str(error)[:200]}). Write it again "
            "or download it anew."
        ) from error
    for part in _LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise DatasetError(
                f"{path}: expected COCO JSON with the lists images, annotations, categories; "
                f"received no list {part!r}."
            )
    return content


def _without_outlines(entry):
    """Drops an entry's outline, which takes ten times the memory of its box, unless the box is
    bad."""
    box = entry.get("bbox")
    if "segmentation" in entry and type(box) is list and len(box) == 4 and _has_extent(box):
        del entry["segmentation"]
    return entry


def _has_extent(box):
    _, _, width, height = box
    plain = type(width) in (int, float) and type(height) in (int, float)
    return not plain or (width > 0 and height > 0)


def _folders(path):
    """Folders that may hold the pictures of a file, most likely first."""
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0].removeprefix("instances_").removeprefix(_KEYPOINTS)
    split = split_names.of_file(path, folder) or stem
    parts = [stem, f"images/{stem}", split, f"images/{split}", f"{split}/images", f"{split}_images"]
    parts += [f"{split}/data", "images", "data", ""]
    return [
        f"{base}/{part}" if part else base for base in (folder, _above(folder)) for part in parts
    ]


def _above(folder):
    return os.path.dirname(folder) or (".." if not folder or folder == "." else ".")


def _labels(found, content, path):
    """Returns category key -> label, -1 for a key that two classes share."""
    names, ids, labels = read_classes(content["categories"], content["annotations"], found.skipped)
    if not names:
        raise DatasetError(
            f"{path}: expected at least one category, and an id in every entry of categories; "
            "received none that is usable. Add the classes to 'categories'."
        )
    found.class_names, found.category_ids = names, ids
    return labels


def _read_images(found, entries):
    """Returns picture key -> index, -1 for an id that two pictures share."""
    owners, names, shared = {}, {}, {}
    for entry in entries:
        name = entry.get("file_name") if isinstance(entry, dict) else None
        image_id = key(entry.get("id")) if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip() or image_id is None:
            reason = "image entry without an id and a file_name"
            found.skipped.add(reason, _short(entry))
        elif image_id not in names:
            names[image_id], owners[image_id] = name, len(found.images)
            size = size_of(entry.get("width"), entry.get("height"))
            given = entry["id"] if isinstance(entry["id"], (int, str)) else image_id
            found.images.append(Annotated(name, given, size))
            if isinstance(entry.get("width"), str):
                found.skipped.add(_TEXT, f"image {given}: width {entry['width']}", REPAIRED)
        elif names[image_id] == name:
            found.skipped.add("image entered twice identically", f"id {image_id}: {name}", REPAIRED)
        else:
            shared.setdefault(image_id, [names[image_id]]).append(name)
    _leave_out_shared(found, owners, shared)
    return owners


def _leave_out_shared(found, owners, shared):
    """Leaves out pictures that share an id: nobody can tell whose boxes are whose."""
    reason = (
        "image id that several pictures share (left out, since nobody can tell whose the boxes are)"
    )
    for image_id, names in shared.items():
        found.skipped.add_many(reason, len(names), (f"id {image_id}: {n}" for n in names))
    if shared:
        kept = [i for image_id, i in owners.items() if image_id not in shared]
        found.images = [found.images[i] for i in kept]
        places = {old: new for new, old in enumerate(kept)}
        for image_id in owners:
            owners[image_id] = places.get(owners[image_id], -1)


def _read_objects(found, entries, owners, labels):
    """Reads the columns of objects. Plain entries, nearly all of them, take a short path."""
    objects, seen = found.objects, {}
    boxes, areas = objects.boxes, objects.areas
    for entry in entries:
        start = len(boxes)
        try:
            owner, label = owners[entry["image_id"]], labels[entry["category_id"]]
            x, y, width, height = box = entry["bbox"]
            boxes.extend(box)
            boxes[start + 2], boxes[start + 3] = x1, y1 = x + width, y + height
            if x1 - x1 + y1 - y1 != 0:  # not finite
                raise ValueError
            area, number_of = entry.get("area"), entry["id"]
            areas.append(area if type(area) in (int, float) else float("nan"))
            odd = owner < 0 or label < 0 or entry.get("iscrowd") or "segmentation" in entry
            if odd or number_of in seen:
                raise ValueError
            seen[number_of] = len(objects)
        except Exception:  # the entry may hold anything; the long path reports what
            del boxes[start:], areas[len(objects.owners) :]
            _read_odd(found, entry, owners, labels, seen)
        else:
            objects.owners.append(owner)
            objects.labels.append(label)
            objects.crowd.append(0)


def _read_odd(found, entry, owners, labels, seen):
    """Reads an entry that is not plain as far as possible, with a line in the account."""
    problem = _problem(entry, owners, labels)
    if problem:
        found.skipped.add(problem, _short(entry))
        return
    owner, label = owners[key(entry["image_id"])], labels[key(entry["category_id"])]
    if owner < 0:
        return  # reported with the picture
    if label < 0:
        found.skipped.add("annotation of a category id that two classes have", _short(entry))
        return
    box = _box(found, entry)
    crowd = flag(entry.get("iscrowd"))
    if crowd is None:
        found.skipped.add(
            "iscrowd that says neither yes nor no (taken as no)", _short(entry), ASSUMED
        )
    first = seen.setdefault(key(entry.get("id")), len(found.objects))
    if _alike(found.objects, first, owner, label, box, crowd):
        found.skipped.add("annotation entered twice identically", _short(entry), REPAIRED)
        return
    area = number(entry.get("area"))
    if area is None and entry.get("segmentation"):
        area = outline_area(entry["segmentation"])
    found.objects.add(owner, box, label, crowd, area if area and area > 0 else None)


def _alike(objects, i, owner, label, box, crowd):
    """Whether object i is this one: two entries of the same number may still be two objects."""
    return i < len(objects) and (
        (objects.owners[i], objects.labels[i], objects.crowd[i]) == (owner, label, bool(crowd))
        and list(objects.boxes[4 * i : 4 * i + 4]) == list(box)
    )


def _problem(entry, owners, labels):
    """The reason that makes an annotation unusable, or None."""
    if not isinstance(entry, dict):
        return "annotation that is not a JSON object"
    if key(entry.get("image_id")) not in owners:
        return "annotation with an unknown image id"
    if key(entry.get("category_id")) not in labels:
        return "annotation with an unknown category id"
    if _four(entry.get("bbox")) is None and outline_box(entry.get("segmentation")) is None:
        return "annotation without a bbox of four numbers"
    return None


def _four(box):
    """Returns x, y, width, height from a list, a text such as "[1, 2, 3, 4]", or a dict; else
    None."""
    if isinstance(box, str):
        box = box.strip(" []()").replace(",", " ").split()
    elif isinstance(box, dict):
        box = [box.get(side) for side in ("x", "y", "width", "height")]
    return numbers(box, 4)


def _box(found, entry):
    """The box xyxy, taken around the outline if there is no box."""
    box = _four(entry.get("bbox"))
    around = None
    if box is None or min(box[2:]) <= 0:
        around = outline_box(entry.get("segmentation"))
    if around is not None:
        reason = "annotation without a bbox (taken around its outline)"
        found.skipped.add(reason, f"annotation {entry.get('id')}", REPAIRED)
        return around
    written = entry["bbox"] if isinstance(entry["bbox"], list) else [str(entry["bbox"])]
    if any(isinstance(v, str) for v in (*written, entry["image_id"], entry["category_id"])):
        found.skipped.add(_TEXT, _short(entry), REPAIRED)
    x, y, width, height = box
    return x, y, x + width, y + height


def _short(entry):
    """The beginning of an entry, cheaply, whatever it contains."""
    if isinstance(entry, dict):
        entry = {k: v for k, v in entry.items() if k != "segmentation"}
    try:
        return str(entry)[:160]
    except ValueError:  # an integer of more digits than Python writes
        return "entry with an enormous number"
