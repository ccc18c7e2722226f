"""Reads checkpoints and assigns them strictly; knows no architecture."""

from .assign import Layout, load, register_model_layout, torch_key
from .hub import is_hub_id
from .read import Checkpoint, is_keras_file, read, saved_layer_config

__all__ = [
    "Checkpoint",
    "Layout",
    "is_hub_id",
    "is_keras_file",
    "load",
    "read",
    "register_model_layout",
    "saved_layer_config",
    "torch_key",
]
