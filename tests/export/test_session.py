import signal

import numpy as np
import pytest
import tensorflow as tf

from keras_detblocks.export import Session
from keras_detblocks.export.runtime import session as module
from keras_detblocks.export.runtime.session import kind_of


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "versions" / "1").mkdir(parents=True)
    (tmp_path / "versions" / "1" / "saved_model.pb").write_bytes(b"")
    for name, content, received in (
        ("missing.tflite", None, "nothing is there"),
        ("notes.txt", b"not a model", "a file of another kind"),
        ("empty.onnx", b"", "an empty file"),
        ("m.tflite", b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        ("m.onnx", b"\xff\xd8\xff\xe0", "a JPEG picture"),
        ("m.pt", b"PK\x03\x04data", "a zip archive"),
        ("frozen.pb", b"\n\x05conv1", "a file of another kind"),
        ("m.weights.h5", b"\x89HDF\r\n", "weights without their model"),
        (".", None, "a folder without saved_model.pb"),
        ("versions", None, f"a folder; give {tmp_path / 'versions' / '1'}"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="expected a .tflite, .onnx or .keras") as raised:
            kind_of(tmp_path / name)
        assert f"received: {received}" in str(raised.value)


def test_a_damaged_file_is_an_error_here_and_not_a_crash(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\x00" * 100)
    with pytest.raises(ValueError, match="could not be opened"):
        Session(tmp_path / "m.tflite")
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="could not be opened"):
        Session(tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, told",
    [
        (signal.SIGKILL, "was killed, as systems do that run out of memory"),
        (signal.SIGSEGV, "SEGV"),
    ],
)
def test_a_runtime_that_ends_is_told(small_files, number, told):
    with Session(small_files / "detector.tflite") as session:
        session.process.send_signal(number)
        session.process.wait()
        with pytest.raises(ValueError, match=f"could not be run: the runtime .*{told}"):
            session(image=session.picture())


class Scale(tf.Module):
    def __init__(self, factor):
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[tf.TensorSpec((None,), name="x")])
    def __call__(self, x):
        return {"y": self.factor * x}


@pytest.mark.slow
def test_a_process_runs_one_saved_model_after_the_other(tmp_path):
    """What was opened before leaves nothing behind, and what fails or is asked for alone gets a
    process of its own."""
    for name, factor in (("two", 2.0), ("three", 3.0)):
        tf.saved_model.save(Scale(factor), str(tmp_path / name))
    with Session(tmp_path / "two") as session:
        first = session.process.pid
        np.testing.assert_array_equal(session(x=np.ones(2, "float32"))["y"], [2, 2])
    with Session(tmp_path / "three") as session, Session(tmp_path / "two") as other:
        assert session.process.pid == first != other.process.pid
        np.testing.assert_array_equal(session(x=np.ones(2, "float32"))["y"], [3, 3])
        np.testing.assert_array_equal(other(x=np.ones(2, "float32"))["y"], [2, 2])
        with pytest.raises(ValueError, match="could not be run"):
            session(z=np.ones(2, "float32"))
    ((place, (process, errors, since)),) = module._WAITING.items()
    assert process.poll() is None and process.pid != first
    module._WAITING[place] = process, errors, since - module._SECONDS_TO_WAIT  # about to end
    with Session(tmp_path / "three") as session:
        assert session.process.pid != process.pid and process.poll() is not None
