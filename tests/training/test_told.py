"""What a run says about itself."""

import types

import keras

from keras_detblocks.training.told import Told


def test_size_speed_and_account():
    budget, lines = types.SimpleNamespace(step=0, seconds=0.0), []
    history = {"losses": [{"loss": 2.0}, {"loss": 1.0333}]}
    told = Told(budget, history, lines.append, pictures=32, steps_per_epoch=2, batch_size=16)
    told.set_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    told.on_train_begin()
    assert lines == ["8 of 8 parameters are trained on 32 pictures, 2 steps of 16 per pass."]
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


def test_a_run_of_no_steps_says_nothing_of_them():
    lines = []
    told = Told(types.SimpleNamespace(step=0, seconds=0.0), {"losses": []}, lines.append, 1, 1, 1)
    told.on_train_end()
    assert lines == []
