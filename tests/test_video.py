"""Videos through `detblocks predict` and the device's script."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from export_models import pictures
from PIL import Image

from keras_detblocks.cli import main
from keras_detblocks.export.runtime.device import device_program
from keras_detblocks.images.video import Video, is_video, video_writer


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with video_writer(path, 10.0) as write:
        for frame in pictures(5, (72, 120)):
            write(frame.astype("uint8"))
    return path


@pytest.fixture(scope="module")
def script():
    """`tflite/detect.py`, as a module."""
    spec = importlib.util.spec_from_file_location("detect", device_program())
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(small_files):
    return small_files / "detector.tflite"


def test_a_written_video_is_read_back(clip):
    with Video(clip) as video:
        frames = list(video)
        assert video.rate == 10.0 and not video.is_live
    assert len(frames) == 5
    want = pictures(5, (72, 120))
    assert np.abs(frames[2].astype(float) - want[2]).mean() < 30  # lossy, but RGB in this order
    assert np.abs(frames[2][..., ::-1].astype(float) - want[2]).mean() > 40


# What is no video, and what both programs say of it.
NOT_VIDEOS = (
    ("99", "there is no camera 99"),
    ("99999999999999999999", "there is no camera 9999"),
    ("none.mp4", r"there is no (file|video) none\.mp4.* check the path"),
    ("text.mp4", r"text\.mp4 is not"),
    ("empty.mkv", r"empty\.mkv is not"),
    ("cut.mp4", r"cut\.mp4 is not .* was cut off"),
    ("rtsp://127.0.0.1:9/x", "does not answer"),
    ("http://127.0.0.1:9/x", "does not answer"),
    ("foo://x", "does not answer"),
)


@pytest.fixture(scope="module")
def not_videos(clip):
    """A folder with what the names say."""
    content = clip.read_bytes()
    (clip.parent / "cut.mp4").write_bytes(content[: len(content) // 2])
    (clip.parent / "text.mp4").write_text("not a video")
    (clip.parent / "empty.mkv").write_bytes(b"")
    return clip.parent


@pytest.mark.parametrize("source, message", NOT_VIDEOS)
def test_what_is_no_video_is_one_sentence(not_videos, monkeypatch, script, capfd, source, message):
    import cv2

    monkeypatch.chdir(not_videos)
    with pytest.raises(ValueError, match=f"(?i){message}"):
        Video(source)
    with pytest.raises(script.Mistake, match=f"(?i){message}"):
        script.opened_video(cv2, source)
    assert capfd.readouterr().err == ""  # OpenCV's own words


class Silent:
    """A camera that is there and gives nothing."""

    def __init__(self, number):
        self.number = number

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return True

    def get(self, _):
        return 0.0

    def read(self):
        return False, None

    def release(self):
        pass


def test_a_camera_without_frames_is_one_sentence(monkeypatch, script, tmp_path):
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "VideoCapture", Silent)
    with pytest.raises(ValueError, match="camera 0 is there and gives none.*another number"):
        list(Video("0"))
    with pytest.raises(script.Mistake, match="camera 0 gives no frames.*another number"):
        script.report_video("0", None, 0.3, tmp_path, set())
    assert not list(tmp_path.iterdir())


def test_frames_of_other_sizes_are_not_left_out_in_silence(tmp_path, script):
    cv2 = pytest.importorskip("cv2")
    small, large = (np.zeros((side, side, 3), "uint8") for side in (32, 64))
    with pytest.raises(ValueError, match="Expected frames of 32x32 pixels .* 64x64"):
        with video_writer(tmp_path / "m.mp4", 10.0) as write:
            write(small)
            write(large)
    writer = script.Writer(cv2, tmp_path / "n.mp4", 10.0)
    for frame in (small, large):
        writer.write(Image.fromarray(frame))
    writer.release()
    for name, count in (("m.mp4", 1), ("n.mp4", 2)):
        with Video(tmp_path / name) as video:
            assert len(list(video)) == count


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"keras_detblocks\[video\]"):
        Video("0")
    assert not is_video("photo.jpg") and is_video("http://host/stream")


def test_the_device_script_names_opencv(monkeypatch, script, tmp_path):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(script.Mistake, match="videos need OpenCV: pip install"):
        script.report_video("0", None, 0.3, tmp_path, set())


@pytest.mark.slow
def test_predict_streams_lines_and_writes_a_video(clip, model, tmp_path, capsys):
    assert main(["predict", str(model), str(clip), "--out", str(tmp_path), "--json", "-"]) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["frame"] for row in rows] == [0, 1, 2, 3, 4] and any(row["objects"] for row in rows)
    assert set(rows[0]) == {"source", "frame", "objects"} and "per second" in said.err
    with Video(tmp_path / "clip.mp4") as video:
        assert len(list(video)) == 5
    assert main(["predict", str(model), str(clip), "--json", "-", "--frames", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    for wrong, message in (
        (["99"], "there is no camera 99"),
        ([str(clip), "--frames", "0"], "--frames must be an int of at least 1"),
    ):
        assert main(["predict", str(model), *wrong, "--out", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_video_that_was_cut_off_is_told(clip, model, script, tmp_path, capsys):
    """One whose beginning tells its length."""
    import cv2

    writer = cv2.VideoWriter(
        str(tmp_path / "m.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (120, 72)
    )
    for frame in pictures(20, (72, 120)):
        writer.write(frame.astype("uint8"))
    writer.release()
    content = (tmp_path / "m.avi").read_bytes()
    (tmp_path / "m.avi").write_bytes(content[: len(content) // 2])
    paths = str(model), str(tmp_path / "m.avi"), str(tmp_path / "out")
    assert main(["predict", paths[0], paths[1], "--out", paths[2]]) == 0
    assert "of 20 frames, so the file was cut off" in capsys.readouterr().err
    assert main(["predict", paths[0], paths[1], "--out", paths[2], "--frames", "3"]) == 0
    assert capsys.readouterr().err == ""
    assert script.main([paths[1], "--model", paths[0], "--out", paths[2]]) == 0
    assert "of 20 frames: cut off?" in capsys.readouterr().err


@pytest.mark.slow
def test_the_device_script_takes_videos(clip, model, script, tmp_path, capsys):
    options = ["--model", str(model), "--out", str(tmp_path)]
    empty = tmp_path / "empty.mp4"  # a folder all the same
    empty.mkdir()
    assert script.main([str(clip), str(clip), *options, "--frames", "3"]) == 0
    assert "3 frames" in capsys.readouterr().out
    for name in ("clip-boxes.mp4", "clip-boxes-2.mp4"):
        with Video(tmp_path / name) as video:
            assert len(list(video)) == 3
    for wrong, message in (
        (["99"], "there is no camera 99"),
        ([str(clip), "--frames", "0"], "--frames is at least 1; received 0"),
        ([str(empty)], "expected pictures in the folder"),
        ([str(clip), "--score", "nan"], "--score is from 0 to 1; received nan"),
    ):
        assert script.main([*wrong, *options]) == 2
        assert message in capsys.readouterr().err
