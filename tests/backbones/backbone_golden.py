"""Compares a backbone with a golden file: every feature map and the logits, from one set of
weights."""

import functools
import json
import pathlib

import golden
import keras
import numpy as np
from without_values import without_values

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"


def check(file, constructor, levels, logits=True):
    """Returns the largest error per output of `tests/goldens/<file>.npz`."""
    fixture = golden.load(GOLDENS / f"{file}.npz")
    x = fixture.inputs()["x"].transpose(0, 2, 3, 1)
    net = _net(constructor, levels, logits, json.dumps(fixture.meta["params"]), fixture.seed)
    errors = {}
    for name, y in net(x, training=False).items():
        y = keras.ops.convert_to_numpy(y)
        if name != "logits":
            name, y = f"stride{2 ** int(name[1:])}", np.transpose(y, (0, 3, 1, 2))
        errors[name] = fixture.check(name, y)
    assert set(errors) == set(fixture.outputs)
    return errors


@functools.lru_cache(maxsize=2)
def _net(constructor, levels, logits, params, seed):
    """The net of levels, with the logits of the net with the top among them, for any size: the
    files of one net differ in size alone, so it is built once."""
    weights = {
        name: golden.synth(name, shape, kind, seed) for name, shape, kind in json.loads(params)
    }
    arguments = dict(weights=weights, include_preprocessing=False)
    shape = (None, None, 3)
    if not logits:
        return constructor(include_top=False, levels=levels, input_shape=shape, **arguments)
    with without_values():
        maps = constructor(
            include_top=False, levels=levels, input_shape=shape, include_preprocessing=False
        ).output
    whole = constructor(classifier_activation=None, input_tensor=keras.Input(shape), **arguments)
    # The same layers, so that one run gives both.
    outputs = {
        name: whole.get_layer(tensor._keras_history.operation.name).output
        for name, tensor in maps.items()
    }
    return keras.Model(whole.input, {**outputs, "logits": whole.output})
