"""`detect.py` is written beside an export, and never in the place of another file."""

import pathlib
import warnings

import pytest

from keras_detblocks.export import device_program
from keras_detblocks.export.runtime import device

SOURCE = pathlib.Path(__file__).parents[2] / "tflite" / "detect.py"


def test_it_is_the_one_of_the_repository():
    assert device_program().read_bytes() == SOURCE.read_bytes()


def test_it_is_left_once_and_somebody_elses_stays(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            target = device.leave_program(tmp_path / "detector.tflite")
    assert target == tmp_path / "detect.py" and target.read_bytes() == SOURCE.read_bytes()
    target.write_text("mine")
    with pytest.warns(UserWarning, match="detect.py differs from the program of this version"):
        device.leave_program(tmp_path / "detector.tflite")
    assert target.read_text() == "mine"


def test_an_installation_without_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "_PLACES", (tmp_path / "detect.py",))
    with pytest.raises(FileNotFoundError, match="not in this installation.*Install"):
        device.leave_program(tmp_path / "detector.tflite")
