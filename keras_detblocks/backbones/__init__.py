"""Backbones: functions that return a functional `keras.Model`."""

__all__ = []
