"""`detblocks train --freeze`: what the run is built with, first and second stage."""

import os
import signal

import numpy as np
import pytest
from toy import tiny_detector

import keras_detblocks as kdb
from keras_detblocks import training
from keras_detblocks.cli import main
from keras_detblocks.training import callbacks, state
from keras_detblocks.weights import load_keras_file


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


@pytest.mark.slow
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


def values(variables):
    return {variable.path: np.asarray(variable) for variable in variables}


def assert_same(ours, theirs):
    for path, value in ours.items():
        np.testing.assert_array_equal(value, theirs[path], err_msg=path)


@pytest.mark.slow
def test_a_frozen_run_that_is_stopped_and_resumed(folder, tmp_path, monkeypatch):
    """What is frozen stays as it was to the end, statistics included, and the optimizer goes on
    with its states."""
    out, begun = tmp_path / "run", []
    begin, end = callbacks.Budget.on_train_begin, callbacks.Budget.on_train_batch_end

    def at_begin(self, logs=None):
        begun.append((values(self.model.backbone.weights), values(self.model.optimizer.variables)))
        begin(self, logs)

    def at_end(self, batch, logs=None):
        end(self, batch, logs)
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(callbacks.Budget, "on_train_begin", at_begin)
    monkeypatch.setattr(callbacks.Budget, "on_train_batch_end", at_end)
    run = ["train", str(folder), "--out", str(out), "--no-report"]
    tiny_detector((96, 96, 3)).save(tmp_path / "toy.keras")  # half of the default's time to trace
    parts = ["--start", str(tmp_path / "toy.keras"), "--freeze", "backbone", "--optimizer", "adamw"]
    assert main([*run, *parts, "--epochs", "3", "--batch", "4"]) == 128 + signal.SIGTERM
    file, progress, _ = state.RunCheckpoint(out / "checkpoint").newest()
    stopped = load_keras_file(file)
    states = values(stopped.optimizer.variables)
    assert progress["step"] == 3 and not stopped.backbone.trainable_weights

    assert main([*run, "--resume"]) == 0
    assert_same(states, begun[1][1])
    assert any(np.any(value) for path, value in states.items() if "momentum" in path)
    finished = load_keras_file(out / "detector.keras")
    assert not finished.backbone.trainable_weights and finished.head.trainable_weights
    for detector in (stopped, finished):
        assert_same(begun[0][0], values(detector.backbone.weights))
    head = values(stopped.head.weights)
    assert any(
        not np.array_equal(head[path], v) for path, v in values(finished.head.weights).items()
    )
