"""Necks: layers, dict of levels in, dict of levels out."""

from .fpn import FPN

__all__ = ["FPN"]
