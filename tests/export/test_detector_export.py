import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import pictures, small_detector

from keras_detblocks import data, export
from keras_detblocks.export.detector import match
from keras_detblocks.export.metadata import read_metadata

SIZE = (64, 96)


@pytest.fixture(scope="module")
def detector():
    return small_detector(SIZE)


@pytest.fixture(scope="module")
def images():
    return pictures(6, SIZE)


@pytest.fixture(scope="module")
def files(detector, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    formats = ("onnx", "tflite", "tflite-int8")
    reports = export.export_all(detector, folder, formats, calibration=[(images, {"boxes": None})])
    return dict(zip(formats, reports))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "tflite", "tflite-int8"])
def test_the_file_finds_what_keras_finds(files, detector, images, format):
    report = files[format]
    assert report.detections[1] > 4 and report.detections[0] >= 0.8 * report.detections[1]
    want = detector.predict(images, verbose=0)
    with export.open_exported(report.path) as exported:
        got = exported.predict(images)
        assert (exported.image_size, exported.class_names) == (SIZE, ("cat", "dog", "bird"))
    assert {k: v.shape for k, v in got.items()} == {k: v.shape for k, v in want.items()}
    if format in ("onnx", "tflite"):
        np.testing.assert_array_equal(got["count"], want["count"])
        np.testing.assert_allclose(got["scores"], want["scores"], atol=1e-4)
        sure = want["scores"] > 0.3
        np.testing.assert_array_equal(got["labels"][sure], want["labels"][sure])
        np.testing.assert_allclose(got["boxes"][sure], want["boxes"][sure], atol=1e-2)


@pytest.mark.slow
def test_int8_keeps_decoding_and_suppression_in_float(files):
    """Scores of one scale with boxes would collapse to a few values."""
    with export.open_exported(files["tflite-int8"].path) as exported:
        found = exported.predict(pictures(2, SIZE, seed=5))
    assert len(np.unique(found["scores"])) > 20
    assert files["tflite-int8"].size < 0.6 * files["tflite"].size
    assert files["tflite-int8"].operators["DEQUANTIZE"] == 4  # logits and distances of two levels


@pytest.mark.slow
def test_what_a_device_must_know_is_in_the_tflite_file(files):
    with zipfile.ZipFile(files["tflite"].path) as archive:
        assert archive.read("labels.txt").decode().split() == ["cat", "dog", "bird"]
        about = json.loads(archive.read("keras_detblocks.json"))
    assert about["image_size"] == list(SIZE) and about["letterbox"]["fill"] == 114
    canvas, _ = data.letterbox(np.zeros((10, 96, 3), "uint8"), SIZE)
    assert (canvas[-1, -1] == about["letterbox"]["fill"]).all() and (canvas[0, 0] == 0).all()  # top left
    assert read_metadata(files["onnx"].path) == about


@pytest.mark.slow
def test_saved_model_takes_any_batch(detector, images, tmp_path):
    report = export.to_saved_model(detector, tmp_path / "m", representative_data=[images])
    assert report.detections[0] == report.detections[1] > 4
    assert read_metadata(tmp_path / "m")["class_names"] == ["cat", "dog", "bird"]
    want = detector.predict(images, verbose=0)
    got = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"](image=tf.constant(images))
    np.testing.assert_array_equal(got["count"], want["count"])
    np.testing.assert_allclose(got["scores"], want["scores"], atol=1e-4)


@pytest.mark.slow
def test_class_agnostic_and_thresholds_travel(images, tmp_path):
    detector = small_detector(SIZE, class_agnostic=True, score_threshold=0.2, iou_threshold=0.4, max_detections=7, name="agnostic")
    export.to_tflite(detector, tmp_path / "m.tflite", representative_data=[images])
    want = detector.predict(images, verbose=0)
    with export.open_exported(tmp_path / "m.tflite") as exported:
        got = exported.predict(images)
        assert exported.max_detections == 7
    for key in ("count", "labels"):
        np.testing.assert_array_equal(got[key], want[key])
    assert (got["labels"][got["scores"] == 0] == -1).all()


@pytest.mark.slow
def test_benchmark_times_models_and_files(files, detector):
    assert 0.0 < export.benchmark(files["tflite"].path, images=3) < 1000.0
    with export.open_exported(files["onnx"].path) as exported:
        assert 0.0 < export.benchmark(exported, images=3) < 1000.0


@pytest.mark.slow
def test_wrong_pictures_and_formats_are_refused(files, tmp_path):
    with export.open_exported(files["tflite"].path) as exported, pytest.raises(ValueError, match="takes images"):
        exported.predict(np.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="Formats are"):
        export.exported_path(tmp_path, "coreml")
    with pytest.raises(ValueError, match="calibration"):
        export.export_all(None, tmp_path, ("tflite-int8",))


def test_a_file_without_our_metadata_is_no_detector(tmp_path):
    x = keras.Input((8, 8, 3), name="image")
    export.to_tflite(keras.Model(x, keras.layers.ReLU()(x)), tmp_path / "relu.tflite")
    with pytest.raises(ValueError, match="not a detector exported by keras_detblocks"):
        export.open_exported(tmp_path / "relu.tflite")


def test_match_wants_the_same_class_overlap_and_score():
    one = {"boxes": np.array([[0.0, 0, 10, 10]]), "scores": np.array([0.9]), "labels": np.array([1])}
    assert match(one, one, 0.9, 0.01) == (1, [(0.0, 0.0)])
    assert match(one, {**one, "labels": np.array([0])}, 0.9, 0.01) == (1, [])
    assert match(one, {**one, "boxes": one["boxes"] + 1.0}, 0.9, 0.01) == (1, [])  # overlap 81 / 119
    assert match(one, {**one, "scores": np.array([0.8])}, 0.9, 0.01) == (1, [])
    assert match({**one, "scores": np.array([0.2])}, one, 0.9, 0.01) == (0, [])
