"""A detection data set in memory: one `Record` per image, class names, and an account of what was
skipped while reading it."""

from dataclasses import dataclass, field, replace

import numpy as np

from ..checks import check_int, check_kind, check_names
from .account import Skipped
from .describe import describe, summary
from .errors import DatasetError


@dataclass(frozen=True)
class Record:
    """One image and its objects.

    Attributes:
        path: the image file.
        width, height: of the upright image, in pixels.
        boxes: float32 (n, 4) xyxy in pixels, inside the image.
        labels: int32 (n,), 0 to C - 1.
        crowd: bool (n,); crowds (and VOC's difficult objects) are not trained on, and evaluation
            ignores them.
        areas: float32 (n,): the objects' areas (those of their outlines where the data set has
            them), for COCO AP by size.
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


@dataclass
class Dataset:
    """Records in a fixed order, with the names of their classes.

    Attributes:
        records: list of `Record`.
        class_names: tuple of C names; `labels` index it.
        category_ids: tuple of C ids, the data set's own numbers of the classes.
        skipped: `Skipped`, the account of what reading left out, repaired and assumed.
        source: where it was read from, for messages.
        levels: `(black, white)` of its deep pictures, which become 0 and 255; None without any.
        decoded: the pipeline's letterboxed images of one size, if they fit in memory; `take` and
            the like start without them.
        unread: path -> reason for pictures that the pipeline could not decode.
    """

    records: list
    class_names: tuple
    category_ids: tuple
    skipped: Skipped = field(default_factory=Skipped)
    source: str = ""
    levels: tuple | None = None
    decoded: dict = field(default_factory=dict, init=False, repr=False, compare=False)
    unread: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self):
        return len(self.records)

    @property
    def max_boxes(self):
        """The largest number of trainable (not crowd) boxes in an image, at least 1."""
        return max([1, *(int((~r.crowd).sum()) for r in self.records)])

    def take(self, count):
        """Returns the data set with only its first `count` images."""
        return replace(self, records=self.records[: check_int(count, "count", least=0)])

    def with_classes(self, class_names):
        """Returns the same records with labels that follow another order of classes, such as a
        detector's; classes match by name. Returns the data set itself if the order is the same.

        Raises:
            DatasetError: an object's class is not among `class_names`.
        """
        class_names = check_names(class_names, "class_names")
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
        """Returns a report to read: images, objects per class, box sizes, and what was skipped,
        repaired and assumed."""
        return describe(self)

    def summary(self):
        """The content of `describe` as a dict for JSON."""
        return summary(self)


def check_dataset(dataset, name="dataset"):
    """The data set, if it is one."""
    return check_kind(
        dataset, name, Dataset, "a data set that `data.load` or `data.from_records` returned"
    )


def check_parts(parts):
    """A dict of data sets by the names of their splits; a single data set has none."""
    if not isinstance(parts, dict):
        return {None: check_dataset(parts, "parts")}
    if not parts:
        raise ValueError("`parts` must be one data set or more. Received: parts={}")
    for part in parts.values():
        check_dataset(part, "parts")
    return parts


def merge(datasets):
    """Joins data sets of the same classes into one.

    Args:
        datasets: list of `Dataset`, whose order stays.

    Raises:
        DatasetError: their classes differ.
    """
    check_kind(datasets, "datasets", (list, tuple), "a list of data sets")
    if not datasets:
        raise ValueError(f"`datasets` must be one data set or more. Received: datasets={datasets}")
    first, *_ = (check_dataset(each, "datasets") for each in datasets)
    if len(datasets) == 1:
        return first
    skipped = Skipped()
    for dataset in datasets:
        if dataset.class_names != first.class_names:
            raise DatasetError(
                f"expected the same classes in all splits; received {first.class_names} in "
                f"{first.source} and {dataset.class_names} in {dataset.source}. Write the same "
                "list of classes into both."
            )
        skipped.update(dataset.skipped)
    records = [record for dataset in datasets for record in dataset.records]
    return replace(
        first, records=records, skipped=skipped, source=" + ".join(d.source for d in datasets)
    )
