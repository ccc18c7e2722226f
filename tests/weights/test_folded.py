"""Files whose normalizations are folded into the convolutions, of every layer that has reference
names and batch normalizations."""

import cases
import keras
import numpy as np
import pytest

import keras_detblocks as kdb
from keras_detblocks.weights import layer_layouts

# MLFPN can end in a normalization that no convolution stands before.
FOLDABLE = [
    case
    for case in {case.layer: case for case in cases.NECKS[::-1] + cases.CONTEXT[::-1]}.values()
    if layer_layouts(case.build()) and not case.arguments.get("final_norm")
]


@pytest.mark.parametrize("case", FOLDABLE, ids=lambda case: case.name)
def test_folded(case):
    """They load into the layer with its normalizations, and it computes the same."""
    layer, x = cases.randomize(case.built(name="it")), case.inputs()
    wanted = [np.asarray(want) for want in keras.tree.flatten(layer(x))]
    tensors = {path: in_torch(path, value) for path, value in stored(layer).items()}
    folded = fold(layer, tensors)
    layout = layer_layouts(layer)[0]
    for variable in layer.variables:
        if "seed" not in variable.path:
            variable.assign(keras.ops.full_like(variable, np.nan))
    name = kdb.weights.load(layer, {layout.key(path): each for path, each in folded.items()})
    assert name.endswith(", folded") == (len(folded) < len(tensors))
    for got, want in zip(keras.tree.flatten(layer(x)), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


def stored(layer):
    return {
        variable.path.removeprefix("it/"): np.asarray(variable)
        for variable in layer.variables
        if "seed" not in variable.path
    }


def in_torch(path, array):
    if not path.endswith("kernel"):
        return array
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def fold(layer, tensors):
    """The tensors by path, with each batch normalization in the convolution before it."""
    tensors = dict(tensors)
    for norm in layer._flatten_layers():
        if isinstance(norm, keras.layers.BatchNormalization):
            path = norm.gamma.path.removeprefix("it/").rpartition("/")[0]
            stems = [path.removesuffix("norm") + name for name in ("conv", "pointwise")]
            (conv,) = [stem for stem in stems if f"{stem}/kernel" in tensors]
            own = ("gamma", "beta", "moving_mean", "moving_variance")
            gamma, beta, mean, variance = (tensors.pop(f"{path}/{name}") for name in own)
            scale = gamma / np.sqrt(variance + norm.epsilon)
            bias = tensors.get(f"{conv}/bias", 0.0)
            tensors[f"{conv}/kernel"] = tensors[f"{conv}/kernel"] * scale[:, None, None, None]
            tensors[f"{conv}/bias"] = beta + (bias - mean) * scale
    return tensors
