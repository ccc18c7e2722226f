"""Data sets: reading COCO folders and image files, letterboxing, and `tf.data` pipelines."""

from .coco import read_coco
from .dataset import Dataset, DatasetError, Record, Skipped
from .digits import write_digits
from .images import ImageError, read_image
from .letterbox import Letterbox, letterbox
from .load import load, splits
from .pipeline import pipeline

__all__ = [
    "Dataset",
    "DatasetError",
    "ImageError",
    "Letterbox",
    "Record",
    "Skipped",
    "letterbox",
    "load",
    "pipeline",
    "read_coco",
    "read_image",
    "splits",
    "write_digits",
]
