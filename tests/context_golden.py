"""What the tests of the context blocks share: goldens through `weights.load` with the reference's key names."""

import pathlib

import golden
import numpy as np

import keras_detblocks as kdb

GOLDENS = pathlib.Path(__file__).parent / "goldens"


def random_map(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def check_golden(layer, name):
    """Loads the reference's weights, runs its input and compares its output; returns the error in standard deviations."""
    g = golden.load(GOLDENS / f"{name}.npz")
    x = g.inputs()["x"].transpose(0, 2, 3, 1)
    layer.build(x.shape)
    if g.params():
        kdb.weights.load(layer, g.params())
    return g.check("out", np.asarray(layer(x)).transpose(0, 3, 1, 2))
