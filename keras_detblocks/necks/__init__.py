"""Necks: layers, dict of levels in, dict of levels out."""

__all__ = []
