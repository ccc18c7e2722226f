"""Every layer of the table of cases, in one model, through every format: one conversion per format
for all of them."""

import keras
import pytest
from cases import CASES, randomize

from keras_detblocks import export


@pytest.fixture(scope="module")
def everything():
    """A model with one input per map of every case, and one output per tensor that the cases
    return."""
    keras.utils.set_random_seed(0)
    inputs, outputs = {}, {}
    for case in CASES:
        taken = _inputs(case.shapes())
        inputs |= _named(case.name, taken)
        outputs |= _named(f"{case.name}_out", case.build(name=case.name)(taken))
    return randomize(keras.Model(inputs, outputs, name="everything"))


def _inputs(shapes):
    if isinstance(shapes, dict):
        return {key: keras.Input(shape) for key, shape in shapes.items()}
    return (
        [keras.Input(shape) for shape in shapes]
        if isinstance(shapes, list)
        else keras.Input(shapes)
    )


def _named(stem, tensors):
    paths = keras.tree.flatten_with_path(tensors)
    return {"_".join([stem, *map(str, path)]): tensor for path, tensor in paths}


@pytest.mark.slow
def test_onnx(everything, tmp_path):
    report = export.to_onnx(everything, tmp_path / "m.onnx")
    assert set(report.max_error) == set(everything.output)


@pytest.mark.slow
def test_tflite(everything, tmp_path):
    report = export.to_tflite(everything, tmp_path / "m.tflite")
    assert set(report.max_error) == set(everything.output)
    assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SPLIT", "TILE"} & set(report.operators)


@pytest.mark.slow
def test_saved_model(everything, tmp_path):
    report = export.to_saved_model(everything, tmp_path / "m")
    assert set(report.max_error) == set(everything.output)
