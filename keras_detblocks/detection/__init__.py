"""Boxes, assignment, losses, head, decoding, the `Detector`, and detectors by name."""

from .build import build_backbone, build_detector
from .decode import decode
from .detector import Detector
from .head import AnchorFreeHead

__all__ = ["AnchorFreeHead", "Detector", "build_backbone", "build_detector", "decode"]
