"""Fits an image of any size into a fixed canvas, keeping its proportions or stretching it, and
takes boxes there and back."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..checks import check_choice, check_pair, refused

RESIZES = ("letterbox", "stretch")
"""How a picture is fitted to a size: the whole picture and a margin, or stretched to it."""
MOST_SIDE = 2**14  # pixels of a network's input: a picture of it as float32 takes 3 GB
FILL = 114
"""The gray of the margin beside a letterboxed picture, near the mean of natural pictures."""


@dataclass(frozen=True)
class Letterbox:
    """How an image was fitted into a canvas, in whose upper left corner it sits.

    Attributes:
        original, resized: (height, width) of the image before and after, in pixels.
        size: (height, width) of the canvas.
    """

    original: tuple
    resized: tuple
    size: tuple

    @classmethod
    def fit(cls, original, size, resize="letterbox"):
        """The letterbox of an image of `original` (height, width) in a canvas of `size` (height,
        width) or one number. The `resize` `"stretch"` fills the canvas, whatever becomes of the
        proportions."""
        original, size = check_pair(original, "original"), check_pair(size, "size")
        if check_choice(resize, "resize", RESIZES) == "stretch":
            return cls(original, size, size)
        scale = min(size[0] / original[0], size[1] / original[1])
        resized = tuple(max(1, min(s, round(o * scale))) for o, s in zip(original, size))
        return cls(original, resized, size)

    @property
    def scale(self):
        """Factors of x_min, y_min, x_max, y_max from original to letterboxed pixels, float32
        (4,)."""
        y, x = (r / o for r, o in zip(self.resized, self.original))
        return np.array([x, y, x, y], "float32")

    def to_letterboxed(self, boxes):
        """`boxes` (..., 4) xyxy in the original's pixels -> in the canvas's pixels."""
        return np.asarray(boxes, "float32") * self.scale

    def to_original(self, boxes):
        """`boxes` (..., 4) xyxy in the canvas's pixels -> in the original's pixels, clipped to the
        original image."""
        height, width = self.original
        return np.clip(
            np.asarray(boxes, "float32") / self.scale,
            0,
            np.array([width, height, width, height], "float32"),
        )


def letterbox(image, size, resize="letterbox"):
    """Fits an image into a canvas.

    Args:
        image: uint8 array (h, w, 3), as from `read_image`.
        size: (height, width) of the canvas, or one number for a square.
        resize: `"letterbox"` keeps the proportions and fills the rest with gray, `"stretch"` fills
            the canvas.

    Returns:
        `(canvas, fitted)`: uint8 (height, width, 3) and its `Letterbox`.

    >>> import numpy as np
    >>> canvas, fitted = letterbox(np.zeros((100, 200, 3), "uint8"), (64, 64))
    >>> canvas.shape, fitted.resized
    ((64, 64, 3), (32, 64))
    >>> fitted.to_original([[0, 0, 64, 32]]).tolist()
    [[0.0, 0.0, 200.0, 100.0]]
    """
    if getattr(image, "dtype", None) != "uint8" or getattr(image, "shape", ())[2:] != (3,):
        expected = "a uint8 array (height, width, 3), as `read_image` returns it"
        raise refused(image, "image", expected)
    fitted = Letterbox.fit(image.shape[:2], size, resize)
    return place(image, fitted), fitted


def place(image, fitted):
    """The canvas of a `Letterbox` with an image in it, which may be of any size itself."""
    height, width = fitted.resized
    if image.shape[:2] != fitted.resized:
        image = np.asarray(
            Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        )
    if fitted.resized == fitted.size:
        return image
    canvas = np.full((*fitted.size, 3), FILL, "uint8")
    canvas[:height, :width] = image
    return canvas
