"""Reads checkpoints and assigns them strictly; knows no architecture."""

from .assign import Layout, load, register_model_layout, torch_key
from .read import Checkpoint, read

__all__ = ["Checkpoint", "Layout", "load", "read", "register_model_layout", "torch_key"]
