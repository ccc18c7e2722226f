"""How deep pictures (10 to 16 bits, 32-bit integers, floats) become 0 to 255: one rule.

The rule needs the darkest and the brightest value alone, of one picture or of a whole set:
floats up to 1 count from 0 to 1; what is not negative counts from 0 to the largest value of the
smallest of 8, 10, 12, 14 and 16 bits that holds it; anything else from the lowest to the highest.
"""

import numpy as np

_DEPTHS = (8, 10, 12, 14, 16)


def levels_of(pixels):
    """`(black, white)`, the values that become 0 and 255, of an array of numbers.

    >>> import numpy as np
    >>> levels_of(np.array([[3000]], "uint16")), levels_of(np.array([[0.5]]))
    ((0.0, 4095.0), (0.0, 1.0))
    """
    pixels = np.asarray(pixels)
    if pixels.dtype.kind == "f":
        pixels = pixels[np.isfinite(pixels)]
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if low < 0:
        return low, high
    if pixels.dtype.kind == "f" and high <= 1:
        return 0.0, 1.0
    white = next((2.0**bits - 1 for bits in _DEPTHS if high < 2**bits), high)
    return 0.0, white


def joined(levels):
    """The levels of a set of pictures, out of those of each."""
    return min(low for low, _ in levels), max(high for _, high in levels)


def to_bytes(pixels, levels=None):
    """uint8 of numbers of another type; what is not a number is black."""
    black, white = levels or levels_of(pixels)
    if (black, white) != (0.0, 255.0):
        pixels = (pixels.astype("float64") - black) * (255.0 / max(white - black, 1e-12))
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(pixels), 0, 255).astype("uint8")
