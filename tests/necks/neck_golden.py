"""What the neck tests share: random pyramids, and goldens through `weights.load` with the
reference's key names."""

import pathlib

import golden
import numpy as np

import keras_detblocks as kdb

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"


def features(channels, image_size, batch=2, seed=0):
    """A random pyramid: `channels` by level number, for an image of `(height, width)`."""
    rng = np.random.default_rng(seed)
    sizes = {l: [-(-n // 2**l) for n in image_size] for l in channels}
    return {
        f"P{l}": rng.normal(size=(batch, *sizes[l], c)).astype("float32")
        for l, c in channels.items()
    }


def nhwc(x):
    return np.asarray(x).transpose(0, 2, 3, 1)


def check_golden(neck, name):
    """Loads the reference's weights, runs its inputs and compares its outputs, which are the neck's
    in order of the levels."""
    g = golden.load(GOLDENS / f"{name}.npz")
    inputs = {"P" + key[1:]: nhwc(x) for key, x in g.inputs().items()}
    neck.build({key: x.shape for key, x in inputs.items()})
    kdb.weights.load(neck, g.params())
    outputs = neck(inputs)
    assert len(outputs) == len(g.outputs)
    return max(
        g.check(o, np.asarray(y).transpose(0, 3, 1, 2)) for o, y in zip(g.outputs, outputs.values())
    )
