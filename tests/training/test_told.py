"""What a run says about itself."""

import types

import keras

from keras_detblocks.training.told import Told


class Console:
    def __init__(self):
        self.lines = []

    def print(self, line):
        self.lines.append(line)


def test_size_speed_and_account():
    budget, console = types.SimpleNamespace(step=0, seconds=0.0), Console()
    told = Told(budget, console, pictures=32, steps_per_epoch=2, batch_size=16)
    told.set_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    told.on_train_begin()
    assert console.lines == [
        "8 of 8 parameters are trained on 32 pictures, 2 steps of 16 per pass."
    ]
    for step in range(30):
        budget.step += 1
        budget.seconds += {0: 60.0, 25: 0.5}.get(step, 0.1)  # the first one compiles
        told.on_train_batch_end(step, {"loss": 2.0 - step / 30})
        assert len(console.lines) == (1 if step < 19 else 2)
    assert console.lines[1] == "100 ms per step."
    told.on_train_end()
    assert console.lines[2] == (
        "30 steps done, typically in 100 ms, the slowest in 500 ms; final loss 1.033."
    )


def test_a_run_of_no_steps_says_nothing_of_them():
    told = Told(types.SimpleNamespace(step=0, seconds=0.0), Console(), 1, 1, 1)
    told.on_train_end()
    assert told.console.lines == []
