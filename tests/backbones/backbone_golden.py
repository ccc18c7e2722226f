"""Compares a backbone with a golden file: every feature map and the logits, from one set of
weights."""

import functools
import json
import pathlib

import golden
import keras
import numpy as np

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"


def check(file, constructor, levels, logits=True):
    """Returns the largest error per output of `tests/goldens/<file>.npz`."""
    fixture = golden.load(GOLDENS / f"{file}.npz")
    x = fixture.inputs()["x"].transpose(0, 2, 3, 1)
    features, model = _nets(
        constructor, levels, logits, json.dumps(fixture.meta["params"]), fixture.seed
    )
    errors = {}
    for name, y in features(x, training=False).items():
        output = f"stride{2 ** int(name[1:])}"
        errors[output] = fixture.check(
            output, np.transpose(keras.ops.convert_to_numpy(y), (0, 3, 1, 2))
        )
    if logits:
        errors["logits"] = fixture.check(
            "logits", keras.ops.convert_to_numpy(model(x, training=False))
        )
    assert set(errors) == set(fixture.outputs)
    return errors


@functools.lru_cache(maxsize=2)
def _nets(constructor, levels, logits, params, seed):
    """(net of levels, net with the top or None) for any size: the files of one net differ in size
    alone, so each is built once."""
    weights = {
        name: golden.synth(name, shape, kind, seed) for name, shape, kind in json.loads(params)
    }
    arguments = dict(weights=weights, include_preprocessing=False)
    features = constructor(
        include_top=False, levels=levels, input_shape=(None, None, 3), **arguments
    )
    if not logits:
        return features, None
    return features, constructor(
        classifier_activation=None, input_tensor=keras.Input((None, None, 3)), **arguments
    )
