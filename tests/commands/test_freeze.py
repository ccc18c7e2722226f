"""`detblocks train --freeze`: what the run is built with, first and second stage."""

import numpy as np
import pytest

import keras_detblocks as kdb
from keras_detblocks import training
from keras_detblocks.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits") / "digits"
    return kdb.data.write_digits(out, train_images=8, val_images=2, image_size=96)


def built(folder, tmp_path, monkeypatch, *options):
    """The detector that a run would train, and the settings that a resumed run must have."""
    runs = []
    monkeypatch.setattr(
        training, "train", lambda build, *_, **given: (runs.append((build(), given)), {})
    )
    shared = ["--no-report", "--size", "96x96", "--levels", "3-4", "--filters", "16"]
    assert main(["train", str(folder), "--out", str(tmp_path / "run"), *options, *shared]) == 0
    detector, given = runs[0]
    return detector, given["settings"]


def test_frozen_parts_and_the_second_stage(folder, tmp_path, monkeypatch):
    first, settings = built(folder, tmp_path, monkeypatch, "--freeze", "backbone,batch_norm")
    assert settings["freeze"] == ["backbone", "batch_norm"]
    assert not first.backbone.trainable_weights and first.neck and first.trainable_weights
    assert all(
        len(weight.shape) != 1 or "norm" not in weight.path for weight in first.trainable_weights
    )

    first.save(tmp_path / "first.keras")
    start = ["train", str(folder), "--out", str(tmp_path / "second")]
    runs = []
    monkeypatch.setattr(training, "train", lambda build, *_, **__: (runs.append(build()), {}))
    assert main([*start, "--no-report", "--start", str(tmp_path / "first.keras")]) == 0
    (second,) = runs
    assert len(second.trainable_weights) == len(second.weights) - sum(
        weight.path.rpartition("/")[2].startswith("moving_") for weight in second.weights
    )
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


def test_an_unknown_part_is_refused(folder, tmp_path, capsys):
    assert main(["train", str(folder), "--out", str(tmp_path / "run"), "--freeze", "spine"]) == 2
    assert "Unknown part 'spine'" in capsys.readouterr().err and not (tmp_path / "run").exists()
