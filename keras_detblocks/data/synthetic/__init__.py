"""Detection pictures made by formulas: textured objects of 115 shapes in light, blur, clutter and
crowds, seeded, in any number.

They serve to pretrain a detector without photographs and their licenses and privacy: objects are
classified by shape, as in formula-driven pretraining (https://arxiv.org/abs/2101.08515), and laid
out with the sizes and crowds of real data. NumPy and Pillow draw them; half of the digits are scans
of handwriting where scikit-learn is installed.
"""

from .masks import CLASS_NAMES
from .scene import MAX_OBJECTS, draw_scene
from .write import write_scenes

__all__ = ["CLASS_NAMES", "MAX_OBJECTS", "draw_scene", "write_scenes"]
