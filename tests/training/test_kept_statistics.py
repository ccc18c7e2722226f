"""When a run freezes the statistics of its batch normalizations, and with which steps."""

import types

import keras
import pytest

import keras_detblocks as kdb
from keras_detblocks.layers.folding import statistics_are_kept
from keras_detblocks.training import freezing, recipe
from keras_detblocks.training.told import Told


def model_of(*layers):
    return keras.Sequential([keras.Input((4, 4, 4)), *layers])


@pytest.fixture
def a_run(monkeypatch):
    """A function that makes a run of a number of steps, with what it said and the training steps
    that were made: `(step, precision, whether statistics are kept)`."""

    def made(steps, model=None, step=0, kept=None, precision="auto", freeze_statistics=None):
        budget = types.SimpleNamespace(step=step, seconds=0.0, progress=step / steps)
        budget.compiles = lambda: None
        run = types.SimpleNamespace(
            model=model or model_of(kdb.BatchNormalization()), budget=budget, statistics_kept=kept,
            said=[], made=[], steps=steps,
            devices=types.SimpleNamespace(from_chief=lambda function: function()),
        )  # fmt: skip
        settings = {"precision": precision, "freeze_statistics": freeze_statistics}
        run.progress, run.say = {"settings": settings}, run.said.append
        monkeypatch.setattr(
            freezing,
            "make_training_step",
            lambda model, precision, kept=False: run.made.append((budget.step, precision, kept)),
        )
        return run

    monkeypatch.setattr(freezing, "accelerators", lambda: False)
    monkeypatch.setattr(freezing, "bfloat16_units", lambda: {"avx512_bf16"})
    return made


def trained(run):
    """The step from which it keeps statistics, or `None`."""
    told = Told(run.budget, {"losses": []}, run.say, 1, 1, 1)
    callback = freezing.FreezeStatistics(run, told)
    callback.set_model(run.model)
    run.model.train_function = "made"
    with callback.steps():
        callback.on_train_begin()
        while run.budget.step < run.steps:
            callback.on_train_batch_begin(0)
            run.budget.step += 1
            run.budget.progress = run.budget.step / run.steps
    assert run.model.train_function is None
    return run.statistics_kept and run.statistics_kept["from"]


@pytest.mark.parametrize(
    "steps, settings, at",
    [
        (250, {}, 100),
        (249, {}, None),  # 149 are left
        (1000, {"precision": "float32"}, 400),
        (1000, {"freeze_statistics": 1.0}, None),
        (10, {"freeze_statistics": 0.55}, 6),
        (10, {"freeze_statistics": 0.0}, 0),
        (10, {"precision": "bfloat16_conv"}, 4),  # what is asked for is done
    ],
)
def test_when(a_run, steps, settings, at):
    run = a_run(steps, **settings)
    assert trained(run) == at
    if at is None:
        assert run.made == run.said == []
    else:
        precision = settings.get("precision", "auto")
        assert run.made == [(at, precision, True)]
        assert run.statistics_kept == {"from": at, "precision": precision}
        assert run.said[0].startswith(f"From step {at} on, batch normalization keeps its stat")


@pytest.mark.parametrize(
    "precision, units, then",
    [
        ("auto", {"amx_bf16", "avx512_bf16"}, "bfloat16_conv"),
        ("auto", {"avx512_bf16"}, "auto"),  # not measured
        ("auto", None, "auto"),
        ("float32", {"amx_bf16"}, "float32"),
        ("bfloat16_conv", None, "bfloat16_conv"),
    ],
)
def test_precision_of_the_later_steps(a_run, monkeypatch, precision, units, then):
    monkeypatch.setattr(freezing, "bfloat16_units", lambda: units)
    run = a_run(1000, precision=precision)
    assert trained(run) == 400 and run.made == [(400, then, True)]
    assert run.said[0].endswith("bfloat16.") == (then == "bfloat16_conv")


def test_bfloat16_in_all_steps_where_none_keeps_statistics(a_run):
    group = model_of(keras.layers.GroupNormalization(2))
    for options in ({"freeze_statistics": 1.0}, {"model": group}):
        run = a_run(1000, precision="bfloat16_conv", **options)
        assert trained(run) is None and run.made == [(0, "bfloat16_conv", False)]


def test_a_resumed_run_goes_on_as_it_was_unless_told_otherwise(a_run):
    kept = {"from": 300, "precision": "auto"}
    run = a_run(1000, step=900, kept=kept)  # few steps are left, but it had begun
    assert trained(run) == 300 and run.made == [(900, "auto", True)]
    assert trained(a_run(1000, step=900)) is None
    run = a_run(1000, step=700, kept=kept, freeze_statistics=0.8)
    assert trained(run) == 800 and "statistics of batches again" in run.said[0]
    run = a_run(1000, step=700, kept=kept, freeze_statistics=1.0)
    assert trained(run) is None and not run.made
    assert trained(a_run(10_000, step=700, kept=kept)) == 4000  # a larger budget


def test_no_step_is_made_that_is_not_trained(a_run):
    run = a_run(10, step=10, freeze_statistics=0.5)  # such as one that patience ends
    assert trained(run) is None and not run.made


def test_others_freeze_only_if_told_to(a_run, monkeypatch):
    for layer in (
        keras.layers.GroupNormalization(2),
        kdb.BatchNormalization(trainable=False),
        keras.layers.BatchNormalization(),
    ):
        assert trained(a_run(1000, model_of(layer), freeze_statistics=0.1)) is None
    assert trained(a_run(1000, model_of(kdb.BatchNormalization(dtype="mixed_bfloat16")))) is None
    both = model_of(kdb.BatchNormalization(), keras.layers.BatchNormalization())
    assert trained(a_run(1000, both)) is None
    run = a_run(1000, both, freeze_statistics=0.4)
    assert trained(run) == 400
    assert run.said == ["From step 400 on, 1 of 2 batch normalizations keep their statistics."]
    monkeypatch.setattr(freezing, "accelerators", lambda: True)
    assert trained(a_run(1000)) is None
    assert trained(a_run(1000, freeze_statistics=0.4)) == 400


def test_steps_are_made_with_kept_statistics():
    model, calls = model_of(kdb.BatchNormalization()), []
    model.make_train_function = lambda force: setattr(
        model, "train_function", lambda *_: calls.append(statistics_are_kept())
    )
    for kept in (False, True):
        recipe.make_training_step(model, "float32", kept)
        model.train_function()
        assert not statistics_are_kept()
    assert calls == [False, True]
