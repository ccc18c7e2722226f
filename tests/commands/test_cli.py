"""The command line: the demo in a one-minute form, the verbs on what it wrote, and one line for
every mistake."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_detblocks.cli import main
from keras_detblocks.detection.build import build_detector
from keras_detblocks.export import open_exported

DEMO = [
    "demo",
    "--minutes",
    "0.2",
    "--train-images",
    "64",
    "--val-images",
    "12",
    "--size",
    "96",
    "--filters",
    "16",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of a finished demo, made by the command line in a process of its own, and what it
    printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    root = pathlib.Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "keras_detblocks", *DEMO, "--out", str(out)],
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return out, run.stdout


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
def test_a_second_demo_reuses_everything(demo, capsys):
    out, _ = demo
    before = (
        (out / "run" / "detector.keras").stat().st_mtime_ns,
        (out / "export" / "detector.onnx").stat().st_mtime_ns,
    )
    assert main([*DEMO, "--out", str(out)]) == 0
    assert before == (
        (out / "run" / "detector.keras").stat().st_mtime_ns,
        (out / "export" / "detector.onnx").stat().st_mtime_ns,
    )
    assert main([*DEMO, "--out", str(out), "--neck", "panet"]) == 2
    assert "other settings; --fresh starts over" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_and_predict_take_keras_and_exported_files(demo, tmp_path, capsys):
    out, _ = demo
    for model in ("run/detector.keras", "export/detector.tflite"):
        assert main(["evaluate", str(out / model), str(out / "data"), "--split", "val"]) == 0
        assert "AP50" in capsys.readouterr().out
        picture = next((out / "data" / "val").glob("*.png"))
        target = tmp_path / model.replace("/", "-")
        assert (
            main(
                ["predict", str(out / model), str(picture), "--out", str(target), "--score", "0.01"]
            )
            == 0
        )
        assert (target / picture.name).is_file() and str(picture) in json.loads(
            (target / "detections.json").read_text()
        )


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
    assert (
        main(["predict", model, str(beside), "--out", str(beside.parent)]) == 0
    )  # the picture itself stays
    assert beside.read_bytes() == picture.read_bytes() and (beside.parent / "a-2.png").is_file()


@pytest.mark.slow
def test_train_and_export_are_the_same_verbs_on_any_folder(demo, tmp_path, capsys):
    data, run = demo[0] / "data", tmp_path / "run"
    options = [
        "--epochs",
        "0.5",
        "--batch",
        "8",
        "--size",
        "64x96",
        "--levels",
        "3-4",
        "--filters",
        "16",
        "--augment",
        "color",
    ]
    assert main(["train", str(data), "--out", str(run), *options]) == 0
    assert "12 images" in capsys.readouterr().out and (run / "detector.keras").is_file()
    assert (
        main(
            [
                "export",
                str(run / "detector.keras"),
                "--out",
                str(tmp_path / "x"),
                "--formats",
                "tflite",
            ]
        )
        == 0
    )
    assert (tmp_path / "x" / "detector.tflite").is_file()


@pytest.mark.parametrize(
    "option", [["--context", "rbf"], ["--neck", "fnp"], ["--backbone", "regnety9"]]
)
def test_unknown_parts_are_refused_before_anything_is_written(option, tmp_path, capsys):
    assert main([*DEMO, *option, "--out", str(tmp_path / "out")]) == 2
    assert "Did you mean" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_cannot_be_exported_and_what_can_be_set(demo, tmp_path, capsys):
    assert (
        main(["export", str(demo[0] / "export" / "detector.onnx"), "--out", str(tmp_path / "x")])
        == 2
    )
    assert "an export already" in capsys.readouterr().err and not (tmp_path / "x").exists()
    options = [
        "--formats",
        "tflite",
        "--max-detections",
        "7",
        "--score-threshold",
        "0.2",
        "--class-agnostic",
    ]
    assert main(["export", str(demo[0] / "run"), "--out", str(tmp_path / "x"), *options]) == 0
    with open_exported(tmp_path / "x" / "detector.tflite") as model:
        assert model.predict(np.zeros((1, 96, 96, 3), "float32"))["scores"].shape == (1, 7)


@pytest.mark.slow
def test_predict_takes_folders(demo, tmp_path, capsys):
    model = str(demo[0] / "export" / "detector.tflite")
    assert (
        main(["predict", model, str(demo[0] / "data" / "val"), "--out", str(tmp_path / "found")])
        == 0
    )
    assert len(json.loads((tmp_path / "found" / "detections.json").read_text())) == 12
    (tmp_path / "empty").mkdir()
    assert main(["predict", model, str(tmp_path / "empty"), "--out", str(tmp_path / "x")]) == 2
    assert "expected pictures in this folder" in capsys.readouterr().err


@pytest.mark.slow
def test_validation_on_training_pictures_is_told(demo, tmp_path, capsys):
    data = str(demo[0] / "data")
    options = [
        "--epochs",
        "0.01",
        "--batch",
        "8",
        "--size",
        "64",
        "--levels",
        "3-4",
        "--filters",
        "16",
    ]
    assert (
        main(["train", data, "--out", str(tmp_path / "a"), "--train-split", "train+val", *options])
        == 0
    )
    assert "No validation split" in capsys.readouterr().out
    assert (
        main(
            [
                "train",
                data,
                "--out",
                str(tmp_path / "b"),
                "--val-split",
                "train",
                "--train-split",
                "train",
                *options,
            ]
        )
        == 0
    )
    assert "Warning: 64 of the 64 pictures" in capsys.readouterr().out


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


@pytest.mark.slow
def test_training_starts_from_a_detector(demo, tmp_path, capsys):
    data, start = demo[0] / "data", demo[0] / "run" / "detector.keras"
    options = [
        "--out",
        str(tmp_path / "run"),
        "--epochs",
        "0.1",
        "--batch",
        "8",
        "--learning-rate",
        "1e-7",
        "--ema",
        "0",
    ]
    assert main(["train", str(data), "--start", str(start), *options]) == 0
    before, after = (
        keras.models.load_model(start),
        keras.models.load_model(tmp_path / "run" / "detector.keras"),
    )
    for old, new in zip(before.trainable_weights, after.trainable_weights):
        np.testing.assert_allclose(old, new, atol=1e-4)
    assert (
        main(
            [
                "train",
                str(data),
                "--start",
                str(start),
                "--neck",
                "bifpn",
                "--out",
                str(tmp_path / "x"),
            ]
        )
        == 2
    )
    assert "leave out --neck" in capsys.readouterr().err and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "nowhere", "--out", "x"], "nowhere"),
        (["evaluate", "nowhere.keras", "data"], "No such model: nowhere.keras"),
        (["predict", "nowhere.keras", "a.png", "--out", "x"], "No such model"),
        (["summary", "regnety8"], "Did you mean 'RegNetY"),
        (["summary", "RegNetY008", "--size", "16"], "Input size must be at least 32x32"),
        (
            ["summary", "RegNetY008", "--levels", "3-6"],
            "`levels` must be distinct ones of (1, 2, 3, 4, 5)",
        ),
        (["summary", "compact", "--levels", "3-6"], "levels 2 to 5"),
        (["check", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert (
        message in err[-1]
        and err[-1].startswith(f"detblocks {arguments[0]}: ")
        and "Traceback" not in " ".join(err)
    )
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_model_of_ours(tmp_path, capsys):
    (tmp_path / "noise.keras").write_bytes(b"not a zip file")
    assert (
        main(["predict", str(tmp_path / "noise.keras"), "a.png", "--out", str(tmp_path / "x")]) == 2
    )
    assert "is not a model of keras_detblocks" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--size", "big"], ["--levels", "5-3"], ["--augment", "blur"]])
def test_bad_options_are_refused_by_the_parser(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "data", "--out", "x", *option])
    assert stop.value.code == 2 and "expected" in capsys.readouterr().err.replace(
        "invalid choice", "expected"
    )


def test_models_prints_the_table(capsys):
    assert main(["models", "--filter", "RegNetY008"]) == 0
    printed = capsys.readouterr().out
    assert "6.26M" in printed and "timm/regnety_008.pycls_in1k" in printed and "MIT" in printed


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
    assert main([*DEMO, "--out", str(tmp_path), "--fresh"]) == 2
    assert (
        "files that are not the demo's" in capsys.readouterr().err
        and (tmp_path / "thesis.txt").is_file()
    )
