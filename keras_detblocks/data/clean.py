"""The one step that every layout goes through: from pictures and objects as annotated to `Record`s.

Brings boxes into the pixels of the upright picture, clips them, and records in the account what it
did. It works on the columns of the whole set at once, so that the set decides what a single picture
leaves open.
"""

import numpy as np

from ..checks import check_choice, check_number
from ..images.files import MAX_PIXELS
from ..images.read import LOOKED_AT, levels_of_files
from .account import ASSUMED, REPAIRED
from .dataset import Dataset, Record
from .frames import CONVENTIONS, Frames, drawn_on_stored, turn
from .locate import assign, locate


def cleaned(found, exif="evidence", max_pixels=MAX_PIXELS):
    """The `Dataset` of an `Annotations`.

    Args:
        found: what a layout read.
        exif: see `frames.drawn_on_stored`.
        max_pixels: larger pictures that cannot be decoded reduced are skipped.

    Raises:
        DatasetError: no picture is usable; `PicturesNotFound` if no file exists.
    """
    exif = check_choice(exif, "exif", CONVENTIONS)
    max_pixels = check_number(max_pixels, "max_pixels", above=0)
    pictures = locate(found, max_pixels)
    objects = found.objects.frozen()
    _join_classes(found, objects)
    assign(objects, pictures, found.skipped)
    shares = np.full(len(pictures.paths), found.shares)
    if not found.shares:
        shares = _in_shares(objects, len(shares))
        _note_shares(shares, pictures.paths, found.skipped)
    if found.one_based:
        _count_from_zero(objects, shares)
    _into_upright_pixels(objects, pictures, shares, exif, found.skipped)
    _clip(objects, pictures, found.skipped)
    _note_halved(pictures, found.skipped)
    return Dataset(
        _records(objects, pictures),
        tuple(found.class_names),
        tuple(found.category_ids),
        found.skipped,
        str(found.source),
        _levels(pictures, found.skipped),
    )


def _into_upright_pixels(objects, pictures, shares, exif, skipped):
    """Boxes in shares, of another size or in another frame -> pixels of the upright picture."""
    pixels = ~shares[objects.owners]
    frames = Frames(pictures, objects.owners[pixels], objects.boxes[pixels])
    on_stored = drawn_on_stored(frames, exif, skipped)
    frame = np.where(on_stored[:, None], pictures.stored, pictures.upright)
    _into_pixels(objects, shares, frame)
    _rescale(objects, shares, frame, pictures, skipped)
    _turn(objects, on_stored, pictures)


def _join_classes(found, objects):
    """Joins classes of the same name."""
    names = list(dict.fromkeys(found.class_names))
    if len(names) == len(found.class_names):
        return
    table = np.array([names.index(name) for name in found.class_names])
    objects.labels = table[objects.labels]
    first = [found.class_names.index(name) for name in names]
    doubled = [name for name in names if found.class_names.count(name) > 1]
    found.skipped.add_many("classes of one name (joined)", len(doubled), iter(doubled), REPAIRED)
    found.class_names, found.category_ids = names, [found.category_ids[i] for i in first]


def _in_shares(objects, count):
    """Returns a mask of the pictures whose boxes all lie between 0 and 1, some with sides below 1:
    shares of the picture, since nobody draws objects smaller than a pixel in its corner. If most
    pictures are like this and no box is far off, all are taken so."""
    boxes, finite = objects.boxes, np.isfinite(objects.boxes).all(1)
    sides = boxes[:, 2:] - boxes[:, :2]
    with np.errstate(invalid="ignore"):
        inside = finite & (boxes >= -1e-3).all(1) & (boxes <= 1.001).all(1)
        small = inside & (sides > 0).all(1) & (sides < 1).any(1)
    of_finite, of_inside, of_small = (
        np.bincount(objects.owners[mask], minlength=count) for mask in (finite, inside, small)
    )
    shares = (of_small > 0) & (of_inside == of_finite)
    near = (np.abs(boxes[finite] - 0.5) <= 1).all()
    if near and 2 * shares.sum() > (of_finite > 0).sum():
        shares = of_finite > 0
    return shares


def _note_shares(shares, paths, skipped):
    reason = "picture with all boxes between 0 and 1: taken as shares of its width and height"
    skipped.add_many(reason, int(shares.sum()), (paths[i] for i in np.flatnonzero(shares)), ASSUMED)


def _count_from_zero(objects, shares):
    """Pascal VOC counts pixels from 1; a click without a drag is not an object of one pixel."""
    boxes = objects.boxes
    real = (boxes[:, 2:] > boxes[:, :2]).all(1) & ~shares[objects.owners]
    boxes[real, :2] -= 1


def _into_pixels(objects, shares, frame):
    of_shares = shares[objects.owners]
    objects.boxes[of_shares] *= np.tile(frame[objects.owners[of_shares]], 2)
    objects.areas[of_shares] = np.nan


def _rescale(objects, shares, frame, pictures, skipped):
    """Scales boxes with a picture that was resized; a changed shape is only reported."""
    stated = pictures.stated
    # A stated size with swapped sides belongs to the other frame of a turned picture.
    swap = (pictures.orientation >= 5) & (stated[:, ::-1] == frame).all(1)
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
            f"{pictures.paths[i]}: {tuple(stated[i].astype(int).tolist())}, file "
            f"{tuple(frame[i].astype(int).tolist())}"
            for i in np.flatnonzero(which)
        )
        skipped.add_many(reason, int(which.sum()), examples, kind)


def _turn(objects, on_stored, pictures):
    """Turns boxes that were drawn on stored pixels."""
    of_objects = np.where(on_stored, pictures.orientation, 1)[objects.owners]
    for each in range(2, 9):
        mask = of_objects == each
        if mask.any():
            sizes = pictures.stored[objects.owners[mask]]
            objects.boxes[mask] = turn(objects.boxes[mask], each, sizes)


def _clip(objects, pictures, skipped):
    """Drops boxes without an extent in their picture and clips the others to it."""
    boxes, limits = objects.boxes, np.tile(pictures.upright[objects.owners], 2)
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
        # up to a pixel is the usual rounding, clipped silently
        (reaching, "box reaching out of its image (clipped)", REPAIRED),
    ):
        examples = (_box_example(objects, i, pictures) for i in np.flatnonzero(mask))
        args = (kind,) if kind else ()
        skipped.add_many(reason, int(mask.sum()), examples, *args)
    _note_corners(boxes, limits, reaching, skipped)
    objects.boxes = inside
    objects.keep(~(broken | empty | outside))


def _note_corners(boxes, limits, reaching, skipped):
    """Reports boxes that look like corners but were read as a corner and sides: many reach out of
    their picture, and as corners none would."""
    if reaching.sum() < max(3, 0.05 * len(boxes)):
        return
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    if (corners[:, 2:] > corners[:, :2]).all() and (corners <= limits + 1).all():
        reason = (
            "box that reaches out and would not if it were written as x_min, y_min, x_max, y_max "
            "instead of x, y, width, height: is it?"
        )
        examples = (str([round(float(v), 1) for v in corners[i]]) for i in np.flatnonzero(reaching))
        skipped.add_many(reason, int(reaching.sum()), examples, ASSUMED)


def _box_example(objects, i, pictures):
    owner = objects.owners[i]
    width, height = pictures.upright[owner].astype(int)
    box = [round(float(c), 1) for c in objects.boxes[i]]
    return f"image {pictures.images[owner].image_id}: {box} in {width}x{height}"


def _records(objects, pictures):
    boxes = objects.boxes.astype("float32")
    extents = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(1)
    areas = np.where(np.isfinite(objects.areas) & (objects.areas > 0), objects.areas, extents)
    areas, labels = areas.astype("float32"), objects.labels.astype("int32")
    ends = np.searchsorted(objects.owners, np.arange(len(pictures.paths) + 1)).tolist()
    sizes = pictures.upright.astype(int).tolist()
    return [
        Record(path, *size, boxes[a:b], labels[a:b], objects.crowd[a:b], areas[a:b], image.image_id)
        for image, path, size, a, b in zip(pictures.images, pictures.paths, sizes, ends, ends[1:])
    ]


def _note_halved(pictures, skipped):
    paths = [p for p, header in zip(pictures.paths, pictures.headers) if header.halved]
    reason = "16-bit picture of which only the upper 8 bits are read (10 or 12 bits come out dark)"
    skipped.add_many(reason, len(paths), iter(paths), ASSUMED)


def _levels(pictures, skipped):
    """The `(black, white)` of a set's deep pictures, from a sample of them; None if it has none."""
    deep = [p for p, header in zip(pictures.paths, pictures.headers) if header.deep]
    levels = levels_of_files(deep)
    if levels is None:
        return None
    black, white = levels
    reason = f"deep picture (more than 8 bits): values {black:g} to {white:g} become 0 to 255"
    why = f"such as {deep[0]}; by the darkest and brightest value of up to {LOOKED_AT} pictures"
    skipped.add_many(reason, len(deep), (why,), ASSUMED)
    return levels
