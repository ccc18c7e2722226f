"""Reads checkpoints and assigns them strictly, without knowing any architecture."""

from .assign import (
    Layout,
    checkpoint_of,
    layer_layouts,
    layouts_for,
    load,
    register_model_layout,
    torch_key,
)
from .hub import is_hub_id
from .keras_file import check_same_net, load_keras_file
from .read import Checkpoint, is_keras_file, read

__all__ = [
    "Checkpoint",
    "Layout",
    "check_same_net",
    "checkpoint_of",
    "is_hub_id",
    "is_keras_file",
    "layer_layouts",
    "layouts_for",
    "load",
    "load_keras_file",
    "read",
    "register_model_layout",
    "torch_key",
]
