"""Boxes, assignment, losses, head, decoding and the `Detector`."""

from .decode import decode
from .detector import Detector
from .head import AnchorFreeHead

__all__ = ["AnchorFreeHead", "Detector", "decode"]
