"""The lines that a run prints even without a terminal: its size at once, its speed after twenty
steps, and a summary at its end."""

import math
import statistics
from collections import deque

import keras

from ..data.balance import rare, repeat_factors
from ..layers.normalization import batch_norms
from .distribute import accelerators
from .limits import BFLOAT16_CONV, bfloat16_units

_SOON = 20  # steps


class Told(keras.callbacks.Callback):
    """Prints parameters and steps before the first step, milliseconds per step after 20 steps, and
    at the end the steps done, the typical and the slowest step, and the loss.

    Times are those of training only; the first step, which compiles, is left out.

    Args:
        budget: the run's `Budget`, whose seconds stop during validation.
        history: the run's, whose last loss is printed.
        say: prints a line.
        pictures, steps_per_epoch, batch_size: of the run.
    """

    def __init__(self, budget, history, say, pictures, steps_per_epoch, batch_size):
        super().__init__()
        self.budget = budget
        self.history = history
        self.say = say
        self.pictures = pictures
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.steps, self.slowest = 0, 0.0
        self.times = deque(maxlen=10_000)  # milliseconds of the last steps
        self._before = None

    def on_train_begin(self, logs=None):
        trained = sum(math.prod(variable.shape) for variable in self.model.trainable_variables)
        self.say(
            f"{trained:,} of {self.model.count_params():,} parameters are trained on "
            f"{self.pictures} pictures, {self.steps_per_epoch} steps of {self.batch_size} per "
            f"pass, at a learning rate of up to {self.budget.learning_rate:.3g}."
        )

    def again(self):
        """Prints the speed once more, twenty steps after this one, which compiles and is left
        out."""
        self.steps, self._before = 0, None

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self._before is not None:
            took = 1e3 * (self.budget.seconds - self._before)
            self.times.append(took)
            self.slowest = max(self.slowest, took)
        self._before = self.budget.seconds
        if self.steps == _SOON:
            self.say(f"{statistics.median(list(self.times)[1 - _SOON :]):.0f} ms per step.")

    def on_train_end(self, logs=None):
        if self.times:
            losses = self.history["losses"]
            loss = f"; final loss {losses[-1]['loss']:.3f}" if losses else ""
            typical = statistics.median(self.times)
            self.say(
                f"{self.budget.step} steps done, typically in {typical:.0f} ms, the slowest in "
                f"{self.slowest:.0f} ms{loss}."
            )


def said_of_precision(precision, model, freezes=False):
    """A sentence if a precision costs more than it saves; else `None`. `freezes`: whether batch
    normalizations keep their statistics, later if not from the start."""
    if precision == BFLOAT16_CONV:
        units = bfloat16_units()
        if units is not None and not units:
            return "This processor has no units for bfloat16: steps take longer than in float32."
        if not freezes and any(norm.trainable for norm in batch_norms(model)):
            return (
                "Convolutions in bfloat16 save time only where batch normalizations keep their "
                "statistics; here some take those of each batch."
            )
    if precision == "mixed_float16" and not accelerators():
        return (
            "No GPU was found; on a CPU a step of mixed_float16 takes many times as long as one of "
            "float32."
        )
    return None


def said_of_repeats(dataset, threshold):
    """A sentence on what `data.repeat_factors` repeats; `None` without a threshold."""
    if threshold is None:
        return None
    found = rare(dataset, threshold)
    if not found:
        return f"No class occurs in less than {threshold:g} of the pictures: none is repeated."
    most = ", ".join(f"{name} {factor:.1f}" for name, factor in list(found.items())[:5])
    others = f" and {len(found) - 5} more" if len(found) > 5 else ""
    mean = repeat_factors(dataset, threshold).mean()
    return (
        f"Pictures of {len(found)} rare classes are shown more often, times {most}{others}: a pass "
        f"is {mean:.2f} times as many pictures."
    )
