"""The one step that every layout goes through: from pictures and objects as annotated to `Record`s.

Finds the files, reads their heads, joins what was entered twice, brings boxes into the pixels of
the upright picture, clips them, and says in the account what it did. Works on the columns of the
whole set at once, which lets the set decide what a single picture cannot tell.
"""

import os

import numpy as np

from ..images.files import MAX_PIXELS, ImageError
from ..images.header import check_size, image_header
from ..images.levels import joined
from ..images.read import deep_levels
from .account import ASSUMED, REPAIRED
from .dataset import Dataset, Record
from .errors import DatasetError, PicturesNotFound
from .frames import Frames, check_convention, drawn_on_stored, turn

UNREADABLE = "image missing, truncated or unreadable"
_DEEP_LOOKED_AT = 64


def cleaned(found, exif="evidence", max_pixels=MAX_PIXELS):
    """The `Dataset` of an `Annotations`.

    Args:
        found: what a layout read.
        exif: see `frames.drawn_on_stored`.
        max_pixels: larger pictures that cannot be decoded reduced are skipped.

    Raises:
        DatasetError: no picture is usable; `PicturesNotFound` where none is there.
    """
    check_convention(exif)
    skipped = found.skipped
    images, paths, headers, place_of = _located(found, max_pixels)
    if not images:
        detail = f" Skipped: {skipped}" if skipped.total else ""
        raise DatasetError(
            f"{found.source}: expected at least one usable image; found none. Check the paths in "
            f"the annotations.{detail}"
        )
    objects = found.objects.frozen()
    _assign_pictures(objects, place_of, skipped, images)
    stated = np.array([image.size or (np.nan, np.nan) for image in images], "float64")
    stored = np.array([(h.width, h.height) for h in headers], "float64")
    upright = np.array([h.upright for h in headers], "float64")
    orientation = np.array([h.orientation for h in headers])
    shares = np.full(len(images), found.shares)
    if not found.shares:
        shares = _in_shares(objects, len(images))
        _note_shares(shares, paths, skipped)
    if found.one_based:
        _count_from_zero(objects, shares)
    pixels = ~shares[objects.owners]
    owners, boxes = objects.owners[pixels], objects.boxes[pixels]
    frames = Frames(paths, orientation, stored, upright, stated, owners, boxes)
    on_stored = drawn_on_stored(frames, exif, skipped)
    frame = np.where(on_stored[:, None], stored, upright)
    _into_pixels(objects, shares, frame)
    _rescale(objects, shares, stated, frame, frames, skipped)
    _upright(objects, on_stored, orientation, stored)
    _clip(objects, upright, images, skipped)
    records = _records(images, paths, upright, objects)
    return Dataset(
        records,
        tuple(found.class_names),
        tuple(found.category_ids),
        skipped,
        str(found.source),
        _levels(paths, headers, skipped),
    )


def _located(found, max_pixels):
    """Images with a readable file, once each: `(images, paths, headers, place_of)`.

    `place_of` (N,) is the place of each annotated image in these lists, -1 where it is left out.
    """
    images, paths, headers, first = [], [], [], {}
    place_of = np.full(len(found.images), -1, "int64")
    missing, joined_entries = 0, []
    for i, image in enumerate(found.images):
        path, how = found.pictures.find(image.name, image.near, image.other_name)
        if path is None:
            missing += 1
            found.skipped.add(UNREADABLE, f"{image.name}: no such file")
            continue
        if how:
            found.skipped.add(how, f"{image.name}: {path}", ASSUMED)
        path = os.path.normpath(path)
        if path in first:
            place_of[i] = first[path]
            joined_entries.append(f"{path}: {images[first[path]].image_id}, {image.image_id}")
            continue
        header = _header(path, max_pixels, found.skipped)
        if header is not None:
            place_of[i] = first[path] = len(images)
            images.append(image)
            paths.append(path)
            headers.append(header)
    if missing and missing == len(found.images):
        _raise_not_found(found)
    reason = "picture entered more than once (the objects of its entries are joined)"
    found.skipped.add_many(reason, len(joined_entries), iter(joined_entries), REPAIRED)
    return images, paths, headers, place_of


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


def _assign_pictures(objects, place_of, skipped, images):
    """Owners become places in the list of usable images; objects that two entries of one file have
    alike are kept once."""
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


def _in_shares(objects, count):
    """Mask of the pictures all of whose boxes lie between 0 and 1, some with sides below 1: shares
    of the picture, since nobody draws objects smaller than a pixel in its corner."""
    boxes = objects.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    with np.errstate(invalid="ignore"):
        inside = (sides > 0).all(1) & (boxes >= -1e-3).all(1) & (boxes <= 1.001).all(1)
        small = inside & (sides < 1).any(1)
    of_all = np.bincount(objects.owners, minlength=count)
    of_inside = np.bincount(objects.owners[inside], minlength=count)
    of_small = np.bincount(objects.owners[small], minlength=count)
    return (of_all > 0) & (of_inside == of_all) & (of_small > 0)


def _note_shares(shares, paths, skipped):
    reason = "picture with all boxes between 0 and 1: taken as shares of its width and height"
    skipped.add_many(reason, int(shares.sum()), (paths[i] for i in np.flatnonzero(shares)), ASSUMED)


def _count_from_zero(objects, shares):
    """Pascal VOC counts pixels from 1; a click without a drag is no object of one pixel."""
    boxes = objects.boxes
    real = (boxes[:, 2:] > boxes[:, :2]).all(1) & ~shares[objects.owners]
    boxes[real, :2] -= 1


def _into_pixels(objects, shares, frame):
    of_shares = shares[objects.owners]
    objects.boxes[of_shares] *= np.tile(frame[objects.owners[of_shares]], 2)
    objects.areas[of_shares] = np.nan


def _rescale(objects, shares, stated, frame, frames, skipped):
    """The same picture in another size takes its boxes along; another shape is only told."""
    # A size that is stated with its sides exchanged belongs to the other frame of a turned picture.
    swap = (frames.orientation >= 5) & (stated[:, ::-1] == frame).all(1)
    stated = np.where(swap[:, None], stated[:, ::-1], stated)
    differs = np.isfinite(stated).all(1) & (stated != frame).any(1) & ~shares
    if not differs.any():
        return
    factors = frame / np.maximum(np.where(np.isfinite(stated), stated, 1), 1)
    resized = differs & (np.abs(factors[:, 0] / factors[:, 1] - 1) < 0.02)
    mask = resized[objects.owners]
    scale = factors[objects.owners[mask]]
    objects.boxes[mask] *= np.tile(scale, 2)
    objects.areas[mask] *= scale.prod(1)
    for which, reason, kind in (
        (resized, "image resized after annotation (the boxes are scaled with it)", REPAIRED),
        (
            differs & ~resized,
            "image size differs from the annotation's (the file's is used)",
            ASSUMED,
        ),
    ):
        examples = (
            f"{frames.paths[i]}: {tuple(stated[i].astype(int).tolist())}, file "
            f"{tuple(frame[i].astype(int).tolist())}"
            for i in np.flatnonzero(which)
        )
        skipped.add_many(reason, int(which.sum()), examples, kind)


def _upright(objects, on_stored, orientation, stored):
    of_objects = np.where(on_stored, orientation, 1)[objects.owners]
    for each in range(2, 9):
        mask = of_objects == each
        if mask.any():
            sizes = stored[objects.owners[mask]]
            objects.boxes[mask] = turn(objects.boxes[mask], each, sizes)


def _clip(objects, upright, images, skipped):
    boxes, limits = objects.boxes, np.tile(upright[objects.owners], 2)
    inside = np.clip(boxes, 0, limits)
    with np.errstate(invalid="ignore"):
        broken = ~np.isfinite(boxes).all(1)
        empty = ~broken & (boxes[:, 2:] <= boxes[:, :2]).any(1)
        outside = ~broken & ~empty & (inside[:, 2:] <= inside[:, :2]).any(1)
        reaching = ~(broken | empty | outside) & (np.abs(boxes - inside).max(1, initial=0) > 1)
    for mask, reason, kind in (
        (broken, "box that is not four numbers", None),
        (empty, "box of zero or negative size", None),
        (outside, "box outside its image", None),
        # up to a pixel is the usual rounding, clipped without a word
        (reaching, "box reaching out of its image (clipped)", REPAIRED),
    ):
        examples = (_box_example(objects, i, upright, images) for i in np.flatnonzero(mask))
        args = (kind,) if kind else ()
        skipped.add_many(reason, int(mask.sum()), examples, *args)
    objects.boxes = inside
    objects.keep(~(broken | empty | outside))


def _box_example(objects, i, upright, images):
    owner = objects.owners[i]
    width, height = upright[owner].astype(int)
    box = [round(float(c), 1) for c in objects.boxes[i]]
    return f"image {images[owner].image_id}: {box} in {width}x{height}"


def _records(images, paths, upright, objects):
    boxes = objects.boxes.astype("float32")
    extents = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(1)
    areas = np.where(np.isfinite(objects.areas) & (objects.areas > 0), objects.areas, extents)
    areas, labels = areas.astype("float32"), objects.labels.astype("int32")
    ends = np.searchsorted(objects.owners, np.arange(len(images) + 1)).tolist()
    sizes = upright.astype(int).tolist()
    return [
        Record(path, *size, boxes[a:b], labels[a:b], objects.crowd[a:b], areas[a:b], image.image_id)
        for image, path, size, a, b in zip(images, paths, sizes, ends, ends[1:])
    ]


def _levels(paths, headers, skipped):
    """The `(black, white)` of a set's deep pictures, by some of them; None where there is none."""
    deep = [path for path, header in zip(paths, headers) if header.deep]
    looked_at = deep[:: -(-len(deep) // _DEEP_LOOKED_AT)] if deep else []
    found = []
    for path in looked_at:
        try:
            found.append(deep_levels(path))
        except ImageError:
            continue  # the pipeline tells of pictures that turn out unreadable
    if not found:
        return None
    black, white = joined(found)
    reason = f"deep picture (more than 8 bits): values {black:g} to {white:g} become 0 to 255"
    example = f"by the darkest and brightest of {len(found)}, such as {looked_at[0]}"
    skipped.add_many(reason, len(deep), (example,), ASSUMED)
    return black, white
