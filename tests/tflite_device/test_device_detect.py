"""`tflite/detect.py`, run as a user runs it, in processes that must not import Keras, TensorFlow or
the package."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from export_models import pictures
from PIL import Image

from keras_detblocks import data, export

SCRIPT = pathlib.Path(__file__).parent.parent.parent / "tflite" / "detect.py"
ALONE = """
import sys
class Ban:
    def find_spec(self, name, path=None, target=None):
        banned = ("keras", "tensorflow", "keras_detblocks", "matplotlib", "cv2")
        if name.partition(".")[0] in banned:
            raise ImportError("not on a device: " + name)
sys.meta_path.insert(0, Ban())
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("detect", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(tmp_path_factory, small_files):
    folder = tmp_path_factory.mktemp("device")
    detector = keras.models.load_model(small_files / "detector.keras")
    shutil.copyfile(small_files / "detector.tflite", folder / "m.tflite")
    image = pictures(1, (80, 64), seed=3)[0].astype("uint8")
    turned = Image.fromarray(image)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif, quality=95)
    return folder, detector


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", ALONE, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parent,
    )


@pytest.mark.slow
def test_it_finds_what_keras_finds_and_needs_nothing_else(files, tmp_path):
    folder, detector = files
    done = run(
        folder / "turned.jpg", "--model", folder / "m.tflite", "--out", tmp_path, "--score", "0.3"
    )
    assert done.returncode == 0, done.stderr
    found = detector.detect(str(folder / "turned.jpg"), score_threshold=0.3)
    lines = done.stdout.strip().splitlines()
    assert len(lines) - 1 == len(found["scores"]) > 0
    for line, name, score, box in zip(
        lines[1:], found["class_names"], found["scores"], found["boxes"]
    ):
        words = line.replace("[", "").replace("]", "").replace(",", "").split()
        assert words[0] == name and abs(float(words[1]) - score) < 0.02
        np.testing.assert_allclose([float(word) for word in words[2:]], box, atol=1.0)
    with Image.open(tmp_path / "turned.png") as drawn:
        assert drawn.size == (80, 64)  # upright


@pytest.mark.slow
def test_mistakes_are_one_line_and_not_zero(files, tmp_path):
    folder, _ = files
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "other.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\x00" * 64)
    flipped = bytearray((folder / "m.tflite").read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "flipped.tflite").write_bytes(flipped)
    model, picture = folder / "m.tflite", folder / "turned.jpg"
    for arguments, message in (
        ((tmp_path / "text.jpg", "--model", model, "--out", tmp_path), "not a picture"),
        ((tmp_path / "none.jpg", "--model", model, "--out", tmp_path), "no picture"),
        (
            (picture, "--model", tmp_path / "other.tflite", "--out", tmp_path),
            "not a detector exported by keras_detblocks",
        ),
        ((picture, "--model", tmp_path / "flipped.tflite", "--out", tmp_path), "is damaged"),
        ((picture, "--model", tmp_path / "none.tflite", "--out", tmp_path), "no model file"),
        ((picture, "--model", model, "--out", tmp_path / "text.jpg"), "cannot write to the folder"),
    ):
        done = run(*arguments)
        assert (
            done.returncode == 2
            and message in done.stderr
            and len(done.stderr.strip().splitlines()) == 1
        ), done.stderr
    done = run(tmp_path / "text.jpg", picture, "--model", model, "--out", tmp_path)
    assert (
        done.returncode == 2
        and "not a picture" in done.stderr
        and (tmp_path / "turned.png").is_file()
    )


@pytest.mark.parametrize("size", [(64, 96), (33, 70), (200, 100), (1, 90)])
def test_pictures_are_fitted_as_in_training(script, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    canvas, factors = script.letterbox(Image.fromarray(image), (64, 96), 114)
    expected, box = data.letterbox(image, (64, 96))
    np.testing.assert_array_equal(canvas, expected)
    np.testing.assert_allclose(factors, box.scale, rtol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "I;16", "1"])
def test_pictures_are_read_as_in_training(script, tmp_path, mode):
    rng = np.random.default_rng(0)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, (9, 7), "uint16"))
    else:
        image = Image.fromarray(rng.integers(0, 256, (9, 7, 4), "uint8"), "RGBA")
        image = (
            image
            if mode == "RGBA"
            else image.convert("LA" if mode == "LA" else "RGB").convert(mode)
        )
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    image.save(path)
    np.testing.assert_array_equal(np.asarray(script.read_picture(path)), data.read_image(path))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"postprocess": False}, {"outputs": "pixels"}], ids=str)
def test_other_forms_of_a_file_are_read(script, files, tmp_path, options):
    folder, detector = files
    export.to_tflite(detector, tmp_path / "m.tflite", **options)
    with Image.open(folder / "turned.jpg") as picture:
        want = detector.detect(picture, 0.3)
        found, _ = script.Detector(tmp_path / "m.tflite").detect(
            script.read_picture(folder / "turned.jpg"), 0.3
        )
    assert [name for name, *_ in found] == want["class_names"] and found
    np.testing.assert_allclose([each[2] for each in found], want["scores"], atol=1e-4)
    np.testing.assert_allclose([each[3] for each in found], want["boxes"], atol=0.01)


def test_stretched_pictures_fill_the_input(script):
    image = np.random.default_rng(0).integers(0, 256, (33, 70, 3), "uint8")
    canvas, factors = script.letterbox(Image.fromarray(image), (64, 96), 114, stretch=True)
    expected, fitted = data.letterbox(image, (64, 96), "stretch")
    np.testing.assert_array_equal(canvas, expected)
    np.testing.assert_allclose(factors, fitted.scale, rtol=1e-6)
