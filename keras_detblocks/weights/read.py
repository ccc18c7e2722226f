"""Reads a checkpoint into NumPy arrays under the names that its file gives them."""

import json
import os
import pathlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import hub

# pycls' checkpoints hold the weights under this key, beside the optimizer's state.
_NESTED = ("model_state", "state_dict", "model")


@dataclass(frozen=True)
class Checkpoint:
    """A set of weights, with where it came from and what its publisher says of it.

    Attributes:
        tensors: dict of arrays by the reference's key names.
        source: path, hub id or other words, for messages.
        config: for hub files (and a `config.json` beside a local file) the keys `architecture`,
            `mean`, `std` (for pixels of 0 to 1), `crop_pct`, `interpolation`, `input_size`, `tag`,
            `num_classes`, as far as given.
        layout: how the tensors are named and stored, if that is known; else it is recognized by the
            names.
    """

    tensors: dict
    source: str
    config: dict = field(default_factory=dict)
    layout: Any = None


def is_keras_file(source):
    """Whether `source` is the path of a file that Keras itself loads."""
    return isinstance(source, (str, os.PathLike)) and str(source).endswith(
        (".weights.h5", ".keras")
    )


def read(source):
    """Returns the `Checkpoint` of a dict of arrays, a `.safetensors` path or a hub id such as
    `"timm/regnety_008.pycls_in1k"`.

    Raises:
        ValueError: if the kind of source is unknown. FileNotFoundError: if the path does not
            exist. OSError: if the hub cannot be reached; it says what to download and where to put
            it.
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, dict):
        return Checkpoint(
            {key: np.asarray(value) for key, value in _flat(source).items()}, "a dict of arrays"
        )
    named = isinstance(source, (str, os.PathLike))
    path = pathlib.Path(source if named else "")
    if path.suffix != ".safetensors":
        if not named or not hub.is_hub_id(str(source)):
            raise ValueError(
                "Expected a dict of arrays, the path of a .safetensors file or a Hugging Face id "
                f"such as 'timm/regnety_008.pycls_in1k'. Received: {source!r}"
            )
        path, config = hub.download(str(source))
        return Checkpoint(_read_safetensors(path), str(source), config)
    if not path.is_file():
        raise FileNotFoundError(f"No such weights file: {path}")
    beside = path.with_name("config.json")
    config = hub.settings(_config(beside)) if beside.is_file() else {}
    return Checkpoint(_read_safetensors(path), str(path), config)


def _config(path):
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is not a complete JSON file ({error}): write it again."
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("pretrained_cfg", {}), dict):
        raise ValueError(
            f"{path}: expected what timm writes, a dict; received {type(config).__name__}. Remove "
            f"or replace the file."
        )
    return config


def _flat(source):
    """The weights in a dict, also if training code keeps them under a key."""
    for key in _NESTED:
        if isinstance(source.get(key), dict):
            return source[key]
    return source


def _read_safetensors(path):
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole .safetensors file ({error}): download or write it again."
        ) from error
    except (AttributeError, KeyError, TypeError) as error:  # a type that NumPy does not have
        raise ValueError(
            f"{path} holds tensors of a type that cannot be read here ({error}): write them as "
            f"float16, bfloat16 or float32."
        ) from error
    # ml_dtypes' bfloat16 (and float16) arrays become float32: variables are assigned in their own
    # dtype later.
    return {
        key: value.astype("float32") if value.dtype.kind in "fV" else value
        for key, value in tensors.items()
    }
