"""Reads a checkpoint into NumPy arrays under the names that its file gives them."""

import pathlib
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Checkpoint:
    """Arrays by the reference's key names, where they came from, and what the publisher says beside them (mean, std, ...)."""

    tensors: dict
    source: str
    config: dict = field(default_factory=dict)


def read(source):
    """Returns the `Checkpoint` of a dict of arrays or of a `.safetensors` path.

    Raises:
        ValueError: if the source is of no known kind. FileNotFoundError: if the path does not exist.
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, dict):
        return Checkpoint({key: np.asarray(value) for key, value in source.items()}, "a dict of arrays")
    path = pathlib.Path(source)
    if path.suffix != ".safetensors":
        raise ValueError(f"Expected a dict of arrays or a path to a .safetensors file. Received: {source!r}")
    if not path.is_file():
        raise FileNotFoundError(f"No such weights file: {path}")
    return Checkpoint(_read_safetensors(path), str(path))


def _read_safetensors(path):
    from safetensors.numpy import load_file

    # ml_dtypes' bfloat16 (and float16) arrays become float32: variables are assigned in their own dtype later.
    return {key: value.astype("float32") if value.dtype.kind in "fV" else value for key, value in load_file(path).items()}
