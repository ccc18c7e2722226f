"""Keras callbacks of a training run: budget and learning rate, validation AP, checkpoints, progress
bar, logs."""

import contextlib
import time

import keras

from .schedule import cosine_with_warmup


class Budget(keras.callbacks.Callback):
    """Ends training after `minutes` or `steps`, and sets the learning rate by the share of the
    budget that is used.

    Minutes count training alone: the clock starts when the first step is done, since compiling it
    belongs to the machine, and stands still within `paused()`, for validation.
    """

    def __init__(self, learning_rate, warmup_steps, minutes=None, steps=None, step=0, seconds=0.0):
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.minutes = minutes
        self.steps = steps
        self.step = step
        self.seconds = seconds
        self._since = None

    @property
    def progress(self):
        return (
            self.step / self.steps if self.minutes is None else self.seconds / (60.0 * self.minutes)
        )

    @contextlib.contextmanager
    def paused(self):
        self._tick()
        yield
        self._since = time.monotonic()

    def _tick(self):
        now = time.monotonic()
        self.seconds += now - (self._since or now)
        self._since = now

    def on_train_begin(self, logs=None):
        self._since = None
        self.model.stop_training = self.progress >= 1.0

    def on_train_batch_begin(self, batch, logs=None):
        factor = cosine_with_warmup(self.step, self.progress, self.warmup_steps)
        self.model.optimizer.learning_rate = self.learning_rate * factor

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self._tick()
        if self.progress >= 1.0:
            self.model.stop_training = True


class Milestones(keras.callbacks.Callback):
    """Calls `action(progress)` each time that another `1 / count` of the budget is used, but not at
    its end."""

    def __init__(self, budget, count, action):
        super().__init__()
        self.budget = budget
        self.count = count
        self.action = action
        self._done = int(budget.progress * count + 1e-9)

    def on_train_batch_end(self, batch, logs=None):
        reached = int(self.budget.progress * self.count + 1e-9)
        if self._done < reached < self.count:
            self._done = reached
            with self.budget.paused():
                self.action(self.budget.progress)


class StepLog(keras.callbacks.Callback):
    """Appends the losses since the last entry to `history["losses"]` every `every` steps, and to
    TensorBoard; stops on NaN."""

    def __init__(self, budget, history, writer, every=20):
        super().__init__()
        self.budget = budget
        self.history = history
        self.writer = writer
        self.every = every

    def on_train_batch_end(self, batch, logs=None):
        if not logs["loss"] < float("inf"):
            raise FloatingPointError(
                f"The loss became {logs['loss']} at step {self.budget.step}: lower the learning "
                "rate (`learning_rate`), or look the boxes over (`Dataset.describe()`)."
            )
        if self.budget.step % self.every == 0:
            entry = {
                "step": self.budget.step,
                "seconds": round(self.budget.seconds, 2),
                **{k: float(v) for k, v in logs.items()},
            }
            self.history["losses"].append(entry)
            self.writer(
                {**logs, "learning_rate": float(self.model.optimizer.learning_rate)},
                self.budget.step,
            )
            self.model.reset_metrics()  # Keras averages over its epoch


class ProgressBar(keras.callbacks.Callback):
    """One line with the share done, loss, AP and time left while `bar` is entered (rich; nothing
    without a terminal)."""

    def __init__(self, budget, history, console):
        super().__init__()
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.budget = budget
        self.history = history
        self.console = console
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn(
                "{task.percentage:>3.0f}% step {task.fields[step]} loss {task.fields[loss]} AP "
                "{task.fields[ap]}"
            ),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def on_train_begin(self, logs=None):
        self.task = self.bar.add_task("train", total=1.0, step=self.budget.step, loss="-", ap="-")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(
            self.task,
            completed=min(self.budget.progress, 1.0),
            step=self.budget.step,
            loss=f"{logs['loss']:.3f}",
            ap=f"{self.history['ap'][-1]['AP']:.3f}" if self.history["ap"] else "-",
        )


def tensorboard_writer(folder):
    """A function `(scalars, step)` that writes to TensorBoard's event files in `folder`."""
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))

    def write(scalars, step):
        with writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
        writer.flush()

    return write
