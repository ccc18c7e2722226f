"""Downloads checkpoints from the Hugging Face hub through `huggingface_hub`, with its cache, mirror
setting and offline switch."""

import json
import pathlib
import re

FILE_ENDINGS = (".safetensors", ".h5", ".keras", ".npz", ".pth", ".pyth")
HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")


def is_hub_id(source):
    """Whether `source` is a string in the form of a hub id, `"owner/name"`, and neither an existing
    file nor named like a file of weights."""
    if not isinstance(source, str) or source.endswith(FILE_ENDINGS) or source.startswith("."):
        return False
    return bool(HUB_ID.match(source)) and not pathlib.Path(source).exists()


def download(hub_id):
    """Returns the paths of `model.safetensors` and, as a dict, of the settings in `config.json`.

    Raises:
        ImportError: without `huggingface_hub`. OSError: when a file is neither cached nor
            reachable; it says what to do.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ImportError(
            f"Reading {hub_id!r} needs huggingface_hub: pip install 'keras_detblocks[hub]'. Or "
            f"download {_url(hub_id)} yourself and give its path as `weights`."
        ) from error
    try:
        config = json.loads(pathlib.Path(hf_hub_download(hub_id, "config.json")).read_text())
        return pathlib.Path(hf_hub_download(hub_id, "model.safetensors")), settings(config)
    except Exception as error:
        raise OSError(
            f"Could not get the weights {hub_id!r} ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}). With a network, check the id. Without one, download "
            f"{_url(hub_id)} and its config.json elsewhere, and give the path of the .safetensors "
            "file as `weights` (a config.json beside it is read), or copy the hub's cache folder "
            "(environment variable HF_HOME)."
        ) from error


def _url(hub_id):
    return f"https://huggingface.co/{hub_id}/resolve/main/model.safetensors"


def settings(config):
    """The settings for evaluation in a timm config.json: mean, std (of pixels 0 to 1), crop_pct,
    interpolation, input_size, tag."""
    published = config.get("pretrained_cfg", config)
    keys = (
        "mean",
        "std",
        "crop_pct",
        "interpolation",
        "input_size",
        "tag",
        "num_classes",
        "license",
    )
    return {
        "architecture": config.get("architecture"),
        **{
            key: tuple(published[key]) if isinstance(published[key], list) else published[key]
            for key in keys
            if key in published
        },
    }
