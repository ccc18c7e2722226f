"""Describes a data set, as a text to read and as a dict for JSON."""

from collections import Counter

import numpy as np

from .account import ASSUMED, REPAIRED, SKIPPED

COCO_MAX_DETECTIONS = 100


def summary(dataset):
    """Returns a dict of plain numbers and texts: images, objects, classes, sizes, and the
    account."""
    records = dataset.records
    boxes, labels = _columns(records)
    counts = [len(r.boxes) - int(r.crowd.sum()) for r in records]
    return {
        "source": dataset.source,
        "images": len(records),
        "images_without_objects": sum(len(r.boxes) == 0 for r in records),
        "objects": len(boxes),
        "crowd": sum(int(r.crowd.sum()) for r in records),
        "most_objects_in_an_image": max(counts, default=0),
        "images_of_over_100_objects": sum(n > COCO_MAX_DETECTIONS for n in counts),
        "image_sizes": [
            {"width": w, "height": h, "images": n}
            for (w, h), n in Counter((r.width, r.height) for r in records).most_common(10)
        ],
        "classes": [
            {"name": name, "id": category, **_class_numbers(boxes[labels == label])}
            for label, (name, category) in enumerate(zip(dataset.class_names, dataset.category_ids))
        ],
        "deep_levels": dataset.levels,
        "account": dataset.skipped.as_list(),
    }


def _class_numbers(boxes):
    sides = _sides(boxes)
    quantiles = (
        [round(float(q), 1) for q in np.quantile(sides, [0.05, 0.5, 0.95])] if len(sides) else None
    )
    return {"objects": len(boxes), "sides_5_50_95": quantiles}


def describe(dataset):
    """See `Dataset.describe`."""
    found = summary(dataset)
    lines = [
        f"{found['source']}: {found['images']} images ({found['images_without_objects']} without "
        f"objects), {found['objects']} objects, {len(found['classes'])} classes",
        "images (width x height): " + _sizes_of_images(dataset.records),
    ]
    for each in found["classes"]:
        lines.append(f"  {_cut(each['name'])}: {each['objects']} objects" + _quantiles(each))
    lines.append(
        f"crowd or difficult objects (not trained on, ignored in evaluation): {found['crowd']}"
    )
    lines += crowded(dataset)
    account = dataset.skipped
    lines.append(f"skipped or mended: {account.total - sum(account.of(ASSUMED).values())}")
    for kind in (SKIPPED, REPAIRED):
        lines += [f"  {line}" for line in account.lines(kind)]
    if account.of(ASSUMED):
        lines.append("assumed:")
        lines += [f"  {line}" for line in account.lines(ASSUMED)]
    return "\n".join(lines)


def crowded(dataset):
    """A line for sets whose pictures hold more objects than COCO's AP counts detections."""
    counts = [len(r.boxes) - int(r.crowd.sum()) for r in dataset.records]
    over = sum(n > COCO_MAX_DETECTIONS for n in counts)
    if not over:
        return []
    return [
        f"{over} images hold more than {COCO_MAX_DETECTIONS} objects (up to {max(counts)}): COCO "
        f"AP and a detector count {COCO_MAX_DETECTIONS} detections per image unless "
        "`max_detections` is raised, so that even a perfect one scores low"
    ]


def _columns(records):
    boxes = np.concatenate([r.boxes for r in records] or [np.zeros((0, 4))])
    return boxes, np.concatenate([r.labels for r in records] or [np.zeros(0, int)])


def _sides(boxes):
    """The boxes' sides, the root of their area, in pixels."""
    return np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _quantiles(each):
    if each["sides_5_50_95"] is None:
        return ""
    low, middle, high = each["sides_5_50_95"]
    return f", side {middle:.0f} px (5 to 95 %: {low:.0f} to {high:.0f})"


def _sizes_of_images(records):
    counts = Counter((r.width, r.height) for r in records).most_common()
    text = ", ".join(f"{w}x{h} ({n})" for (w, h), n in counts[:3])
    return text + (f" and {len(counts) - 3} other sizes" if len(counts) > 3 else "")


def _cut(name):
    return name if len(name) <= 80 else f"{name[:77]}..."
