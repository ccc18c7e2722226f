"""Data sets: reading them from folders and files in thirteen layouts, cleaning, augmentation, and
`tf.data` pipelines."""

from ..images.files import ImageError
from ..images.letterbox import Letterbox, letterbox
from ..images.read import read_image
from . import synthetic
from .account import Skipped
from .augment import AUGMENTATIONS, Augment
from .balance import repeat_factors
from .dataset import Dataset, Record, merge
from .digits import write_digits
from .errors import DatasetError, PicturesNotFound
from .holdout import hold_out
from .load import load, read_coco, read_voc, splits
from .pipeline import pipeline
from .records import from_records
from .tile import write_tiles
from .write import write

__all__ = [
    "AUGMENTATIONS",
    "Augment",
    "Dataset",
    "DatasetError",
    "ImageError",
    "Letterbox",
    "PicturesNotFound",
    "Record",
    "Skipped",
    "from_records",
    "hold_out",
    "letterbox",
    "load",
    "merge",
    "pipeline",
    "read_coco",
    "read_image",
    "read_voc",
    "repeat_factors",
    "splits",
    "synthetic",
    "write",
    "write_digits",
    "write_tiles",
]
