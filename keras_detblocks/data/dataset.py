"""A detection data set in memory: one `Record` per image, class names, and an account of what was
skipped while reading it."""

import pathlib
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from ..images.read import ImageError, image_header


class DatasetError(ValueError):
    """A data set that cannot be used at all: missing, empty or malformed."""


@dataclass(frozen=True)
class Record:
    """One image and its objects.

    Attributes:
        path: the image file.
        width, height: of the upright image, in pixels.
        boxes: float32 (n, 4) xyxy in pixels, inside the image.
        labels: int32 (n,), 0 to C - 1.
        crowd: bool (n,); crowds (and VOC's difficult objects) are left out of training and ignored
            in evaluation.
        areas: float32 (n,) of the objects (of their outlines where the data set brings them), for
            COCO AP by size.
        image_id: the data set's own name or number of the image.
    """

    path: str
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    image_id: object


class Skipped:
    """Counts of what was skipped or mended while reading, by reason, with the first few examples of
    each.

    >>> skipped = Skipped()
    >>> skipped.add("box without area", "image 7: [3, 4, 0, 5]")
    >>> print(skipped)
    1 x box without area (image 7: [3, 4, 0, 5])
    """

    EXAMPLES = 3

    def __init__(self):
        self.counts = Counter()
        self.examples = {}

    def add(self, reason, example):
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < self.EXAMPLES:
            examples.append(str(example))

    def update(self, other):
        """Adds the account of another part of the data set."""
        self.counts.update(other.counts)
        for reason, examples in other.examples.items():
            self.examples[reason] = (self.examples.get(reason, []) + examples)[: self.EXAMPLES]

    @property
    def total(self):
        return sum(self.counts.values())

    def __str__(self):
        lines = []
        for reason, count in self.counts.most_common():
            examples = "; ".join(self.examples[reason]) + ("; ..." if count > self.EXAMPLES else "")
            lines.append(f"{count} x {reason} ({examples})")
        return "\n".join(lines)


@dataclass
class Dataset:
    """Records in a fixed order, and what their labels mean.

    Attributes:
        records: list of `Record`.
        class_names: tuple of C names; `labels` index it.
        category_ids: tuple of C ids, the data set's own numbers of the classes.
        skipped: `Skipped`, the account of what reading left out.
        source: where it was read from, for messages.
        decoded: the pipeline's letterboxed images of one size, where they fit in memory; `take` and
            the like start without.
    """

    records: list
    class_names: tuple
    category_ids: tuple
    skipped: Skipped = field(default_factory=Skipped)
    source: str = ""
    decoded: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self):
        return len(self.records)

    @property
    def max_boxes(self):
        """The largest number of trainable (not crowd) boxes in an image, at least 1."""
        return max([1, *(int((~r.crowd).sum()) for r in self.records)])

    def take(self, count):
        """The same data set with the first `count` images only."""
        return replace(self, records=self.records[:count])

    def with_classes(self, class_names):
        """The same records with the labels of another order of classes, such as a detector's; names
        decide. Itself if it is this.

        Raises:
            DatasetError: an object here is of a class that is not among `class_names`.
        """
        class_names = tuple(class_names)
        if class_names == tuple(self.class_names):
            return self
        used = {self.class_names[label] for r in self.records for label in r.labels}
        if not used <= set(class_names):
            missing = ", ".join(sorted(used - set(class_names)))
            raise DatasetError(
                f"{self.source}: expected the classes {', '.join(class_names)}; received objects "
                f"of {missing} as well."
            )
        table = np.array(
            [class_names.index(n) if n in class_names else -1 for n in self.class_names], "int32"
        )
        ids = dict(zip(self.class_names, self.category_ids))
        free = max([-1, *(i for i in self.category_ids if isinstance(i, int))]) + 1
        category_ids = tuple(ids[n] if n in ids else free + k for k, n in enumerate(class_names))
        records = [replace(r, labels=table[r.labels]) for r in self.records]
        return replace(self, records=records, class_names=class_names, category_ids=category_ids)

    def describe(self):
        """A report to read: images, objects per class, box sizes, and what was skipped."""
        boxes = np.concatenate([r.boxes for r in self.records] or [np.zeros((0, 4))])
        labels = np.concatenate([r.labels for r in self.records] or [np.zeros(0, int)])
        empty = sum(len(r.boxes) == 0 for r in self.records)
        lines = [
            f"{self.source}: {len(self)} images ({empty} without objects), {len(boxes)} objects, "
            f"{len(self.class_names)} classes"
        ]
        lines.append("images (width x height): " + _sizes_of_images(self.records))
        for label, name in enumerate(self.class_names):
            sizes = boxes[labels == label]
            lines.append(
                f"  {name}: {len(sizes)} objects"
                + (f", {_sizes_of_boxes(sizes)}" if len(sizes) else "")
            )
        crowds = sum(int(r.crowd.sum()) for r in self.records)
        lines.append(
            f"crowd or difficult objects (not trained on, ignored in evaluation): {crowds}"
        )
        lines.append(f"skipped or mended: {self.skipped.total}")
        lines += [f"  {line}" for line in str(self.skipped).splitlines()]
        return "\n".join(lines)


def _sizes_of_images(records):
    counts = Counter((r.width, r.height) for r in records).most_common()
    text = ", ".join(f"{w}x{h} ({n})" for (w, h), n in counts[:3])
    return text + (f" and {len(counts) - 3} other sizes" if len(counts) > 3 else "")


def _sizes_of_boxes(boxes):
    """Quantiles of the boxes' sides, the root of their area, in pixels."""
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    low, middle, high = np.quantile(sides, [0.05, 0.5, 0.95])
    return f"side {middle:.0f} px (5 to 95 %: {low:.0f} to {high:.0f})"


def make_record(path, stated_size, objects, image_id, skipped):
    """A clean `Record`, or None where the image cannot be used; says in `skipped` what it left out.

    Args:
        path: of the image file; its head is read.
        stated_size: (width, height) that the annotation claims, or None.
        objects: list of `(box xyxy, label, crowd, area or None)`.
        image_id: kept as it is.
        skipped: a `Skipped` to add to.
    """
    try:
        width, height, orientation = image_header(path)
    except ImageError as error:
        skipped.add("image missing, truncated or unreadable", error)
        return None
    boxes = np.array([o[0] for o in objects], "float64").reshape(-1, 4)
    stored = (width, height)
    if orientation >= 5:
        width, height = height, width
        if stated_size == stored and stored != (
            width,
            height,
        ):  # annotated on the stored pixels: turn the boxes with the image
            boxes, stated_size = _turn(boxes, orientation, stored), (width, height)
    if stated_size and tuple(stated_size) != (width, height):
        factors = np.array([width, height]) / np.maximum(stated_size, 1)
        if abs(factors[0] / factors[1] - 1) < 0.02:  # the same picture, resized
            boxes = boxes * np.tile(factors, 2)
            objects = [(*o[:3], None if o[3] is None else o[3] * factors.prod()) for o in objects]
            what = "image resized after annotation (the boxes are scaled with it)"
        else:
            what = "image size differs from the annotation's (the file's is used)"
        skipped.add(what, f"{path}: {stated_size}, file {width, height}")
    keep, boxes = _clean_boxes(boxes, width, height, f"image {image_id}", skipped)
    objects = [o for o, k in zip(objects, keep) if k]
    extents = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Record(
        path=str(path),
        width=width,
        height=height,
        boxes=boxes.astype("float32"),
        labels=np.array([o[1] for o in objects], "int32"),
        crowd=np.array([bool(o[2]) for o in objects], bool),
        areas=np.array([e if o[3] is None else o[3] for o, e in zip(objects, extents)], "float32"),
        image_id=image_id,
    )


def _clean_boxes(boxes, width, height, where, skipped):
    """`(keep (n,) bool, boxes clipped and kept)`."""
    clipped = np.clip(boxes, 0, [width, height, width, height])
    keep = np.ones(len(boxes), bool)
    for i, (box, inside) in enumerate(zip(boxes, clipped)):
        example = f"{where}: {[round(float(c), 1) for c in box]} in {width}x{height}"
        if not np.isfinite(box).all():
            skipped.add("box that is not four numbers", example)
            keep[i] = False
        elif box[2] <= box[0] or box[3] <= box[1]:
            skipped.add("box of zero or negative size", example)
            keep[i] = False
        elif inside[2] <= inside[0] or inside[3] <= inside[1]:
            skipped.add("box outside its image", example)
            keep[i] = False
        elif (
            np.abs(box - inside).max() > 1
        ):  # up to a pixel is the usual rounding, clipped without a word
            skipped.add("box reaching out of its image (clipped)", example)
    return keep, clipped[keep]


def _turn(boxes, orientation, stored):
    """Boxes on the stored (width, height) pixels -> on the upright image, for the EXIF orientations
    that swap the sides."""
    width, height = stored
    x0, y0, x1, y1 = boxes.T
    turned = {
        5: (y0, x0, y1, x1),
        6: (height - y1, x0, height - y0, x1),
        7: (height - y1, width - x1, height - y0, width - x0),
        8: (y0, width - x1, y1, width - x0),
    }[orientation]
    return np.stack(turned, axis=1)


def finish(records, class_names, category_ids, skipped, source):
    """The `Dataset` of what was read; an error where nothing is left."""
    records = [r for r in records if r is not None]
    if not records:
        detail = f" Skipped: {str(skipped)}" if skipped.total else ""
        raise DatasetError(
            f"{source}: expected at least one usable image; found none. Check the paths in the "
            f"annotations.{detail}"
        )
    return Dataset(
        records, tuple(class_names), tuple(category_ids), skipped, str(pathlib.Path(source))
    )


def merge(datasets):
    """Several data sets of the same classes as one, in order.

    Raises:
        DatasetError: their classes differ.
    """
    first = datasets[0]
    if len(datasets) == 1:
        return first
    skipped = Skipped()
    for dataset in datasets:
        if dataset.class_names != first.class_names:
            raise DatasetError(
                f"expected the same classes in all splits; received {first.class_names} in "
                f"{first.source} and "
                f"{dataset.class_names} in {dataset.source}. Write the same list of classes into "
                f"both."
            )
        skipped.update(dataset.skipped)
    records = [record for dataset in datasets for record in dataset.records]
    return replace(
        first, records=records, skipped=skipped, source=" + ".join(d.source for d in datasets)
    )
