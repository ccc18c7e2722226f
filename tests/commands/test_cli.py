"""The command line: the demo in its smallest form, the verbs on what it wrote, and one line for
every mistake."""

import contextlib
import io
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import eagerly
from PIL import Image

import keras_detblocks
from keras_detblocks import data, training
from keras_detblocks.cli import main
from keras_detblocks.detection.build import build_detector
from keras_detblocks.detection.start import start_weights
from keras_detblocks.export import open_exported

DEMO = "demo --minutes 0.01 --train-images 32 --val-images 6 --size 96 --filters 16"
SMALL = "--batch 8 --size 64x96 --levels 3-4 --filters 16 --optimizer adamw"


def detblocks(words, *more):
    """The exit code of a command line: words with spaces between, then paths and the like."""
    return main([*words.split(), *map(str, more)])


@pytest.fixture(scope="module")
def demo(made_once):
    """The folder of a finished demo and what it printed."""

    def make(folder):
        with eagerly(), contextlib.redirect_stdout(io.StringIO()) as printed:
            assert detblocks(DEMO, "--out", folder / "out") == 0
        (folder / "printed.txt").write_text(printed.getvalue())

    folder = made_once("demo", make)
    return folder / "out", (folder / "printed.txt").read_text()


@pytest.mark.slow
def test_demo_prints_one_row_per_format_and_keeps_its_files(demo):
    out, printed = demo
    rows = {row["format"]: row for row in json.loads((out / "results.json").read_text())}
    assert list(rows) == ["keras", "saved_model", "onnx", "tflite", "tflite-fp16", "tflite-int8"]
    assert all(name in printed for name in rows)
    for row in rows.values():
        assert 0 <= row["AP"] <= row["AP50"] <= 1 and row["kB"] > 0 and row["ms"] > 0
    assert rows["tflite-int8"]["kB"] < rows["tflite-fp16"]["kB"] < rows["tflite"]["kB"]
    for name in ("saved_model", "onnx", "tflite"):
        assert abs(rows[name]["AP"] - rows["keras"]["AP"]) <= 0.002
    for file in (
        "predictions.png",
        "run/learning_curve.png",
        "run/detector.keras",
        "data/annotations/instances_val.json",
    ):
        assert (out / file).is_file()


@pytest.mark.slow
def test_a_second_demo_reuses_everything(demo, monkeypatch, capsys):
    out, _ = demo
    rows = json.loads((out / "results.json").read_text())
    monkeypatch.setattr("keras_detblocks.commands.demo.compare_formats", lambda *_: rows)
    files = [out / "run" / "detector.keras", out / "export" / "detector.onnx"]
    before = [file.stat().st_mtime_ns for file in files]
    assert detblocks(DEMO, "--out", out) == 0
    assert before == [file.stat().st_mtime_ns for file in files]
    assert detblocks(f"{DEMO} --neck panet", "--out", out) == 2
    assert "other settings; --fresh starts over" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_and_predict_take_keras_and_exported_files(demo, tmp_path, capsys):
    out, _ = demo
    picture = next((out / "data" / "val").glob("*.png"))
    for model in ("run/detector.keras", "export/detector.tflite"):
        assert detblocks("evaluate --split val", out / model, out / "data") == 0
        assert "AP50" in capsys.readouterr().out
        target = tmp_path / model.replace("/", "-")
        assert detblocks("predict --score 0.01", out / model, picture, "--out", target) == 0
        found = json.loads((target / "detections.json").read_text())
        assert (target / picture.name).is_file() and str(picture) in found


@pytest.mark.slow
def test_predict_skips_what_it_cannot_read_and_does_the_others(demo, tmp_path, capsys):
    out, _ = demo
    noise, picture = tmp_path / "noise.png", next((out / "data" / "val").glob("*.png"))
    noise.write_bytes(b"not a picture")
    beside = tmp_path / "beside" / "a.png"
    beside.parent.mkdir()
    beside.write_bytes(picture.read_bytes())
    model = str(out / "export" / "detector.tflite")
    assert main(["predict", model, str(noise), str(picture), "--out", str(tmp_path / "found")]) == 2
    assert (tmp_path / "found" / picture.name).is_file()
    assert list(json.loads((tmp_path / "found" / "detections.json").read_text())) == [str(picture)]
    error = capsys.readouterr().err
    assert f"{noise}: skipped" in error and "1 of 2 pictures could not be read" in error
    # The picture itself stays.
    assert main(["predict", model, str(beside), "--out", str(beside.parent)]) == 0
    assert beside.read_bytes() == picture.read_bytes() and (beside.parent / "a-2.png").is_file()


@pytest.mark.slow
def test_train_and_export_are_the_same_verbs_on_any_folder(demo, tmp_path, capsys, eager):
    data, run = demo[0] / "data", tmp_path / "run"
    assert detblocks(f"train --epochs 0.5 --augment color {SMALL}", data, "--out", run) == 0
    assert "6 images" in capsys.readouterr().out and (run / "detector.keras").is_file()
    exported = tmp_path / "x"
    assert detblocks("export --formats tflite", run / "detector.keras", "--out", exported) == 0
    assert (exported / "detector.tflite").is_file() and (exported / "detect.py").is_file()


@pytest.mark.parametrize("option", ["--context rbf", "--neck fnp", "--backbone regnety9"])
def test_unknown_parts_are_refused_before_anything_is_written(option, tmp_path, capsys):
    assert detblocks(f"{DEMO} {option}", "--out", tmp_path / "out") == 2
    assert "Did you mean" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_demo_too_small_for_its_digits_is_refused_before_anything_is_written(tmp_path, capsys):
    assert detblocks("demo --size 64", "--out", tmp_path / "out") == 2
    assert "--size must be an int of at least 96" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_cannot_be_exported_and_what_can_be_set(demo, tmp_path, capsys):
    out = tmp_path / "x"
    assert detblocks("export", demo[0] / "export" / "detector.onnx", "--out", out) == 2
    assert "an export already" in capsys.readouterr().err and not out.exists()
    options = "--formats tflite --max-detections 7 --score-threshold 0.2 --class-agnostic"
    assert detblocks(f"export {options}", demo[0] / "run", "--out", out) == 0
    with open_exported(out / "detector.tflite") as model:
        assert model.predict(np.zeros((1, 96, 96, 3), "float32"))["scores"].shape == (1, 7)


@pytest.mark.slow
def test_predict_takes_folders(demo, tmp_path, capsys):
    model, found = demo[0] / "export" / "detector.tflite", tmp_path / "found"
    assert detblocks("predict", model, demo[0] / "data" / "val", "--out", found) == 0
    assert len(json.loads((found / "detections.json").read_text())) == 6
    (tmp_path / "empty").mkdir()
    assert detblocks("predict", model, tmp_path / "empty", "--out", tmp_path / "x") == 2
    assert "expected pictures in this folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "splits, told",
    [
        ("--train-split train", "No validation split"),
        ("--val-split train --train-split train", "Warning: 24 of the 24 pictures"),
    ],
)
def test_validation_on_training_pictures_is_told(
    rectangles, tmp_path, capsys, monkeypatch, splits, told
):
    """Before the run begins, which is all that is left out here."""

    def no_run(*_, **__):
        raise ValueError("no run")

    monkeypatch.setattr(training, "train", no_run)
    options = f"train {splits} --epochs 1 {SMALL}"
    assert detblocks(options, rectangles, "--out", tmp_path / "a") == 2
    said = capsys.readouterr()
    assert told in said.out and "no run" in said.err


def test_pictures_of_a_coco_file_elsewhere(tmp_path, capsys):
    (tmp_path / "far").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "far" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 32}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 8, 8], "area": 64, "iscrowd": 0}
    (tmp_path / "labels.json").write_text(json.dumps({**content, "annotations": [box]}))
    assert main(["check", str(tmp_path / "labels.json")]) == 2
    assert "--images FOLDER" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "labels.json"), "--images", str(tmp_path / "far")]) == 0
    assert "1 images" in capsys.readouterr().out


def test_training_says_which_weights_it_starts_from(monkeypatch, tmp_path, capsys):
    folder, weights = data.write_digits(tmp_path / "digits", 1, 1, 96), tmp_path / "bb.keras"
    weights.touch()
    given, small = [], build_detector([*"0123456789"], (64, 64), filters=8)
    monkeypatch.setattr(
        "keras_detblocks.detection.build.build_detector", lambda *_, **k: given.append(k) or small
    )
    monkeypatch.setattr(training, "train", lambda build, *_, **__: (build(), {}))
    options = ["--out", str(tmp_path / "run"), "--size", "64", "--no-report", "--weights", weights]
    assert detblocks(f"train {folder} --backbone RegNetY002", *options) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Starts")]
    assert said == [f"Starts from the backbone's pretrained weights: {weights}."]
    assert given[0]["weights"] == str(weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said", "same"),
    [
        ([], "backbone, neck, head (--start none", True),
        (["--neck", "panet"], "pictures: backbone (--start none", True),
        (["--backbone", "regnety002"], "Starts from scratch", False),
        (["--start", "none"], "", False),
    ],
)
def test_training_starts_from_the_shipped_weights(
    arguments, said, same, monkeypatch, tmp_path, capsys
):
    """And says so in one line."""
    folder, built = data.write_digits(tmp_path / "digits", 1, 1, 96), []
    monkeypatch.setattr(
        training, "train", lambda build, *_, **__: (built.append(build()), {"losses": [], "ap": []})
    )
    options = ["--out", str(tmp_path / "run"), "--size", "64", "--no-report"]
    assert main(["train", str(folder), *options, *arguments]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Starts")]
    assert len(lines) == (1 if said else 0) and said in "".join(lines)
    (detector,) = built
    other = build_detector(detector.class_names, (64, 64))
    start_weights(other)
    gammas = [
        next(v.numpy() for v in each.weights if v.path == "stem_bn/gamma")
        for each in (detector, other)
    ]
    shapes = gammas[0].shape == gammas[1].shape
    assert (shapes and np.array_equal(*gammas)) == same


@pytest.mark.parametrize(
    ("arguments", "optimizer", "rate"),
    [
        ([], "muon", None),
        (["--weights", __file__], "adamw", 4e-3),
        (["--weights", __file__, "--optimizer", "muon"], "muon", None),
        (["--weights", __file__, "--learning-rate", "0.01"], "adamw", 0.01),
        (["--optimizer", "adamw"], "adamw", None),
    ],
)
def test_pretrained_weights_take_smaller_steps(arguments, optimizer, rate, monkeypatch, tmp_path):
    folder, asked = data.write_digits(tmp_path / "digits", 1, 1, 96), []
    monkeypatch.setattr(
        training, "train", lambda *_, **how: (asked.append(how), {"losses": [], "ap": []})
    )
    options = ["--out", str(tmp_path / "run"), "--size", "64", "--no-report"]
    assert main(["train", str(folder), *options, "--backbone", "regnety002", *arguments]) == 0
    assert (asked[0]["optimizer"], asked[0]["learning_rate"]) == (optimizer, rate)


def test_a_recipe_names_the_parts_that_are_not_given(monkeypatch, tmp_path, capsys):
    folder, built = data.write_digits(tmp_path / "digits", 1, 1, 96), []
    monkeypatch.setattr(
        training, "train", lambda build, *_, **__: (built.append(build()), {"losses": [], "ap": []})
    )
    options = [str(folder), "--out", str(tmp_path / "run"), "--size", "64", "--start", "none"]
    options.append("--no-report")
    assert main(["train", *options, "--recipe", "asff-like-s", "--filters", "16"]) == 0
    (detector,) = built
    assert detector.get_layer("asff") and detector.image_size == (64, 64)
    assert detector.head.classifier.kernel.shape[2] == 16
    assert main(["train", *options, "--recipe", "asff"]) == 2
    assert "asff-like-s" in capsys.readouterr().err


@pytest.mark.slow
def test_training_starts_from_a_detector(demo, tmp_path, capsys, eager):
    data, start, run = demo[0] / "data", demo[0] / "run" / "detector.keras", tmp_path / "run"
    options = "train --epochs 0.1 --batch 8 --optimizer adamw --learning-rate 1e-7 --ema 0"
    assert detblocks(options, data, "--start", start, "--out", run) == 0
    before, after = map(keras.models.load_model, (start, run / "detector.keras"))
    for old, new in zip(before.trainable_weights, after.trainable_weights):
        np.testing.assert_allclose(old, new, atol=1e-4)
    out = tmp_path / "x"
    assert detblocks("train --neck bifpn", data, "--start", start, "--out", out) == 2
    assert "leave out --neck" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("train nowhere --out x", "nowhere"),
        ("evaluate nowhere.keras data", "No such model: nowhere.keras"),
        ("predict nowhere.keras a.png --out x", "No such model"),
        ("summary regnety8", "Did you mean 'RegNetY"),
        ("summary regnety8", "`detblocks models` names all of them"),
        ("summary RegNetY008 --size 16", "Input size must be at least 32x32"),
        ("summary RegNetY008 --levels 3-6", "--levels must be distinct ones of (1, 2, 3, 4, 5)"),
        ("summary compact --levels 3-6", "levels 2 to 5"),
        ("check nowhere", "nowhere"),
        ("demo --train-images 0 --out x", "--train-images must be an int of at least 1"),
        ("design sample RegNetX -n -1", "-n must be an int of at least 0"),
        ("design sample RegNetX --image-size 0", "--image-size must be an int of at least 1"),
        ("design sample regnety9", "Unknown space 'regnety9'. Did you mean 'RegNetY"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert detblocks(arguments) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert message in err[-1] and err[-1].startswith(f"detblocks {arguments.split()[0]}: ")
    assert "Traceback" not in " ".join(err)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_model_of_ours(tmp_path, capsys):
    (tmp_path / "noise.keras").write_bytes(b"not a zip file")
    assert detblocks("predict", tmp_path / "noise.keras", "a.png", "--out", tmp_path / "x") == 2
    assert "noise.keras is damaged, or not a model" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--size", "big"], ["--levels", "5-3"], ["--augment", "blur"]])
def test_bad_options_are_refused_by_the_parser(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "data", "--out", "x", *option])
    assert stop.value.code == 2 and "expected" in capsys.readouterr().err.replace(
        "invalid choice", "expected"
    )


def test_the_package_is_a_program(monkeypatch, capsys):
    """As `python -m keras_detblocks` runs it."""
    monkeypatch.setattr(sys, "argv", ["keras_detblocks", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("keras_detblocks", run_name="__main__", alter_sys=True)
    assert not end.value.code and keras_detblocks.__version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, shown", [(["--help"], "evaluate"), (["--debug", "--version"], "0.")]
)
def test_help_comes_without_waiting_for_keras(options, shown):
    code = (
        f"import atexit, sys; sys.argv = ['bin/detblocks', *{options!r}]\n"
        "atexit.register(lambda: print('keras' in sys.modules))\n"
        "from keras_detblocks.cli import main; main()"
    )
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=root).stdout
    assert shown in printed and printed.endswith("False\n")


def test_so_does_that_of_the_program_by_its_package():
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-X", "importtime", "-m", "keras_detblocks", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stdout == f"{keras_detblocks.__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "keras_detblocks.cli" in imported and "keras" not in imported


def test_models_prints_the_table(capsys):
    assert main(["models", "--filter", "RegNetY008"]) == 0
    printed = capsys.readouterr().out
    assert "6.26M" in printed and "timm/regnety_008.pycls_in1k" in printed and "MIT" in printed


@pytest.mark.parametrize("words", ["models", "--help", "summary RegNetX002"])
def test_a_reader_that_has_gone_is_answered_without_a_word(words, monkeypatch, capfd):
    """Text that is printed at once, by argparse, and by rich."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(words.split()) == 128 + signal.SIGPIPE
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments, parameters, has_classifier",
    [
        (["regnety008"], 6_263_168, True),  # published: tests/published_regnets.py
        (["RegNetX('400MF_tv')", "--size", "64x96"], 5_495_976, True),
        (["RegNetY008", "--levels", "3-5"], 6_263_168 - 769 * 1000, False),
    ],
)
def test_summary_is_of_the_net_in_the_table_or_of_its_pyramid(
    arguments, parameters, has_classifier, capsys
):
    assert main(["summary", *arguments]) == 0
    printed = capsys.readouterr().out
    assert f"Trainable params: {parameters:,} " in printed
    assert ("predictions" in printed) == has_classifier


@pytest.mark.parametrize(
    "options, deepest, absent",
    [([], "s4_b2_out", "s5_"), (["--levels", "3-4"], "s3_b2_out", "s4_")],
)
def test_summary_of_the_compact_backbone_is_a_pyramid(options, deepest, absent, capsys):
    assert main(["summary", "Compact", "--size", "64", *options]) == 0
    printed = capsys.readouterr().out
    assert deepest in printed and absent not in printed and "predictions" not in printed


@pytest.mark.slow
@pytest.mark.parametrize("content", ["{}", "// not JSON"])
def test_fresh_does_not_remove_a_folder_of_somebody_else(content, tmp_path, capsys):
    (tmp_path / "settings.json").write_text(content)
    assert main(["demo", "--out", str(tmp_path), "--fresh"]) == 2
    assert (
        "not the demo's" in capsys.readouterr().err
        and (tmp_path / "settings.json").read_text() == content
    )


def test_weights_of_the_compact_backbone_are_refused():
    with pytest.raises(ValueError, match="compact backbone has no pretrained weights"):
        build_detector(["cat"], (64, 64), levels=(3, 4), weights="imagenet")


@pytest.mark.slow
def test_a_folder_with_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    assert detblocks(f"{DEMO} --fresh", "--out", tmp_path) == 2
    assert (
        "files that are not the demo's" in capsys.readouterr().err
        and (tmp_path / "thesis.txt").is_file()
    )
