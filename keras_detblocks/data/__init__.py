"""Data sets: reading COCO and Pascal VOC folders and image files, letterboxing, augmentation, and
`tf.data` pipelines."""

from ..images.letterbox import Letterbox, letterbox
from ..images.read import ImageError, read_image
from .augment import AUGMENTATIONS, Augment
from .coco import read_coco
from .dataset import Dataset, DatasetError, Record, Skipped, make_record, merge
from .digits import write_digits
from .load import load, splits
from .pipeline import pipeline
from .voc import read_voc

__all__ = [
    "AUGMENTATIONS",
    "Augment",
    "Dataset",
    "DatasetError",
    "ImageError",
    "Letterbox",
    "Record",
    "Skipped",
    "letterbox",
    "load",
    "make_record",
    "merge",
    "pipeline",
    "read_coco",
    "read_image",
    "read_voc",
    "splits",
    "write_digits",
]
