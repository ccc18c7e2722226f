"""Pretrained weights of backbones: finds the checkpoint for the argument `weights`, loads it into a
model's variables and its normalization of images, and keeps how it is evaluated."""

import os
import warnings

import keras
import numpy as np
from keras import ops

from .. import weights as loading
from ..checks import check_int, check_layer
from ..layers import ImageNormalization
from ..layers.normalization import IMAGENET_MEAN, IMAGENET_STD
from .checkpoints import CLASSIFIER

EVALUATION_KEYS = ("architecture", "tag", "crop_pct", "interpolation", "input_size")


def wants_imagenet(arguments):
    """Whether `weights="imagenet"` was given."""
    return isinstance(arguments.weights, str) and arguments.weights == "imagenet"


def checkpoint_for(trunk, arguments):
    """The checkpoint to load; None without weights, or for a `.weights.h5` file, which Keras loads
    itself."""
    source = trunk.imagenet if wants_imagenet(arguments) else arguments.weights
    if source is None or isinstance(source, (dict, loading.Checkpoint)):
        return None if source is None else loading.read(source)
    named = isinstance(source, (str, os.PathLike))
    if not named or not (loading.is_hub_id(str(source)) or os.path.exists(source)):
        raise ValueError(
            "The `weights` argument should be either `None` (random initialization), 'imagenet' "
            "(pre-training on ImageNet), a Hugging Face id such as 'timm/regnety_008.pycls_in1k', "
            "a dict of arrays under the reference's key names, or the path to the weights file to "
            f"be loaded. Received: `weights={source}`"
        )
    if not loading.is_keras_file(source):
        return loading.read(source)
    return None if str(source).endswith(".weights.h5") else _saved_net(source)


def _saved_net(path):
    """The checkpoint in a `.keras` file, by names, since Keras goes by the order of layers, which
    drop path and levels change."""
    model = loading.load_keras_file(path, compile=False)
    config = {
        key: [v / 255.0 for v in value] if key in ("mean", "std") else value
        for key, value in (_settings(model) or {}).items()
    }
    return loading.checkpoint_of(_innermost(model), str(path), config)


def _innermost(model):
    """The net inside a saved model, such as the backbone of a detector, or the model itself."""
    nets = [layer for layer in model.layers if isinstance(layer, keras.Model) and layer.weights]
    return _innermost(nets[0]) if nets else model


def normalization(checkpoint, channels):
    """The layer that normalizes images as for the checkpoint; without one, as for ImageNet."""
    config = checkpoint.config if checkpoint is not None else {}
    mean = tuple(255.0 * m for m in config["mean"]) if "mean" in config else IMAGENET_MEAN
    std = tuple(255.0 * s for s in config["std"]) if "std" in config else IMAGENET_STD
    if channels != len(mean):
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    evaluation = {key: config[key] for key in EVALUATION_KEYS if key in config} or None
    return ImageNormalization(mean, std, evaluation=evaluation, name="normalization")


def load_into(model, trunk, arguments, checkpoint, deepest):
    """Loads a checkpoint, or the `.weights.h5` file of the arguments, into a model of the trunk."""
    if checkpoint is None:
        if arguments.weights is not None:
            loading.load(model, arguments.weights)
        return
    unused = [trunk.unbuilt(deepest), None if arguments.include_top else CLASSIFIER]
    kernel, bias = _head_adapters()
    loading.load(
        model,
        checkpoint,
        unused="|".join(filter(None, unused)) or None,
        adapt={trunk.stem: _adapted_stem, "predictions/kernel": kernel, "predictions/bias": bias},
    )


def _adapted_stem(kernel, variable):
    """Adapts a stem to another number of channels: summed for one, else repeated and scaled to keep
    the sum."""
    channels, wanted = kernel.shape[2], variable.shape[2]
    if channels == wanted:
        return kernel
    how = "summed over the channels" if wanted == 1 else "repeated along the channels and scaled"
    warnings.warn(
        f"The checkpoint's stem reads {channels} channels and the model's {wanted}: its kernel was "
        f"{how}.",
        stacklevel=2,
    )
    if wanted == 1:
        return kernel.sum(axis=2, keepdims=True)
    repeats = -(-wanted // channels)
    return np.tile(kernel, (1, 1, repeats, 1))[:, :, :wanted] * (channels / wanted)


def _head_adapters():
    """Functions for the head's kernel and bias: both stay random if the model has other classes
    than the checkpoint."""
    left = []

    def kernel(array, variable):
        if array.shape[1] == variable.shape[1] or array.shape[0] != variable.shape[0]:
            return array
        left.append(array.shape[1])
        warnings.warn(
            f"The checkpoint has {array.shape[1]} classes and the model {variable.shape[1]}: the "
            "classifier `predictions` keeps its random initialization.",
            stacklevel=2,
        )
        return None

    def bias(array, variable):
        return None if left == [array.shape[0]] else array

    return kernel, bias


def evaluation_settings(model):
    """The settings with which a model's checkpoint is evaluated. They are kept in the config of its
    normalization layer, so saving and loading preserves them.

    Returns:
        A dict with `mean` and `std` (for pixels from 0 to 255) and, if the weights came with them,
        `architecture`, `tag`, `crop_pct` (share of the resized image's side that the center crop
        takes), `interpolation` and `input_size` (channels, height, width).

    Raises:
        ValueError: if the model has no `ImageNormalization`.

    >>> evaluation_settings(kdb.RegNetX002(include_top=False))["mean"]
    (123.675, 116.28, 103.53)
    """
    settings = _settings(check_layer(model))
    if settings is None:
        raise ValueError(
            f"{model.name!r} has no ImageNormalization layer: it was built with "
            "`include_preprocessing=False`."
        )
    return settings


def _settings(model):
    """The settings of the first `ImageNormalization` in the model or in a nested model; None
    without one."""
    for layer in model.layers:
        if isinstance(layer, ImageNormalization):
            return {"mean": layer.mean, "std": layer.std, **(layer.evaluation or {})}
        if isinstance(layer, keras.Model) and (found := _settings(layer)) is not None:
            return found
    return None


def decode_predictions(preds, top=5):
    """Looks up the class names of ImageNet predictions. The first call downloads Keras' class
    index.

    Args:
        preds: scores `(B, 1000)`.
        top: how many classes per image.

    Returns:
        One list of `(wordnet id, name, score)` per image, best first.
    """
    return keras.applications.imagenet_utils.decode_predictions(
        ops.convert_to_numpy(preds), top=check_int(top, "top")
    )
