"""Every layer of the table of cases through every format: one model and one conversion for all of
them, but for ONNX, where tf2onnx takes the square of a graph's size in time, a few parts of it."""

import cases
import keras
import pytest

from keras_detblocks import export

PARTS = 6


@pytest.fixture(scope="module")
def everything():
    return cases.everything()


def part_of(everything, some):
    """A model of the layers of some of the cases."""
    layers = {case.name: everything.get_layer(f"{case.name}_layer") for case in some}
    inputs = {x.name: x for layer in layers.values() for x in keras.tree.flatten(layer.input)}
    outputs = {}
    for name, layer in layers.items():
        outputs |= cases.named(f"{name}_out", layer.output)
    return keras.Model(inputs, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_onnx(everything, tmp_path, part):
    model = part_of(everything, cases.CASES[part::PARTS])
    report = export.to_onnx(model, tmp_path / "m.onnx")
    assert set(report.max_error) == set(model.output)


@pytest.mark.slow
def test_tflite(everything, tmp_path):
    report = export.to_tflite(everything, tmp_path / "m.tflite")
    assert set(report.max_error) == set(everything.output)
    assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "SPLIT", "TILE"} & set(report.operators)


@pytest.mark.slow
def test_saved_model(everything, tmp_path):
    report = export.to_saved_model(everything, tmp_path / "m")
    assert set(report.max_error) == set(everything.output)
