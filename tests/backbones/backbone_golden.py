"""Compares a backbone with a golden file: every feature map and the logits, from one set of weights."""

import pathlib

import golden
import keras
import numpy as np

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"


def check(file, constructor, levels, logits=True):
    """Returns the largest error per output of `tests/goldens/<file>.npz`."""
    fixture = golden.load(GOLDENS / f"{file}.npz")
    x = fixture.inputs()["x"].transpose(0, 2, 3, 1)
    arguments = dict(weights=fixture.params(), input_shape=x.shape[1:], include_preprocessing=False)
    errors = {}
    features = constructor(include_top=False, levels=levels, **arguments)
    for name, y in features(x, training=False).items():
        output = f"stride{2 ** int(name[1:])}"
        errors[output] = fixture.check(output, np.transpose(keras.ops.convert_to_numpy(y), (0, 3, 1, 2)))
    if logits:
        model = constructor(classifier_activation=None, **arguments)
        errors["logits"] = fixture.check("logits", keras.ops.convert_to_numpy(model(x, training=False)))
    assert set(errors) == set(fixture.outputs)
    return errors
