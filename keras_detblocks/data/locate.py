"""Goes from names to files: finds every annotated picture, reads its header, and joins double
entries."""

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..images.files import ImageError
from ..images.header import check_size, image_header
from .account import ASSUMED, REPAIRED
from .errors import DatasetError, PicturesNotFound
from .pictures import BY_NAME, ELSEWHERE

UNREADABLE = "image missing, truncated or unreadable"


@dataclass
class Located:
    """The N usable pictures of a set.

    Attributes:
        images: `Annotated` of each.
        paths: of the files.
        headers: `Header` of each.
        place_of: index of every annotated image among these, -1 for those left out.
    """

    images: list
    paths: list
    headers: list
    place_of: np.ndarray

    @cached_property
    def orientation(self):
        """The EXIF orientations (N,)."""
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
        """(N, 2) width and height according to the annotations, NaN if not stated."""
        return np.array([image.size or (np.nan, np.nan) for image in self.images], "float64")


def locate(found, max_pixels):
    """The `Located` pictures of an `Annotations`.

    Raises:
        DatasetError: none is usable; `PicturesNotFound` if no file exists.
    """
    pictures = Located([], [], [], np.full(len(found.images), -1, "int64"))
    paths = _paths(found)
    first, doubled = {}, []
    for i, (image, path) in enumerate(zip(found.images, paths)):
        if path in first:
            pictures.place_of[i] = first[path]
            doubled.append(f"{path}: {pictures.images[first[path]].image_id}, {image.image_id}")
        elif path is not None and (header := _header(path, max_pixels, found.skipped)):
            pictures.place_of[i] = first[path] = len(pictures.paths)
            pictures.images.append(image)
            pictures.paths.append(path)
            pictures.headers.append(header)
    reason = "picture entered more than once (the objects of its entries are joined)"
    found.skipped.add_many(reason, len(doubled), iter(doubled), REPAIRED)
    if not pictures.paths:
        detail = f" Skipped: {found.skipped}" if found.skipped.total else ""
        raise DatasetError(
            f"{found.source}: expected at least one usable image; found none. Check the paths in "
            f"the annotations.{detail}"
        )
    return pictures


def _paths(found):
    """The path of each annotated picture's file; None without one, or if a guess leads two
    different names to the same file."""
    ways = [found.pictures.find(each.name, each.near, each.other_name) for each in found.images]
    if ways and all(path is None for path, _ in ways):
        _raise_not_found(found)
    guessed = {}
    for image, (path, how) in zip(found.images, ways):
        if how in (ELSEWHERE, BY_NAME):
            guessed.setdefault(path, set()).add(image.name)
    plain = {path for path, how in ways if how is None and path in guessed}
    doubtful = {path for path, names in guessed.items() if len(names) > 1 or path in plain}
    return [_told(found, image, *way, doubtful) for image, way in zip(found.images, ways)]


def _told(found, image, path, how, doubtful):
    """The path, with a line in the account if it is not the one that is written."""
    if path is None:
        found.skipped.add(UNREADABLE, f"{image.name}: no such file")
    elif how in (ELSEWHERE, BY_NAME) and path in doubtful:
        reason = "picture whose name leads to the file of another one (left out)"
        found.skipped.add(reason, f"{image.name}: {path}")
        return None
    elif how:
        found.skipped.add(how, f"{image.name}: {path}", ASSUMED)
    return path and os.path.normpath(path)


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
    """Turns the owners of `Columns` into indices of usable pictures; an object that two entries of
    one file share is kept once."""
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
