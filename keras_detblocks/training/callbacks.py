"""Keras callbacks of a training run: budget and learning rate, losses, milestones and stops."""

import contextlib
import signal
import time

import keras
import numpy as np

from .distribute import numpy_of, set_number
from .interrupt import Stopped
from .schedule import cosine_with_warmup

SECONDS_BETWEEN_CHECKPOINTS = 600.0


class Callbacks(keras.callbacks.CallbackList):
    """A list of callbacks that passes on the losses of a step as device tensors.

    Keras' own list reads them after each step, which makes an accelerator wait.
    """

    def on_train_batch_begin(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Budget(keras.callbacks.Callback):
    """Ends training after `minutes` or `steps`, and sets the learning rate by the share of the
    budget that is used.

    Minutes count training only: the clock starts when the first step is done, so that compiling is
    not counted, and stops within `paused()`, for validation.

    Args:
        learning_rate, warmup_steps: of the schedule. minutes, steps: the budget, one of the two.
        step, seconds: done by earlier parts of a resumed run.
        devices: `Alone` or the like; processes that train together go by the chief's clock.
        interrupts: the `Interrupts` of this process.

    Attributes:
        step, seconds: done so far.
        between_steps: whether the weights are those after `step` whole steps.
        signal: the one that asked this process, or one that it trains with, to stop; or 0.
    """

    def __init__(
        self,
        learning_rate,
        warmup_steps,
        minutes=None,
        steps=None,
        step=0,
        seconds=0.0,
        devices=None,
        interrupts=None,
    ):
        super().__init__()
        self.devices = devices
        self.interrupts = interrupts
        self.signal = 0
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.minutes = minutes
        self.steps = steps
        self.step = step
        self.seconds = seconds
        self.between_steps = True
        self._since = None

    @property
    def progress(self):
        """Share of the budget that is used, 0 to 1."""
        if self.minutes is None:
            return min(self.step / self.steps, 1.0)
        return min(self.seconds / 60.0 / self.minutes, 1.0)

    @contextlib.contextmanager
    def paused(self):
        """Stops the clock within the block; before the first step it has not started anyway."""
        runs = self._since is not None
        if runs:
            self._tick()
        yield
        self._since = time.monotonic() if runs else None

    def _tick(self):
        now = time.monotonic()
        self.seconds += now - (self._since or now)
        self._since = now

    def compiles(self):
        """Leaves the next step, which compiles, out of the clock."""
        self._since = None

    def on_train_begin(self, logs=None):
        self.compiles()

    def on_train_batch_begin(self, batch, logs=None):
        self.between_steps = False
        factor = cosine_with_warmup(self.step, self.progress, self.warmup_steps)
        set_number(self.model.optimizer.learning_rate, self.learning_rate * factor)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.between_steps = True
        self._tick()
        self._agree()
        if self.progress >= 1.0:
            self.model.stop_training = True

    def _agree(self):
        """Lets processes that train together stop, save and measure at the same step."""
        self.signal = (self.interrupts and self.interrupts.received) or 0
        if self.devices is not None and self.devices.count > 1:
            mine = [self.seconds if self.devices.chief else 0.0, self.signal]
            self.seconds, signals = self.devices.total(np.array(mine, "float64")).tolist()
            self.signal = self.signal or (signal.SIGTERM if signals else 0)


class StepLog(keras.callbacks.Callback):
    """Appends the mean losses since the last entry to `history["losses"]` every `every` steps and
    at the end, and writes them to TensorBoard; stops the run if they are not finite.

    Args:
        budget: the run's `Budget`. history: the run's. writer: of `tensorboard_writer`.
        sums: what `sums()` returned when the run was stopped, so that the unfinished entry
            continues.
        every: steps from entry to entry.
    """

    def __init__(self, budget, history, writer, sums=None, every=20):
        super().__init__()
        self.budget = budget
        self.history = history
        self.writer = writer
        self.every = every
        self._kept = sums

    def sums(self):
        """The state of Keras' metrics, for JSON."""
        return [numpy_of(v).tolist() for v in self._variables()]

    def _variables(self):
        return [v for metric in self.model.metrics for v in metric.variables]

    def on_epoch_begin(self, epoch, logs=None):
        """Restores the sums: there is only one epoch, which Keras begins by emptying its
        metrics."""
        for variable, value in zip(self._variables(), self._kept or ()):
            variable.assign(value)
        self._kept = None

    def on_train_batch_end(self, batch, logs=None):
        if self.budget.step % self.every == 0:
            self._enter(logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.budget.step % self.every:
            self._enter(logs)

    def _enter(self, logs):
        logs = {key: float(np.asarray(value)) for key, value in logs.items()}
        if not logs["loss"] < float("inf"):
            raise FloatingPointError(
                f"The loss became {logs['loss']} by step {self.budget.step}: lower the learning "
                "rate (`learning_rate`), or look at the boxes with `Dataset.describe()`."
            )
        values = {**logs, "learning_rate": float(numpy_of(self.model.optimizer.learning_rate))}
        self.history["losses"].append(
            {"step": self.budget.step, "seconds": round(self.budget.seconds, 2), **values}
        )
        self.writer(values, self.budget.step)
        self.model.reset_metrics()  # Keras averages over its one epoch


class Milestones(keras.callbacks.Callback):
    """Does what is due between two steps: the action of a milestone, a checkpoint, the stop that a
    signal asked for. It is the last of the callbacks, so that all others have seen the step.

    Args:
        run: a `Run`.
        count: milestones in the budget, not counting its end.
        done: milestones that a resumed run had reached.
    """

    def __init__(self, run, count, done=0):
        super().__init__()
        self.run = run
        self.count = count
        self.done = min(done, self._reached())
        self._saved_at = run.budget.seconds

    def _reached(self):
        return int(self.run.budget.progress * self.count + 1e-9)

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:  # one that was interrupted, before the first step of the resumed run
            self._act()

    def on_train_batch_end(self, batch, logs=None):
        self.run.interrupts.steps_under_way()
        self._act()
        self.run.check_pictures()
        if self.run.asked_to_stop():
            self.run.model = self.model
            self.run.stop(self.done)
        if self.run.budget.seconds - self._saved_at > SECONDS_BETWEEN_CHECKPOINTS:
            with self.run.budget.paused():
                self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._save()  # from here on no step has to be trained again

    def _act(self):
        reached = self._reached()
        if not self.done < reached < self.count:
            return
        with self.run.budget.paused():
            self.run.model = self.model  # on JAX, asking for it brings its variables up to date
            if self.run.devices.count > 1:  # a signal to the chief only finds it saved
                self._save()
            try:
                self.run.milestone(measure=reached // 2 > self.done // 2)  # every second one
            except Stopped:  # it is done when the run is resumed
                if self.run.devices.count == 1:
                    self._save()
                raise
            self.done = reached
            self._save()

    def _save(self):
        self.run.model = self.model
        self.run.save(self.done)
        self._saved_at = self.run.budget.seconds
