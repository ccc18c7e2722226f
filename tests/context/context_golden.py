"""What the tests of the context blocks share: goldens through `weights.load` with the reference's
key names."""

import pathlib

import golden
import numpy as np

import keras_detblocks as kdb

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"


def random_map(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def check_golden(layer, name):
    """Loads the reference's weights, runs its input and compares its output; returns the error in
    standard deviations."""
    g = golden.load(GOLDENS / f"{name}.npz")
    x = g.inputs()["x"].transpose(0, 2, 3, 1)
    layer.build(x.shape)
    if g.params():
        kdb.weights.load(layer, g.params())
    return g.check("out", np.asarray(layer(x)).transpose(0, 3, 1, 2))


def _edges(a, n, form):
    """Where the bins of a side begin and end, by the paper's rules; a side below the number of bins
    has no windows."""
    for j in range(n):
        if form == "adaptive" or a < n:
            yield int(np.floor(j * a / n)), int(np.ceil((j + 1) * a / n))
        else:
            start = j * int(np.floor(a / n))
            yield start, start + int(np.ceil(a / n))


def pyramid(x, bins, form, reduce=np.max):
    """SPP-net's vector of a NumPy map."""
    height, width = x.shape[1:3]
    rectangles = [
        (rows, columns)
        for n in bins
        for rows in _edges(height, n, form)
        for columns in _edges(width, n, form)
    ]
    return np.concatenate(
        [reduce(x[:, a:b, c:d], axis=(1, 2)) for (a, b), (c, d) in rectangles], axis=1
    )
