"""Training detectors: COCO AP."""

from .coco_ap import CocoAP, coco_ap

__all__ = [
    "CocoAP",
    "coco_ap",
]
