"""Pictures, with NumPy and Pillow alone: reading, letterboxing, drawing boxes."""

from .draw import COLORS, detection_grid, draw_boxes
from .letterbox import FILL, Letterbox, letterbox
from .read import ImageError, image_header, read_image

__all__ = [
    "COLORS",
    "FILL",
    "ImageError",
    "Letterbox",
    "detection_grid",
    "draw_boxes",
    "image_header",
    "letterbox",
    "read_image",
]
