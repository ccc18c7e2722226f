"""Reads image files of any common kind into uint8 RGB, upright."""

import os

import numpy as np
from PIL import Image, ImageFile, ImageOps

from ..checks import check_number, check_path
from .color16 import color16, is_color16
from .files import MAX_PIXELS, ImageError, opened
from .header import orientation_of
from .letterbox import Letterbox, place
from .levels import joined, levels_of, to_bytes

LOOKED_AT = 64
_JPEG = ("JPEG", "MPO")


def read_image(image, levels=None, max_pixels=MAX_PIXELS):
    """An image as a uint8 array of shape (H, W, 3), RGB, upright.

    JPEG, PNG and the other formats that Pillow decodes; gray, palette, transparent (over white),
    CMYK and deep images are converted, and a camera's EXIF orientation is applied.

    Args:
        image: a path, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of
            integers or floats.
        levels: `(black, white)`, the values of a deep picture that become 0 and 255; by default
            they follow from the picture (see `images.levels`). 8-bit files stay as they are.
        max_pixels: larger files are refused.

    Raises:
        ImageError: (a ValueError) the file is missing, truncated, too large or not an image; the
            array has another shape or type.
    """
    if isinstance(image, Image.Image):
        return _to_rgb(image, levels)
    if isinstance(image, (str, os.PathLike)):
        with opened(image) as picture:
            _check_pixels(picture, max_pixels, image)
            return _to_rgb(picture, levels)
    return _array_to_rgb(np.asarray(image), levels)


def read_letterboxed(path, size, levels=None, max_pixels=MAX_PIXELS, resize="letterbox"):
    """Reads a picture file and fits it into a canvas; a large JPEG is decoded at reduced size, in a
    fraction of the time and memory.

    Args:
        path: of the file.
        size: (height, width) of the canvas, or one number for a square.
        levels, max_pixels: as in `read_image`.
        resize: as in `letterbox`.

    Returns:
        `(canvas, fitted)`: uint8 (height, width, 3) and its `Letterbox`, of the whole picture.

    Raises:
        ImageError: as `read_image`.
    """
    with opened(check_path(path, "path")) as picture:
        turned = picture.format != "TIFF" and orientation_of(picture) >= 5
        original = picture.size if turned else picture.size[::-1]
        fitted = Letterbox.fit(original, size, resize)
        if picture.format in _JPEG:
            wanted = fitted.resized if turned else fitted.resized[::-1]
            picture.draft(None, wanted)
        _check_pixels(picture, max_pixels, path)
        return place(_to_rgb(picture, levels), fitted), fitted


def levels_of_files(paths):
    """The `(black, white)` of the deep picture files of one set, from up to 64 evenly spaced ones,
    so that dark pictures are scaled like bright ones; None if none can be read."""
    found = []
    for path in paths[:: max(1, -(-len(paths) // LOOKED_AT))]:
        try:
            with opened(path) as picture:
                _check_pixels(picture, MAX_PIXELS, path)
                pixels = color16(picture) if is_color16(picture) else np.asarray(picture)
                found.append(levels_of(pixels[..., :3] if pixels.ndim == 3 else pixels))
        except ImageError:
            continue  # reading the picture itself reports it
    return joined(found) if found else None


def _check_pixels(picture, max_pixels, path):
    max_pixels = check_number(max_pixels, "max_pixels", above=0)
    if picture.width * picture.height > max_pixels:
        raise ImageError(
            f"expected a picture of at most {max_pixels / 1e6:.0f} megapixels; {path} has "
            f"{picture.width}x{picture.height}. Cut it into tiles."
        )


def _to_rgb(image, levels=None):
    if isinstance(image, ImageFile.ImageFile) and is_color16(image):
        return _over_white(color16(image), levels)
    if orientation_of(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image)
        return _array_to_rgb(to_bytes(pixels, levels))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _over_white(pixels, levels):
    """Converts deep color to uint8, with transparent parts over white."""
    color = to_bytes(pixels[..., :3], levels)
    if pixels.shape[2] == 3:
        return color
    opaque = pixels[..., 3:] / 65535
    return np.rint(color * opaque + 255 * (1 - opaque)).astype("uint8")


def _array_to_rgb(pixels, levels=None):
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if (
        pixels.ndim != 3
        or pixels.shape[2] not in (1, 3, 4)
        or pixels.dtype.kind not in "uif"
        or 0 in pixels.shape
    ):
        raise ImageError(
            "read_image: expected an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of numbers; "
            f"received shape {pixels.shape}, {pixels.dtype}. Pass one image at a time, RGB."
        )
    pixels = pixels[:, :, :3]
    if pixels.dtype != np.uint8:
        pixels = to_bytes(pixels, levels)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
