"""Reads color of 16 bits per channel from PNG and TIFF files, of which Pillow decodes the upper 8
bits only.

Decoded a second time with the other byte order, Pillow gives the lower 8.
"""

import io
import sys

import numpy as np
from PIL import ImageOps

# Endings of Pillow's names for byte orders: big, little, the machine's own.
_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def is_color16(image):
    """Whether an opened file that is not decoded yet has such color."""
    tiles = image.tile if image.format in ("PNG", "TIFF") else ()
    return bool(tiles) and all(_swapped(tile) for tile in tiles)


def color16(image):
    """The pixels, uint16 (H, W, 3 or 4), upright, of a file for which `is_color16` is true."""
    image.fp.seek(0)
    content = image.fp.read()
    upper, lower = (type(image)(io.BytesIO(content)) for _ in range(2))
    lower.tile = [_swapped(tile) for tile in lower.tile]
    upper, lower = (np.asarray(ImageOps.exif_transpose(each)) for each in (upper, lower))
    return upper.astype("uint16") << 8 | lower


def _swapped(tile):
    """Pillow's instruction to decode a part of a file, with the other byte order; None for another
    kind of color."""
    name, extents, offset, args = tile
    raw, *others = (args,) if isinstance(args, str) else args
    mode, mark, order = str(raw).partition(";16")
    if mode not in ("RGB", "RGBA", "RGBX") or not mark or order not in _OTHER:
        return None
    raw = f"{mode};16{_OTHER[order]}"
    args = raw if isinstance(args, str) else (raw, *others)
    return getattr(type(tile), "_make", tuple)((name, extents, offset, args))
