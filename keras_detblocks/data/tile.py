"""Cuts the pictures of a data set into overlapping tiles, for small objects in large pictures."""

import os
import pathlib
import tempfile
from dataclasses import replace

import numpy as np
from PIL import Image

from ..checks import check_choice, check_number
from ..images.files import ImageError
from ..images.read import read_image
from ..images.tiles import check_tile, windows
from .account import Skipped
from .dataset import Dataset, Record, check_parts
from .errors import check_new_folder
from .pictures import stem_of
from .write import write

MIN_VISIBLE = 0.3
_MAX_PIXELS = 10**9
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def write_tiles(parts, out, size=640, overlap=0.2, min_visible=MIN_VISIBLE, suffix=".png"):
    """Writes a COCO folder whose pictures are tiles.

    Boxes are cut at the sides of their tile. A box with less than `min_visible` of its area left
    becomes a crowd, neither trained on nor counted in evaluation: the next tile shows more of it.

    Args:
        parts: a `Dataset`, or a dict of them by the names of their splits; load them with
            `max_pixels=10**9` if pictures are large.
        out: folder to make.
        size: of a tile in pixels, or (height, width).
        overlap: least share of a tile that the next one covers too.
        min_visible: see above.
        suffix: of the tiles' files: ".png", or ".jpg" for a tenth of the space.

    Returns:
        A dict of the tiled `Dataset`s by split.

    Raises:
        ValueError: on sizes and shares out of range, or a folder that is not empty.
    """
    size, overlap = check_tile(size, overlap)
    min_visible = check_number(min_visible, "min_visible", least=0, most=1)
    suffix = check_choice(suffix, "suffix", _SUFFIXES)
    parts, out = check_parts(parts), check_new_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    tiled = {}
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        for split, part in parts.items():
            place = pathlib.Path(folder) / str(split or "images")
            place.mkdir()
            tiled[split] = _tiled(part, place, size, overlap, min_visible, suffix)
        write(tiled, out, "coco", link=True)
    return {s: _moved(part, out / str(s or "images")) for s, part in tiled.items()}


def _moved(part, folder):
    """The data set with the tiles' paths in their final folder."""
    records = [replace(r, path=str(folder / os.path.basename(r.path))) for r in part.records]
    return replace(part, records=records)


def _tiled(part, folder, size, overlap, min_visible, suffix):
    skipped, records = Skipped(), []
    skipped.update(part.skipped)
    for i, record in enumerate(part.records):
        try:
            pixels = read_image(record.path, part.levels, _MAX_PIXELS)
        except ImageError as error:
            skipped.add("image missing, truncated or unreadable", error)
            continue
        stem = stem_of(record.path)
        for window in windows(record.width, record.height, size, overlap):
            path = folder / f"{i:06d}_{stem[:80]}_{window[0]}_{window[1]}{suffix}"
            x0, y0, x1, y1 = window
            Image.fromarray(pixels[y0:y1, x0:x1]).save(path, **_QUALITY.get(suffix, {}))
            records.append(tile_record(record, window, path, min_visible, len(records) + 1))
    names, ids = part.class_names, part.category_ids
    return Dataset(records, names, ids, skipped, f"{part.source} in tiles")


_QUALITY = {".jpg": {"quality": 95}, ".png": {"compress_level": 3}}


def tile_record(record, window, path, min_visible, image_id):
    """The `Record` of one window (x_min, y_min, x_max, y_max) of a picture."""
    corner = np.tile(window[:2], 2)
    inside = np.clip(record.boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
    sides = inside[:, 2:] - inside[:, :2]
    whole = (record.boxes[:, 2:] - record.boxes[:, :2]).prod(1)
    visible = sides.prod(1) / np.maximum(whole, 1e-9)
    keep = (sides > 0).all(1)
    return Record(
        path=str(path),
        width=int(window[2] - window[0]),
        height=int(window[3] - window[1]),
        boxes=(inside - corner)[keep].astype("float32"),
        labels=record.labels[keep],
        crowd=(record.crowd | (visible < min_visible))[keep],
        areas=(record.areas * visible)[keep].astype("float32"),
        image_id=image_id,
    )
