"""What the tables about learning are made with runs; and no example is without a test."""

import io
import pathlib
import runpy
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_detblocks import data

HERE = pathlib.Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
# Tests of accidents, resuming and workers kill and resume within one process, for seconds; openvino
# is none of the tests' packages; part_latency exports and times what tests of both do; the trials
# are those of compare_learning.
LEFT_OUT = {"kill_and_resume", "kill_a_worker", "openvino_onnx", "part_latency", "learning_trials"}


@pytest.fixture(autouse=True)
def examples_are_found(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_every_example_has_a_test():
    tests = "".join(path.read_text() for path in HERE.parent.rglob("test_*.py"))
    names = {path.stem for path in EXAMPLES.rglob("*.py")}
    assert LEFT_OUT <= names
    assert not {name for name in names - LEFT_OUT if name not in tests}


def run(name, *words):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]([str(word) for word in words])


@pytest.fixture
def wheels(tmp_path):
    """Files of the names and forms that the two packages bring."""

    def png(pixels):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    rng, patches = np.random.default_rng(0), io.BytesIO()
    mask = np.zeros((200, 400), "uint16")
    for number in range(1, 61):
        y, x = divmod(number - 1, 15)
        mask[45 * y + 5 : 45 * y + 30, 26 * x + 3 : 26 * x + 23] = number
    np.save(patches, rng.uniform(0, 1, (200, 25, 25)))
    with zipfile.ZipFile(tmp_path / "stardist-1-any.whl", "w") as wheel:
        wheel.writestr("stardist/data/images/img2d.tif", png((mask > 0) * np.uint8(200)))
        wheel.writestr("stardist/data/images/mask2d.tif", png(mask))
    with zipfile.ZipFile(tmp_path / "scikit_image-1-any.whl", "w") as wheel:
        wheel.writestr("skimage/data/lfw_subset.npy", patches.getvalue())
        for name in photographs():
            pixels = rng.integers(0, 255, (200, 300, 3)).astype("uint8")
            wheel.writestr(f"skimage/data/{name}", png(pixels))
    return tmp_path


def photographs():
    by_split = runpy.run_path(str(EXAMPLES / "small_sets.py"))["PHOTOGRAPHS"]
    return [name for names in by_split.values() for name in names]


def test_small_sets(wheels):
    run("small_sets", "--wheels", wheels, "--out", wheels / "sets")
    sets = {name: data.load(wheels / "sets" / name, "train") for name in ("nuclei", "faces")}
    assert [len(each) for each in sets.values()] == [20, 40]
    assert [each.class_names for each in sets.values()] == [("nucleus",), ("face",)]
    for record in sets["nuclei"].records:
        pixels = np.asarray(Image.open(record.path))
        assert pixels.shape == (128, 128, 3)
        for x0, y0, x1, y1 in record.boxes.astype(int):  # around bright pixels, and no others
            assert (pixels[y0:y1, x0:x1] == 255).all() and min(x1 - x0, y1 - y0) >= 5
    assert all(1 <= len(record.boxes) <= 4 for record in sets["faces"].records)
    with pytest.raises(SystemExit, match="Expected one stardist-.*found 0"):
        run("small_sets", "--wheels", wheels / "sets", "--out", wheels / "other")


@pytest.mark.slow
def test_finetune_rates(tmp_path, eager):
    digits = data.write_digits(tmp_path / "digits", train_images=16, val_images=4)
    words = ["--out", tmp_path, "--size", 64, "--images", 16, "--steps", 1, "--settings", 1]
    (row,) = run("finetune_rates", digits, *words)
    assert row[:4] == ["digits", "weights", "adamw", 0.001] and 0 <= row[4] <= 1
    assert run("finetune_rates", digits, *words) == [row]  # what is there is not repeated


@pytest.mark.slow
def test_detector_step_takes_turns(monkeypatch, capsys, eager):
    monkeypatch.syspath_prepend(str(EXAMPLES / "benchmarks"))
    words = ["--size", 64, "--batch", 2, "--turns", 1, "--steps", 1]
    medians = run("benchmarks/detector_step", *words)
    assert len(medians) == 5 and min(medians.values()) > 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("2 pictures of 64x64") and rows[0].endswith("ms  1.00")


def test_step_overhead_takes_ratios_and_their_interval(capsys):
    """Without the run, which is what `train` does."""
    script = runpy.run_path(str(EXAMPLES / "benchmarks" / "step_overhead.py"))
    assert script["counted"](60, 1)[:6] == [21, 22, 23, 24, 26, 27]  # saved at 25, warm from 20 on
    turns = script["Turns"](None, script["argparse"].Namespace(steps=60, block=1))
    turns.taken = [((0.012 + i / 1e4, 0.02), (0.010, 0.01), (0.011, 0.02)) for i in range(21)]
    script["report"](turns.ratios(), [(5, 700.0)])
    bare, both, _, piped, *_, memory = capsys.readouterr().out.splitlines()
    assert bare.startswith("train_on_batch: 10.00 ms") and piped.split(": ")[1][:5] == "11.00"
    assert both.startswith("  1.300 of its time (95 %: 1.2") and "; 21 turns)" in both
    assert memory == "MB after each checkpoint: 5: 700"
