"""Opens picture files for Pillow: ordinary files of known formats only, every failure an
`ImageError`."""

import contextlib
import os
import stat

from PIL import Image

# Formats that Pillow decodes by itself. EPS and WMF start other programs, the stubs (HDF5, GRIB,
# ...) decode nothing, MPEG is not a picture.
FORMATS = (
    *("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF", "MPO"),
    *("DIB", "ICO", "PCX", "PSD", "QOI", "SGI", "SUN", "TGA", "DDS", "IM", "MSP", "XBM", "XPM"),
)
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".tif", ".tiff", ".webp", ".gif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".pfm", ".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    *(".avif", ".avifs", ".heic", ".heif", ".mpo", ".dib", ".ico", ".pcx", ".psd", ".qoi"),
    *(".sgi", ".rgb", ".rgba", ".bw", ".ras", ".tga", ".icb", ".vda", ".vst", ".dds", ".im"),
    *(".msp", ".xbm", ".xpm"),
)
"""The endings of the names of picture files."""
MAX_PIXELS = 2**27
"""The most pixels that are decoded at full size: 0.4 GB as RGB, and temporarily as much again."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class ImageError(ValueError):
    """A file or an array that is not a readable image."""


def check_ordinary(path):
    """Refuses paths that would block or never end: pipes, devices, sockets, folders."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        why = "it does not exist" if missing else f"it cannot be reached ({error})"
        raise ImageError(
            f"expected an image file; {_short(path)}: {why}. Check the path."
        ) from error
    if not stat.S_ISREG(mode):
        raise ImageError(
            f"expected an image file; {_short(path)} is a folder, a pipe or a device. Name a file."
        )


@contextlib.contextmanager
def opened(path):
    """The picture file opened by Pillow, not decoded yet, whatever its size.

    Raises:
        ImageError: not an ordinary file, no known format, or any failure within the block.
    """
    check_ordinary(path)
    try:
        with open(path, "rb") as file, _identified(file, path) as image:
            yield image
    except ImageError:
        raise
    # Decoders raise anything on hostile bytes: KeyError, zlib.error, ...
    except Exception as error:
        raise ImageError(
            f"expected a readable image file (JPEG, PNG, ...); {_short(path)} is truncated or not "
            f"an image ({_short(error)}). Replace or remove it."
        ) from error


def _identified(file, path):
    """Opens a file as `Image.open` does, which would also refuse or warn by size and try every
    format."""
    prefix = file.read(32)
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS:
        _register_heif(path)
    Image.init()
    for name in FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        accepted = factory and (accept is None or accept(prefix))
        if not accepted or isinstance(accepted, str):  # the text says what is not installed
            continue
        try:
            file.seek(0)
            return factory(file, os.fspath(path))
        except (SyntaxError, IndexError, TypeError, KeyError):
            continue  # another format's file
    raise ImageError(
        f"expected an image file (JPEG, PNG, TIFF, WebP, ...); {_short(path)} is not an image of a "
        "known format, or is truncated. Replace or remove it."
    )


def _register_heif(path):
    if "HEIF" in Image.OPEN:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ImageError(
            f"{_short(path)} is a HEIC picture, which Pillow does not read by itself: "
            "pip install pillow-heif, or convert it to JPEG."
        ) from error
    register_heif_opener()


def _short(text):
    text = str(text)
    return text if len(text) <= 200 else f"{text[:120]}...{text[-60:]}"
