"""What a run says about itself."""

import types

import keras
import numpy as np

from keras_detblocks import data
from keras_detblocks.training import told as telling
from keras_detblocks.training.told import Told, said_of_precision, said_of_repeats


def test_size_speed_and_account():
    budget, lines = types.SimpleNamespace(step=0, seconds=0.0, learning_rate=0.01414), []
    history = {"losses": [{"loss": 2.0}, {"loss": 1.0333}]}
    told = Told(budget, history, lines.append, pictures=32, steps_per_epoch=2, batch_size=16)
    told.set_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    told.on_train_begin()
    assert lines == [
        "8 of 8 parameters are trained on 32 pictures, 2 steps of 16 per pass, at a learning rate "
        "of up to 0.0141."
    ]
    for step in range(30):
        budget.step += 1
        budget.seconds += {0: 60.0, 25: 0.5}.get(step, 0.1)  # the first one compiles
        told.on_train_batch_end(step, {})
        assert len(lines) == (1 if step < 19 else 2)
    assert lines[1] == "100 ms per step."
    told.on_train_end()
    assert lines[2] == (
        "30 steps done, typically in 100 ms, the slowest in 500 ms; final loss 1.033."
    )


def test_a_step_that_is_made_anew_is_measured_anew():
    budget, lines = types.SimpleNamespace(step=0, seconds=0.0, learning_rate=0.01), []
    told = Told(budget, {"losses": []}, lines.append, pictures=32, steps_per_epoch=2, batch_size=16)
    for step in range(70):
        if step == 30:
            told.again()
        budget.seconds += {0: 60.0, 30: 40.0}.get(step, 0.1 if step < 30 else 0.04)
        told.on_train_batch_end(step, {})
    assert lines == ["100 ms per step.", "40 ms per step."]
    told.on_train_end()
    assert lines[2].endswith("typically in 40 ms, the slowest in 100 ms.")


def test_a_run_of_no_steps_says_nothing_of_them():
    lines = []
    told = Told(types.SimpleNamespace(step=0, seconds=0.0), {"losses": []}, lines.append, 1, 1, 1)
    told.on_train_end()
    assert lines == []


def test_what_is_repeated_is_said():
    """Of eight classes the first is on every picture, each other on one of nine."""
    boxes, records = np.ones((2, 4)), []
    for label in [*range(8), 0]:
        labels = np.array([0, label])
        records.append(data.Record("", 8, 8, boxes, labels, labels < 0, np.ones(2), 0))
    dataset = data.Dataset(records, tuple("abcdefgh"), tuple(range(8)))
    assert said_of_repeats(dataset, 1.0) == (
        "Pictures of 7 rare classes are shown more often, times b 3.0, c 3.0, d 3.0, e 3.0, f 3.0 "
        "and 2 more: a pass is 2.56 times as many pictures."
    )
    assert said_of_repeats(dataset, 0.1) == (
        "No class occurs in less than 0.1 of the pictures: none is repeated."
    )
    assert said_of_repeats(dataset, None) is None


def test_float16_on_a_cpu_is_said_to_be_slow():
    assert "many times as long" in said_of_precision("mixed_float16", None)
    assert said_of_precision("auto", None) is said_of_precision("mixed_bfloat16", None) is None


def test_convolutions_in_bfloat16_are_judged(monkeypatch):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.BatchNormalization()])
    for units, trainable, freezes, said in [
        (set(), False, False, "no units for bfloat16"),
        ({"amx_bf16"}, True, False, "here some take those of each batch"),
        (None, True, False, "here some take those of each batch"),
        ({"amx_bf16"}, True, True, None),
        ({"amx_bf16"}, False, False, None),
        (None, False, False, None),
    ]:
        monkeypatch.setattr(telling, "bfloat16_units", lambda units=units: units)
        model.layers[0].trainable = trainable
        text = said_of_precision("bfloat16_conv", model, freezes)
        assert text is None if said is None else said in text
