"""From names to files: every annotated picture is found, its head is read, and what is entered
twice becomes one."""

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..images.files import ImageError
from ..images.header import check_size, image_header
from .account import ASSUMED, REPAIRED
from .errors import DatasetError, PicturesNotFound

UNREADABLE = "image missing, truncated or unreadable"


@dataclass
class Located:
    """The N usable pictures of a set.

    Attributes:
        images: `Annotated` of each. paths: of the files. headers: `Header` of each.
        place_of: index of every annotated image among these, -1 for one that is left out.
    """

    images: list
    paths: list
    headers: list
    place_of: np.ndarray

    @cached_property
    def orientation(self):
        """(N,) of EXIF."""
        return np.array([header.orientation for header in self.headers])

    @cached_property
    def stored(self):
        """(N, 2) width and height of the stored pixels."""
        return np.array([(h.width, h.height) for h in self.headers], "float64")

    @cached_property
    def upright(self):
        """(N, 2) width and height of the upright picture."""
        return np.array([header.upright for header in self.headers], "float64")

    @cached_property
    def stated(self):
        """(N, 2) width and height by the annotations, NaN where there is none."""
        return np.array([image.size or (np.nan, np.nan) for image in self.images], "float64")


def locate(found, max_pixels):
    """The `Located` pictures of an `Annotations`.

    Raises:
        DatasetError: none is usable; `PicturesNotFound` where no file is there.
    """
    pictures = Located([], [], [], np.full(len(found.images), -1, "int64"))
    first, missing, doubled = {}, 0, []
    for i, image in enumerate(found.images):
        path = _path(found, image)
        missing += path is None
        if path in first:
            pictures.place_of[i] = first[path]
            doubled.append(f"{path}: {pictures.images[first[path]].image_id}, {image.image_id}")
        elif path is not None and (header := _header(path, max_pixels, found.skipped)):
            pictures.place_of[i] = first[path] = len(pictures.paths)
            pictures.images.append(image)
            pictures.paths.append(path)
            pictures.headers.append(header)
    if missing and missing == len(found.images):
        _raise_not_found(found)
    reason = "picture entered more than once (the objects of its entries are joined)"
    found.skipped.add_many(reason, len(doubled), iter(doubled), REPAIRED)
    if not pictures.paths:
        detail = f" Skipped: {found.skipped}" if found.skipped.total else ""
        raise DatasetError(
            f"{found.source}: expected at least one usable image; found none. Check the paths in "
            f"the annotations.{detail}"
        )
    return pictures


def _path(found, image):
    """Of the picture's file, None where there is none."""
    path, how = found.pictures.find(image.name, image.near, image.other_name)
    if path is None:
        found.skipped.add(UNREADABLE, f"{image.name}: no such file")
        return None
    if how:
        found.skipped.add(how, f"{image.name}: {path}", ASSUMED)
    return os.path.normpath(path)


def _header(path, max_pixels, skipped):
    try:
        header = image_header(path)
    except ImageError as error:
        skipped.add(UNREADABLE, error)
        return None
    try:
        check_size(header, max_pixels, path)
    except ImageError as error:
        skipped.add("picture too large to decode", error)
        return None
    return header


def _raise_not_found(found):
    tried = found.pictures.folders
    shown = ", ".join(tried[:8]) + (f" and {len(tried) - 8} more" if len(tried) > 8 else "")
    raise PicturesNotFound(
        f"{found.source}: expected its image files (such as {found.images[0].name[:120]!r}) in one "
        f"of {shown}; found none of {len(found.images)}. Put them there, or name their folder with "
        "`images`."
    )


def assign(objects, pictures, skipped):
    """Owners of `Columns` become places among the usable pictures; objects that two entries of one
    file have alike are kept once."""
    place_of, images = pictures.place_of, pictures.images
    entries = objects.owners.copy()
    objects.owners = place_of[entries]
    kept = objects.owners >= 0
    objects.keep(kept)
    entries = entries[kept]
    order = np.argsort(objects.owners, kind="stable")
    for name in ("owners", "boxes", "labels", "crowd", "areas"):
        setattr(objects, name, getattr(objects, name)[order])
    entries = entries[order]
    several = np.flatnonzero(np.bincount(place_of[place_of >= 0], minlength=1) > 1)
    keep = np.ones(len(entries), bool)
    for place in several:
        seen = {}
        for i in np.flatnonzero(objects.owners == place):
            what = (*objects.boxes[i], objects.labels[i], objects.crowd[i])
            keep[i] = seen.setdefault(what, entries[i]) == entries[i]
    reason = "object entered more than once"
    dropped = (f"image {images[objects.owners[i]].image_id}" for i in np.flatnonzero(~keep))
    skipped.add_many(reason, int((~keep).sum()), dropped, REPAIRED)
    objects.keep(keep)
