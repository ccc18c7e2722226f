"""Videos through `detblocks predict` and the device's script."""

import json
import sys

import numpy as np
import pytest
from export_models import pictures, small_detector

from keras_detblocks.cli import main
from keras_detblocks.images.video import Video, is_video, video_writer

SIZE = (64, 96)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with video_writer(path, 10.0) as write:
        for frame in pictures(5, (72, 120)):
            write(frame.astype("uint8"))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from keras_detblocks import export

    path = tmp_path_factory.mktemp("model") / "m.tflite"
    export.to_tflite(small_detector(SIZE), path)
    return path


def test_a_written_video_is_read_back(clip):
    with Video(clip) as video:
        frames = list(video)
        assert video.rate == 10.0 and not video.is_live
    assert len(frames) == 5
    want = pictures(5, (72, 120))
    assert np.abs(frames[2].astype(float) - want[2]).mean() < 30  # lossy, but RGB in this order
    assert np.abs(frames[2][..., ::-1].astype(float) - want[2]).mean() > 40


@pytest.mark.parametrize(
    "source, message",
    [
        ("99", "no camera 99"),
        ("none.mp4", "missing"),
        ("rtsp://127.0.0.1:9/x", "not a video stream"),
    ],
)
def test_what_is_not_there_is_one_sentence(source, message):
    pytest.importorskip("cv2")
    with pytest.raises(ValueError, match=message):
        Video(source)


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"keras_detblocks\[video\]"):
        Video("0")
    assert not is_video("photo.jpg") and is_video("http://host/stream")


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
    assert main(["predict", str(model), "99", "--out", str(tmp_path)]) == 2
    assert "there is no camera 99" in capsys.readouterr().err.lower()


@pytest.mark.slow
def test_the_device_script_takes_videos(clip, model, tmp_path, capsys):
    import importlib.util
    import pathlib

    path = pathlib.Path(__file__).parents[1] / "tflite" / "detect.py"
    spec = importlib.util.spec_from_file_location("detect", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    options = ["--model", str(model), "--out", str(tmp_path)]
    assert script.main([str(clip), *options, "--frames", "3"]) == 0
    assert "3 frames" in capsys.readouterr().out
    with Video(tmp_path / "clip-boxes.mp4") as video:
        assert len(list(video)) == 3
    assert script.main(["99", *options]) == 2
    assert "no camera" in capsys.readouterr().err
