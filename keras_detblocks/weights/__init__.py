"""Reads checkpoints and assigns them strictly; knows no architecture."""

from .assign import Layout, load, register_model_layout, torch_key
from .hub import is_hub_id
from .read import Checkpoint, read

__all__ = ["Checkpoint", "Layout", "is_hub_id", "load", "read", "register_model_layout", "torch_key"]
