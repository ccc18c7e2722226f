"""Boxes, assignment, losses, head, decoding, the `Detector`, and detectors by name."""

from . import recipes
from .build import (
    ModelOptions,
    build_backbone,
    build_detector,
    list_contexts,
    list_heads,
    list_necks,
)
from .decode import decode
from .detector import Detector
from .explain import Candidate, Explanation
from .head import AnchorFreeHead
from .start import save_start, start_weights

__all__ = [
    "AnchorFreeHead",
    "Candidate",
    "Detector",
    "Explanation",
    "ModelOptions",
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
