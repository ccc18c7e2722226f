"""Boxes, assignment, losses, head, decoding, the `Detector`, and detectors by name."""

from . import recipes
from .build import build_backbone, build_detector, list_contexts, list_heads, list_necks
from .decode import decode
from .detector import Detector
from .head import AnchorFreeHead
from .start import save_start, start_weights

__all__ = [
    "AnchorFreeHead",
    "Detector",
    "build_backbone",
    "build_detector",
    "decode",
    "list_contexts",
    "list_heads",
    "list_necks",
    "recipes",
    "save_start",
    "start_weights",
]
