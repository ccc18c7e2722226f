import json

import keras
import numpy as np
import pytest
from toy import tiny_detector, toy_backbone, toy_batch, toy_detector

import keras_detblocks as kdb
from keras_detblocks import data, training
from keras_detblocks.training import limits, recipe
from keras_detblocks.training.resume import changes

CLASSES = ["circle", "square", "star"]


# What is tested is not the optimizer, and the graph of this one is made in a fifth of the time.
ADAMW = {"optimizer": "adamw", "batch_size": 8}


@pytest.fixture(scope="module")
def dataset(rectangles):
    """24 pictures as files and COCO JSON, read by the real reader."""
    return data.load(rectangles, "train")


def _build():
    return tiny_detector((64, 96, 3), class_names=CLASSES)


@pytest.mark.slow
def test_a_run_leaves_model_history_curve_and_logs(dataset, tmp_path, eager):
    model, history = training.train(
        _build, dataset, dataset, tmp_path, epochs=2, evaluations=2, **ADAMW
    )
    assert [entry["step"] for entry in history["ap"]] == [3, 6]
    assert {"AP", "AP50", "AR_100"} <= set(history["ap"][0])
    assert json.loads((tmp_path / "history.json").read_text()) == history
    assert (tmp_path / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"
    logged = b"".join(file.read_bytes() for file in (tmp_path / "logs").iterdir())
    assert b"validation/AP50" in logged and b"validation/pictures" in logged
    assert not (tmp_path / "checkpoint").exists()
    again = keras.models.load_model(tmp_path / "detector.keras")
    assert (
        training.evaluate_ap(again, dataset).numbers == training.evaluate_ap(model, dataset).numbers
    )
    assert not again.compiled and model.compiled  # the file holds the weights alone
    model.save(tmp_path / "whole.keras")
    assert (tmp_path / "detector.keras").stat().st_size < 0.7 * (
        tmp_path / "whole.keras"
    ).stat().st_size
    with pytest.raises(ValueError, match="holds a finished run"):
        training.train(_build, dataset, None, tmp_path, epochs=1)


@pytest.mark.slow
def test_validation_ap_in_a_plain_fit(dataset, eager):
    detector = _build()
    detector.compile("adamw")
    batches = data.pipeline(dataset, (64, 96), 8, training=True)
    history = detector.fit(
        batches, steps_per_epoch=1, epochs=2, verbose=0, callbacks=[training.ValidationAP(dataset)]
    ).history
    assert len(history["val_AP"]) == 2 and history["val_AP50"][1] >= history["val_AP"][1] >= 0


@pytest.mark.slow
def test_ap_of_a_detector_of_dynamic_size(dataset):
    backbone = toy_backbone((None, None, 3))
    detector = kdb.Detector(backbone, kdb.FPN(8, levels=(3, 4)), class_names=CLASSES)
    with pytest.raises(ValueError, match="needs `image_size="):
        training.evaluate_ap(detector, dataset)
    assert training.evaluate_ap(detector, dataset, image_size=(64, 96)).ap >= 0


@pytest.mark.slow
def test_minutes_are_a_budget_too(dataset, tmp_path, monkeypatch, capsys, eager):
    """Of a run that shows rare classes more often, and says which; the rate is that of 8 images a
    step."""
    shares = []

    def pipeline(*args, repeat_threshold, **kwargs):
        shares.append(repeat_threshold)
        return data.pipeline(*args, repeat_threshold=repeat_threshold, **kwargs)

    monkeypatch.setattr("keras_detblocks.training.fit.pipeline", pipeline)
    options = {"minutes": 0.01, "repeat_threshold": 0.9, **ADAMW}
    _, history = training.train(_build, dataset, None, tmp_path, **options)
    assert history["losses"] and history["losses"][-1]["seconds"] < 10
    assert shares == [0.9] and "Pictures of 3 rare classes" in capsys.readouterr().out
    settings = json.loads((tmp_path / "run.json").read_text())["settings"]
    assert settings["repeat_threshold"] == 0.9
    assert settings["learning_rate"] == pytest.approx(0.008 / 2**0.5)


@pytest.mark.parametrize("scaled", [False, True])
def test_averaged_weights_are_exchanged_and_put_back(scaled, eager):
    model = _build()
    training.compile_detector(model, ema=0.5, optimizer="adamw")
    if scaled:  # what mixed float16 does
        model.compile(
            keras.optimizers.LossScaleOptimizer(
                keras.optimizers.AdamW(0.001, use_ema=True, ema_momentum=0.5)
            )
        )
    x, y = toy_batch(8)
    model.train_on_batch(x, y)
    model.train_on_batch(x, y)
    before = [v.numpy() for v in model.trainable_variables]
    with training.averaged(model):
        inside = [v.numpy() for v in model.trainable_variables]
    assert any(not np.array_equal(a, b) for a, b in zip(before, inside))
    for a, v in zip(before, model.trainable_variables):
        np.testing.assert_array_equal(a, v.numpy())


@pytest.mark.parametrize("saved", [False, True])
def test_normalization_and_biases_are_not_decayed(saved, tmp_path):
    model = _build()
    training.compile_detector(model)
    model.optimizer.build(model.trainable_variables)
    if saved:
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    for variable in model.trainable_variables:
        assert model.optimizer._use_weight_decay(variable) == (len(variable.shape) > 1), (
            variable.path
        )


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({}, ValueError, "minutes or of epochs"),
        ({"minutes": 1, "epochs": 1}, ValueError, "minutes or of epochs"),
        ({"epochs": -1}, ValueError, "`epochs` must be a finite number above 0"),
        ({"epochs": 1e18}, ValueError, "`epochs` must be"),
        ({"epochs": "3"}, ValueError, "`epochs` must be"),
        ({"epochs": 1e6, "batch_size": 1}, ValueError, "at most 41666 with 24 pictures"),
        ({"minutes": 0}, ValueError, "`minutes` must be a finite number above 0"),
        ({"minutes": float("inf")}, ValueError, "`minutes` must be"),
        ({"epochs": 1, "resume": True}, ValueError, "no stopped run"),
        ({"epochs": 1, "batch_size": 0}, ValueError, "`batch_size` must be an int of at least 1"),
        ({"epochs": 1, "batch_size": 10**12}, ValueError, "`batch_size` must be"),
        ({"epochs": 1, "patience": -1}, ValueError, "`patience` must be"),
        ({"epochs": 1, "evaluations": 10**9}, ValueError, "`evaluations` must be"),
        ({"epochs": 1, "optimizer": "adam"}, ValueError, "`optimizer` must be 'muon' or 'adamw'"),
        ({"epochs": 1, "precision": "bf16"}, ValueError, "`precision` must be 'auto'"),
        ({"epochs": 1, "learning_rate": -1.0}, ValueError, "learning_rate.*at least 1e-12"),
        ({"epochs": 1, "learning_rate": float("inf")}, ValueError, "learning_rate.*at most 1e.20"),
        ({"epochs": 1, "weight_decay": float("nan")}, ValueError, "weight_decay.*at least 0"),
        ({"epochs": 1, "ema": 1.0}, ValueError, "ema.*below 1"),
        ({"epochs": 1, "warmup_steps": -1}, ValueError, "warmup_steps"),
        ({"epochs": 1, "repeat_threshold": 2}, ValueError, "`repeat_threshold` must be"),
        ({"epochs": 1, "freeze_statistics": 2}, ValueError, "`freeze_statistics` must be"),
        ({"epochs": 1, "seed": 2**32}, ValueError, "seed"),
    ],
)
def test_impossible_runs_are_refused(dataset, tmp_path, monkeypatch, options, error, message):
    monkeypatch.setattr(limits, "MOST_STEPS", 10**6)
    with pytest.raises(error, match=message) as raised:
        training.train(_build, dataset, None, tmp_path / "run", **options)
    assert "--" not in str(raised.value)
    assert "resume" in options or not (tmp_path / "run").exists()


def test_convolutions_in_bfloat16_are_for_cpus(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "accelerators", lambda: True)
    with pytest.raises(ValueError, match="`precision` must be another one on GPUs"):
        training.train(_build, dataset, None, tmp_path / "run", epochs=1, precision="bfloat16_conv")
    assert not (tmp_path / "run").exists()


def test_only_training_steps_are_rewritten():
    import tensorflow as tf

    def option():
        found = tf.config.optimizer.get_experimental_options()
        return found.get("auto_mixed_precision_onednn_bfloat16", False)

    class Model:
        def make_train_function(self, force=False):
            self.train_function = option

    for precision, within in (("float32", False), ("bfloat16_conv", True)):
        model = Model()
        recipe.make_training_step(model, precision)
        assert not option()
        assert model.train_function() == within
        assert not option()


@pytest.mark.slow
def test_a_run_in_bfloat16_learns_the_same(dataset, tmp_path):
    """Where the processor has no bfloat16 TensorFlow leaves float32."""
    losses = {}
    for precision in ("float32", "bfloat16_conv"):
        how = {"epochs": 3 * 4 / 24, "batch_size": 4, "precision": precision}
        how |= {"freeze_statistics": 0.0}  # in all steps
        model, history = training.train(_build, dataset, None, tmp_path / precision, **how)
        losses[precision] = history["losses"][-1]["loss"]
        assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert losses["bfloat16_conv"] == pytest.approx(losses["float32"], rel=0.03)


def test_a_run_of_an_older_version_showed_all_pictures_alike_and_froze_nothing():
    before = {"epochs": 1, "seed": 0}
    now = {"epochs": 2, "seed": 0, "repeat_threshold": None, "freeze_statistics": None}
    assert changes(before, now, "run") == [
        {"setting": "epochs", "before": 1, "now": 2},
        {"setting": "freeze_statistics", "before": 1.0, "now": None},
    ]
    with pytest.raises(ValueError, match=r"had repeat_threshold=None \(now 0.1\)"):
        changes(before, {**now, "repeat_threshold": 0.1}, "run")


def test_a_batch_that_no_memory_holds_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "_memory", lambda: 1e9)
    limits.check_memory((320, 320), 100)
    limits.check_memory(None, 1024)
    with pytest.raises(ValueError, match="1024 pictures of 320x320 take 1 GB, of 1 that"):
        limits.check_memory((320, 320), 1024)
    limits.check_memory((320, 320), 1024, processes=2)


def test_a_detector_of_other_classes_is_refused(dataset, tmp_path):
    with pytest.raises(
        ValueError, match=r"classes are \('square', 'circle', 'star'\), those of the data"
    ):
        training.train(
            lambda: toy_detector(class_names=["square", "circle", "star"]),
            dataset,
            None,
            tmp_path,
            epochs=1,
        )


def test_a_set_without_objects_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="expected objects to train on; received none in 1 images"):
        training.train(_build, dataset.take(1), None, tmp_path, epochs=1)


def test_an_unwritable_folder_is_told_before_training(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write to the output folder"):
        training.train(_build, dataset, None, tmp_path / "file" / "out", epochs=1)


def test_a_full_disk_is_told_before_training(dataset, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1024})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="0 MB are free"):
        training.train(_build, dataset, None, tmp_path, epochs=1)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_with_its_step(dataset, tmp_path):
    with pytest.raises(FloatingPointError, match=r"step \d+: lower the learning rate"):
        training.train(
            _build,
            dataset,
            None,
            tmp_path,
            epochs=50,
            learning_rate=1e20,
            warmup_steps=1,
            **ADAMW,
        )
