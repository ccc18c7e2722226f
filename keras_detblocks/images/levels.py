"""Maps deep pictures (10 to 16 bits, 32-bit integers, floats) to 0 to 255 by one rule.

The rule needs only the darkest and the brightest value, of one picture or of a whole set: floats up
to 1 range from 0 to 1; other values that are not negative range from 0 to the maximum of 8, 10, 12,
14 or 16 bits, whichever is the smallest that holds them; everything else ranges from the lowest to
the highest value.
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
    """Combines the levels of several pictures into those of the set."""
    return min(low for low, _ in levels), max(high for _, high in levels)


def to_bytes(pixels, levels=None):
    """Converts numbers of another type to uint8; NaN becomes black."""
    black, white = levels or levels_of(pixels)
    if (black, white) != (0.0, 255.0):
        pixels = (pixels.astype("float64") - black) * (255.0 / max(white - black, 1e-12))
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(pixels), 0, 255).astype("uint8")
