"""The data that a layout reads, before they are cleaned: pictures by name, and objects as
columns."""

import math
from array import array
from dataclasses import dataclass, field

import numpy as np

from .account import ASSUMED, Skipped


@dataclass(slots=True)
class Annotated:
    """One picture as annotated.

    Attributes:
        name: the name of its file as written, with or without folders and suffix.
        image_id: the data set's own name or number.
        size: (width, height) as the annotation states it, or None.
        near: folder of the annotation file, for when several pictures have the name; "" if unknown.
        other_name: a second name to try.
    """

    name: str
    image_id: object
    size: tuple | None = None
    near: str = ""
    other_name: str = ""


class Objects:
    """Objects as columns; `frozen` turns them into arrays in the order of their pictures."""

    def __init__(self):
        self.owners = array("q")
        self.boxes = array("d")
        self.labels = array("q")
        self.crowd = bytearray()
        self.areas = array("d")

    def __len__(self):
        return len(self.owners)

    def add(self, owner, box, label, crowd=False, area=None):
        """Adds one object: index of its picture, box xyxy, label, area of its outline."""
        self.boxes.extend(box)
        self.owners.append(owner)
        self.labels.append(label)
        self.crowd.append(bool(crowd))
        self.areas.append(math.nan if area is None else area)

    def frozen(self):
        """The columns as arrays, by picture; boxes (n, 4), area NaN where it is not stated."""
        owners = np.array(self.owners, "int64")
        order = np.argsort(owners, kind="stable")
        return Columns(
            owners[order],
            np.array(self.boxes, "float64").reshape(-1, 4)[order],
            np.array(self.labels, "int64")[order],
            np.frombuffer(bytes(self.crowd), "bool")[order],
            np.array(self.areas, "float64")[order],
        )


@dataclass
class Columns:
    """Objects as arrays in the order of their pictures."""

    owners: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    def keep(self, mask):
        self.owners, self.boxes, self.labels = (
            c[mask] for c in (self.owners, self.boxes, self.labels)
        )
        self.crowd, self.areas = self.crowd[mask], self.areas[mask]


@dataclass
class Annotations:
    """A data set as it is annotated.

    Attributes:
        images: list of `Annotated`.
        objects: `Objects`; their owners index `images`, their labels `class_names`.
        class_names: list of names.
        category_ids: list of the set's own numbers of the classes.
        pictures: `Pictures`, which finds the files.
        source: for messages.
        skipped: the account so far.
        one_based: pixels count from 1 and a box includes its last one, as in Pascal VOC.
        shares: boxes are shares of the picture's width and height.
    """

    images: list
    objects: Objects
    class_names: list
    category_ids: list
    pictures: object
    source: str
    skipped: Skipped = field(default_factory=Skipped)
    one_based: bool = False
    shares: bool = False

    def name_classes(self, names, highest=None):
        """Sets the classes, numbered from 0, and reports names that look alike; without names, the
        numbers up to `highest` are used if it is given. Returns name -> label."""
        names = list(names)
        if not names and highest is not None:
            names = [str(k) for k in range(highest + 1)] or ["0"]
            reason = "classes without names (numbers are taken)"
            self.skipped.add(reason, f"0 to {highest}", ASSUMED)
        self.class_names, self.category_ids = names, list(range(len(names)))
        note_alike(names, self.skipped)
        return {name: label for label, name in enumerate(names)}


def note_alike(names, skipped):
    """Reports names that differ only in case or blanks: they are kept apart."""
    alike = {}
    for name in names:
        alike.setdefault("".join(name.casefold().split()), []).append(name)
    groups = [", ".join(group) for group in alike.values() if len(group) > 1]
    reason = "classes that differ only in case or blanks (kept apart)"
    skipped.add_many(reason, len(groups), iter(groups), ASSUMED)
