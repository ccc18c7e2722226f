"""Boxes, assignment, losses, head, decoding and the `Detector`."""

__all__ = []
