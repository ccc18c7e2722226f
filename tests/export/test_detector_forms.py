"""Forms of a detector's files beyond the plain one: any batch and size, fewer bits, raw outputs, a
server's signature, stretched pictures."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from export_models import pictures, small_detector
from PIL import Image

from keras_detblocks import export
from keras_detblocks.export.formats.server import fitted_picture
from keras_detblocks.export.runtime.metadata import read_metadata
from keras_detblocks.images import Letterbox, letterbox, read_image

SIZE = (64, 96)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detector():
    return small_detector(SIZE, score_threshold=0.2, resize="stretch")


@pytest.fixture(scope="module")
def images():
    return pictures(6, SIZE)


@pytest.fixture(scope="module")
def wanted(detector, images):
    return detector.predict(images, verbose=0)


def same(got, want, atol=1e-4):
    sure = want["scores"] > 0.3
    assert sure.sum() > 10
    np.testing.assert_array_equal(got["labels"][sure], want["labels"][sure])
    np.testing.assert_allclose(got["scores"][sure], want["scores"][sure], atol=atol)
    np.testing.assert_allclose(got["boxes"][sure], want["boxes"][sure], atol=1e-2)


def test_onnx_takes_any_batch(detector, images, wanted, tmp_path):
    report = export.to_onnx(
        detector, tmp_path / "m.onnx", batch_size=None, representative_data=[images]
    )
    assert "Loop" not in report.operators and report.operators["NonMaxSuppression"] == 1
    with export.open_exported(report.path) as exported:
        assert exported.session.inputs["image"][0] == (None, *SIZE, 3)
        same(exported.predict(images), wanted)
        same(exported.predict([images[:1], images[1:]]), wanted)


@pytest.fixture(scope="module")
def dynamic():
    return small_detector((None, None))


@pytest.mark.parametrize("kind", ["onnx", "saved_model"])
def test_sides_may_be_open(dynamic, kind, tmp_path):
    convert = {"onnx": export.to_onnx, "saved_model": export.to_saved_model}[kind]
    path = tmp_path / f"m.{kind}"
    report = convert(dynamic, path, (None, None), None, representative_data=[pictures(2, (72, 56))])
    assert report.detections[1] > 4
    with export.open_exported(path) as exported:
        assert exported.image_size is None
        for size in ((64, 96), (120, 40)):
            found = exported.detect(pictures(1, size)[0].astype("uint8"), 0.3)
            want = dynamic.detect(pictures(1, size)[0].astype("uint8"), 0.3)
            assert found["class_names"] == want["class_names"] and len(want["scores"])
            np.testing.assert_allclose(found["boxes"], want["boxes"], atol=1e-2)


@pytest.fixture(scope="module")
def plain(detector, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    return export.to_onnx(detector, path, representative_data=[images])


@pytest.mark.parametrize("quantization", ["fp16", "int8"])
def test_onnx_in_fewer_bits(detector, images, wanted, plain, tmp_path, quantization):
    report = export.to_onnx(
        detector, tmp_path / "m.onnx", representative_data=[images], quantization=quantization
    )
    assert quantization == "int8" or report.size < 0.8 * plain.size  # scales of a tiny net
    assert (report.operators.get("QuantizeLinear", 0) > 10) == (quantization == "int8")
    with export.open_exported(report.path) as exported:
        found = exported.predict(images)
    off = np.abs(found["scores"] - wanted["scores"]).mean()
    assert off < {"fp16": 0.005, "int8": 0.05}[quantization]
    assert read_metadata(tmp_path / "m.onnx")["class_names"] == ["cat", "dog", "bird"]


@pytest.mark.parametrize("kind", ["tflite", "onnx", "saved_model"])
def test_raw_outputs_are_decoded_outside(detector, images, wanted, tmp_path, kind):
    path = tmp_path / f"m.{kind}"
    report = getattr(export, f"to_{kind}")(detector, path, postprocess=False)
    assert max(report.max_error.values()) < 1e-3
    with export.open_exported(path) as exported:
        assert set(exported.session.outputs) == set(detector.output)
        same(exported.predict(images), wanted)


SERVE = """
import sys, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
serve, default = model.signatures["encoded_above"], model.signatures["encoded"]
encoded = tf.constant([open(path, "rb").read() for path in sys.argv[2:]])
found = serve(image_bytes=encoded, score_threshold=tf.constant(0.3))
assert (default(image_bytes=encoded)["count"] >= found["count"]).numpy().all()
for i, count in enumerate(found["count"].numpy()):
    for name, box in zip(found["names"][i].numpy()[:count], found["boxes"][i].numpy()[:count]):
        print(i, name.decode(), *box)
    assert set(found["names"][i].numpy()[count:]) <= {b""}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A wide JPEG, a tall PNG and a gray PNG."""
    folder = tmp_path_factory.mktemp("photos")
    images = [
        Image.fromarray(pictures(1, size)[0].astype("uint8")) for size in ((200, 320), (160, 120))
    ]
    images[0].save(folder / "a.jpg", quality=95)
    images[1].save(folder / "b.png")
    images[1].convert("L").save(folder / "c.png")
    return [folder / name for name in ("a.jpg", "b.png", "c.png")]


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_a_server_fits_pictures_as_we_do(photos, resize):
    for path in photos:
        canvas, factors, limits = fitted_picture(path.read_bytes(), SIZE, resize == "stretch")
        want, fitted = letterbox(read_image(path), SIZE, resize)
        np.testing.assert_allclose(factors, fitted.scale, rtol=1e-6)
        assert tuple(limits.numpy()) == fitted.original[::-1] * 2
        off = np.abs(canvas.numpy() - want)
        assert off.mean() < 0.6 and off.max() < 12  # JPEG decoders differ


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(tmp_path, mode):
    image = Image.fromarray(pictures(1, SIZE)[0].astype("uint8"))
    if mode == "P":
        image.quantize(16).save(tmp_path / "m.png", transparency=3)
    else:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.convert(mode).save(tmp_path / "m.png")
    want = read_image(tmp_path / "m.png")
    assert np.ptp(np.asarray(want, int) - np.asarray(image.convert("RGB"), int)) > 50
    canvas, _, _ = fitted_picture((tmp_path / "m.png").read_bytes(), SIZE, True)
    assert np.abs(canvas.numpy() - want).max() <= 1


@pytest.fixture(scope="module")
def served(detector, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    report = export.to_saved_model(detector, folder, representative_data=[images], version=1)
    assert report.path == str(folder / "1")
    return report


def test_saved_model_takes_any_batch(served, images, wanted):
    assert served.detections[0] == served.detections[1] > 4
    assert read_metadata(served.path)["class_names"] == ["cat", "dog", "bird"]
    serve = tf.saved_model.load(served.path).signatures["serving_default"]
    for count in (1, len(images)):
        got = serve(image=tf.constant(images[:count]))
        np.testing.assert_array_equal(got["count"], wanted["count"][:count])
        np.testing.assert_allclose(got["scores"], wanted["scores"][:count], atol=1e-4)


def test_a_server_gets_files_and_returns_names(served, photos):
    command = [sys.executable, "-c", SERVE, served.path, *map(str, photos)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
    with export.open_exported(served.path) as exported:
        ours = exported.detect([str(path) for path in photos], 0.3)
    near = []
    for i, mine in enumerate(ours):
        theirs = [line[1:] for line in lines if line[0] == str(i)]
        near += [
            any(
                n == name and np.abs(np.subtract(box, [*map(float, b)])).max() < 8
                for n, *b in theirs
            )
            for name, box in zip(mine["class_names"], mine["boxes"])
        ]
    assert len(near) > 2 and np.mean(near) > 0.8  # decoders differ by a step of 255


def test_stretched_pictures_fill_the_canvas(detector, tmp_path):
    picture = pictures(1, (120, 96))[0].astype("uint8")
    found = detector.detect(picture, 0.3)
    small = np.asarray(Image.fromarray(picture).resize(SIZE[::-1], Image.Resampling.BILINEAR))
    want = detector.predict(small[None].astype("float32"), verbose=0)
    count = len(found["scores"])
    assert count and np.allclose(found["scores"], want["scores"][0][:count])
    fitted = Letterbox.fit((120, 96), SIZE, "stretch")
    np.testing.assert_allclose(
        found["boxes"], fitted.to_original(want["boxes"][0][:count]), atol=1e-3
    )
    detector.save(tmp_path / "m.keras")
    assert tf.keras.models.load_model(tmp_path / "m.keras").resize == "stretch"
    with pytest.raises(ValueError, match="`resize` must be 'letterbox' or 'stretch'"):
        detector.resize = "crop"


def test_wrong_arguments_are_refused(detector, dynamic, tmp_path):
    with pytest.raises(ValueError, match="`quantization` must be None, 'fp16' or 'int8'"):
        export.to_onnx(detector, tmp_path / "m.onnx", quantization="int4")
    with pytest.raises(ValueError, match="representative_data"):
        export.to_onnx(detector, tmp_path / "m.onnx", quantization="int8")
    with pytest.raises(ValueError, match="`outputs` must be 'mediapipe' or 'pixels'"):
        export.to_tflite(detector, tmp_path / "m.tflite", outputs="boxes")
    with pytest.raises(ValueError, match="TFLite files have one size"):
        export.to_tflite(dynamic, tmp_path / "m.tflite", image_size=(None, None))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch_size", [0, -1, "2", 1.5, True])
def test_batches_that_no_format_has_are_refused(detector, tmp_path, batch_size):
    for convert in (export.to_onnx, export.to_saved_model):
        with pytest.raises(ValueError, match="`batch_size` must be an int of at least 1 or None"):
            convert(detector, tmp_path / "m", batch_size=batch_size)


@pytest.mark.parametrize("size", [(0, 5), "64", 64, (64,), (64.5, 64), (-1, 64)])
def test_sizes_that_are_none_are_refused(dynamic, tmp_path, size):
    for convert in (export.to_onnx, export.to_saved_model, export.to_tflite):
        with pytest.raises(ValueError, match=r"`image_size` must be a pair \(height, width\)"):
            convert(dynamic, tmp_path / "m", image_size=size)


def test_a_size_that_the_detector_has_not_is_refused(detector, tmp_path):
    for size in ((32, 32), (None, None)):
        with pytest.raises(ValueError, match=r"takes images of \(64, 96\) alone"):
            export.to_tflite(detector, tmp_path / "m", image_size=size)


@pytest.mark.parametrize("version", [-1, "x", 1.5])
def test_versions_are_numbers(detector, tmp_path, version):
    with pytest.raises(ValueError, match="`version` must be an int of at least 0"):
        export.to_saved_model(detector, tmp_path / "m", version=version)
