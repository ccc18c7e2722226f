import pytest

from keras_detblocks.export import Session
from keras_detblocks.export.runtime.session import kind_of


def test_files_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing is there"):
        kind_of(tmp_path / "missing.tflite")
    (tmp_path / "notes.txt").write_text("not a model")
    with pytest.raises(ValueError, match="neither"):
        kind_of(tmp_path / "notes.txt")


def test_a_damaged_file_is_an_error_here_and_not_a_crash(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\x00" * 100)
    with pytest.raises(ValueError, match="could not be opened"):
        Session(tmp_path / "m.tflite")
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="could not be opened"):
        Session(tmp_path / "m.onnx")
