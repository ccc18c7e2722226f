"""Loads files whose batch normalizations are folded into the convolutions into layers that have
them.

Deployed nets (ONNX, TFLite, fused PyTorch) hold only `conv.weight` and `conv.bias`. The weights go
into the convolution, and the normalization after it becomes the addition of the bias, so that
training can continue from there.
"""

import re

import keras
import numpy as np

# Turns a normalization's path into that of the convolution before it (a separable one ends in the
# pointwise).
_CONVOLUTION = (r"\bnorm$", "conv"), (r"\bnorm$", "pointwise"), (r"_bn$", "_conv")
_OWN = ("gamma", "beta", "moving_mean", "moving_variance")


def unfolded(target, variables, layout, tensors):
    """Adds tensors for the normalizations that the file has folded away.

    Args:
        target: the layer or model.
        variables: its variables by path.
        layout: the names.
        tensors: those of the file, by key.

    Returns:
        `(tensors, number of normalizations)`.
    """
    paths = {id(variable): path for path, variable in variables.items()}
    tensors, count = dict(tensors), 0
    for layer in target._flatten_layers():
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        own = [paths.get(id(getattr(layer, name))) for name in _OWN]
        if None in own or any(layout.key(path) in tensors for path in own):
            continue
        stem = _convolution(own[0].rpartition("/")[0], variables)
        bias = stem and tensors.get(layout.key(f"{stem}/bias"))
        if bias is None:
            continue
        if f"{stem}/bias" in variables:  # the convolution takes it
            bias = np.zeros_like(bias)
        else:
            del tensors[layout.key(f"{stem}/bias")]
        ones, zeros = np.ones_like(bias), np.zeros_like(bias)
        values = (ones * np.sqrt(1.0 + layer.epsilon), bias, zeros, ones)
        tensors.update({layout.key(path): value for path, value in zip(own, values)})
        count += 1
    return tensors, count


def _convolution(path, variables):
    """The path of the convolution that belongs to a normalization's path."""
    for pattern, replacement in _CONVOLUTION:
        stem = re.sub(pattern, replacement, path)
        if stem != path and f"{stem}/kernel" in variables:
            return stem
    return None
