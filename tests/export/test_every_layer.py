"""Every layer of the table of cases, in one model, through every format: one conversion per format
for all of them."""

import cases
import pytest

from keras_detblocks import export


@pytest.fixture(scope="module")
def everything():
    return cases.everything()


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
