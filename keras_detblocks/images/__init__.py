"""Pictures, with NumPy and Pillow only: reading, letterboxing, drawing boxes."""

from .draw import COLORS, detection_grid, draw_boxes
from .files import MAX_PIXELS, SUFFIXES, ImageError
from .header import image_header
from .letterbox import FILL, RESIZES, Letterbox, letterbox
from .read import read_image, read_letterboxed

__all__ = [
    "COLORS",
    "FILL",
    "MAX_PIXELS",
    "RESIZES",
    "SUFFIXES",
    "ImageError",
    "Letterbox",
    "detection_grid",
    "draw_boxes",
    "image_header",
    "letterbox",
    "read_image",
    "read_letterboxed",
]
