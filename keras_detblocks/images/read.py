"""Reads image files of any common kind into uint8 RGB, upright."""

import os

import numpy as np
from PIL import Image, ImageOps

_TAILS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}


class ImageError(ValueError):
    """A file or an array that is not a readable image."""


def read_image(image):
    """An image as a uint8 array of shape (H, W, 3), RGB, upright.

    JPEG, PNG and whatever else Pillow reads; grey, palette, transparent (over white), CMYK and
    16-bit images are converted, and a camera's EXIF orientation is applied.

    Args:
        image: a path, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8,
            uint16, or float in 0 to 255.

    Raises:
        ImageError: (a ValueError) the file is missing, truncated or no image; the array has another
            shape or type.
    """
    if isinstance(image, Image.Image):
        return _to_rgb(image)
    if isinstance(image, (str, os.PathLike)):
        try:
            with Image.open(image) as opened:
                return _to_rgb(opened)
        except FileNotFoundError as error:
            raise ImageError(
                f"read_image: expected an image file; {image} does not exist. Check the path."
            ) from error
        except (
            OSError,
            ValueError,
            SyntaxError,
            EOFError,
            IndexError,
            Image.DecompressionBombError,
        ) as error:
            raise ImageError(
                f"read_image: expected a readable image file (JPEG, PNG, ...); {image} is "
                f"truncated or not an image ({error}). "
                "Replace or remove it."
            ) from error
    return _array_to_rgb(np.asarray(image))


def image_header(path):
    """`(width, height, orientation)` from the file's head alone; checks the file's end too where
    the format has a mark for it.

    Width and height are of the stored pixels; an EXIF orientation of 5 to 8 swaps them in the
    upright image.

    Raises:
        ImageError: as `read_image`.
    """
    try:
        with Image.open(path) as opened:
            header = opened.width, opened.height, _orientation(opened)
            if not _ends_well(path, _TAILS.get(opened.format)):
                opened.load()  # some writers leave the mark out; a truncated file fails here
            return header
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        Image.DecompressionBombError,
    ) as error:
        raise ImageError(
            f"{path}: expected an image file; it is missing, or not an image ({error}). Replace "
            f"or remove it."
        ) from error


def _ends_well(path, tail):
    if tail is None:
        return True
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        # Cameras and editors append bytes after the end mark, so that it is looked for in more than
        # the last bytes.
        file.seek(max(0, file.tell() - 65536))
        return tail in file.read()


def _to_rgb(image):
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _array_to_rgb(_sixteen_bits(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _orientation(image):
    """The EXIF orientation, 1 to 8; looked for only where the head of the file has one (a PNG's may
    stand behind its pixels)."""
    return (
        image.getexif().get(0x0112, 1)
        if image.info.get("exif") or image.format not in ("PNG", "JPEG")
        else 1
    )


def _sixteen_bits(pixels):
    """Deep grey to 0..255: 16 bits by their range, and what lies within a byte's range as it is."""
    return pixels / 257.0 if pixels.max(initial=0) > 255 else pixels.astype("float32")


def _array_to_rgb(pixels):
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if (
        pixels.ndim != 3
        or pixels.shape[2] not in (1, 3, 4)
        or pixels.dtype.kind not in "uif"
        or 0 in pixels.shape
    ):
        raise ImageError(
            f"read_image: expected an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of numbers; "
            f"received shape {pixels.shape}, "
            f"{pixels.dtype}. Pass one image at a time, RGB."
        )
    if pixels.dtype == np.uint16:
        pixels = pixels / 257.0
    if pixels.dtype != np.uint8:
        pixels = np.clip(np.rint(pixels), 0, 255).astype("uint8")
    pixels = pixels[:, :, :3]
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
