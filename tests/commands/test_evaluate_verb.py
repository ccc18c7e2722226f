"""`evaluate`, `compare`, and what they leave for `predict` and `export`: on a detector of random
weights that finds a few things by chance."""

import json
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from toy import toy_batch, toy_detector

from keras_detblocks.cli import main

CLASSES = ["circle", "square", "star"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A CSV table of eight pictures."""
    folder = tmp_path_factory.mktemp("table")
    images, truth = toy_batch(8)
    lines = ["filename,xmin,ymin,xmax,ymax,class"]
    for i, image in enumerate(images):
        Image.fromarray(image.astype("uint8")).save(folder / f"{i}.png")
        for box, label in zip(truth["boxes"][i].tolist(), truth["labels"][i].tolist()):
            if label >= 0:
                lines.append(f"{i}.png,{','.join(map(str, box))},{CLASSES[label]}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A `.keras` file."""
    keras.utils.set_random_seed(0)
    detector = toy_detector()
    kernel, bias = detector.head.classifier.weights
    kernel.assign(np.random.default_rng(0).normal(0, 2, kernel.shape))
    bias.assign(np.full(bias.shape, -2.0))
    path = tmp_path_factory.mktemp("model") / "a.keras"
    detector.save(path)
    return path


@pytest.fixture
def model(saved, tmp_path, monkeypatch, eager):
    """A copy of it; timing it, in a process of its own, is left out."""
    monkeypatch.setattr("keras_detblocks.export.benchmark", lambda *_, **__: 12.5)
    return pathlib.Path(shutil.copy(saved, tmp_path))


@pytest.mark.slow
def test_a_report_stores_the_best_threshold_for_predict_and_export(model, data, tmp_path, capsys):
    before = keras.models.load_model(model)
    assert main(["export", str(model), "--out", str(tmp_path), "--score-threshold", "best"]) == 2
    assert "No evaluation stored a best threshold" in capsys.readouterr().err
    report = ["evaluate", str(model), str(data), "--report", str(tmp_path / "report")]
    assert main([*report, "--no-store"]) == 0
    assert keras.models.load_model(model).best_score_threshold is None
    assert main(report) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    best = metrics["best_threshold"]
    assert f"Report: {tmp_path / 'report' / 'index.html'}" in printed
    assert f"Stored the best score threshold, {best:.2f}, in {model}" in printed
    after = keras.models.load_model(model)
    shown = after.detect(str(data / "1.png"))["scores"]
    assert after.best_score_threshold == best and (shown >= best).all()
    for a, b in zip(before.weights, after.weights):
        np.testing.assert_array_equal(a, b)
    out = tmp_path / "found"
    assert main(["predict", str(model), str(data / "1.png"), "--out", str(out)]) == 0
    (rows,) = json.loads((out / "detections.json").read_text()).values()
    assert len(rows) == len(shown)


def test_pictures_that_the_run_was_trained_on_are_told(data, tmp_path):
    from keras_detblocks import data as kdb_data
    from keras_detblocks.commands.evaluate import trained_on

    dataset, model = kdb_data.load(data), tmp_path / "detector.keras"
    assert trained_on(model, dataset) == []
    paths = [record.path for record in dataset.records]
    (tmp_path / "validation.txt").write_text("".join(f"{p}\n" for p in paths[:3]))
    (note,) = trained_on(model, dataset)
    assert "4 of these 7 pictures were trained on" in note and "names the 3" in note
    assert trained_on(model, dataset.take(3)) == []


@pytest.mark.slow
def test_compare_answers_in_one_line(model, data, tmp_path, capsys):
    other = model.with_name("b.keras")
    detector = keras.models.load_model(model)
    detector.head.classifier.weights[1].assign(np.full(3, -9.0))
    detector.save(other)
    arguments = ["compare", str(model), str(other), "--data", str(data)]
    assert main([*arguments, "--report", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["answer"] in printed and "a.keras" in metrics["answer"]
    assert set(metrics["models"]) == {"a.keras", "b.keras"} and "12.5" in printed
    assert main(["compare", str(model), "--data", str(data)]) == 2
    assert "two models or more" in capsys.readouterr().err
    assert main(["compare", str(model), str(model), "--data", str(data)]) == 2
    assert "twice" in capsys.readouterr().err


@pytest.mark.slow
def test_where_nothing_can_be_measured_the_page_says_so_and_the_code_is_2(
    model, data, tmp_path, capsys
):
    strange = tmp_path / "strange"
    strange.mkdir()
    text = (data / "table.csv").read_text()
    (strange / "table.csv").write_text(re.sub("circle|square|star", "owl", text))
    for i in range(8):
        (strange / f"{i}.png").write_bytes((data / f"{i}.png").read_bytes())
    report = tmp_path / "report"
    assert main(["evaluate", str(model), str(strange), "--report", str(report)]) == 2
    assert "no class in common" in capsys.readouterr().err
    first = re.search('<p class="problem">(.*?)</p>', (report / "index.html").read_text())
    assert "no class in common" in first[1]
    assert json.loads((report / "metrics.json").read_text())["measured"] is False
    copy = tmp_path / "b.keras"
    copy.write_bytes(model.read_bytes())
    assert main(["compare", str(model), str(copy), "--data", str(strange)]) == 2
    assert "no class that the data and all models have" in capsys.readouterr().err
