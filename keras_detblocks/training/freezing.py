"""Freezes the statistics of batch normalization in the course of a run."""

import contextlib

import keras

from ..layers.normalization import BatchNormalization, batch_norms
from .distribute import accelerators
from .limits import BFLOAT16_CONV, bfloat16_units
from .recipe import make_training_step

# Chosen where nothing is given: docs/pages/learning.md.
SHARE = 0.4
LEAST_STEPS = 150  # that are left, or compiling takes longer than they save


class FreezeStatistics(keras.callbacks.Callback):
    """From a share of the budget on, batch normalization trains with its moving statistics and
    keeps them; factors and shifts go on learning. On CPUs such a step takes about three quarters of
    the time, and half with convolutions in bfloat16 on AMX, which `"auto"` then means.

    It comes after the budget. Only normalizations of the package keep their statistics.

    Args:
        run: a `Run`; its `statistics_kept` becomes `{"from": step, "precision": of these steps}`.
        told: the run's `Told`, which measures the new steps.
    """

    def __init__(self, run, told):
        super().__init__()
        self.run = run
        self.told = told
        settings, (ours, others) = run.progress["settings"], _learning(run.model)
        self.counts = len(ours), len(ours) + len(others)
        # Decided once: processors, and so the choices, may differ.
        self.share, self.least, self.precision = run.devices.from_chief(
            lambda: [*_when(settings, ours, others), _precision(settings)]
        )
        self._begun = False
        if run.statistics_kept is not None and run.budget.progress < self.share:
            run.statistics_kept = None  # resumed with another share, or a larger budget
            run.say("Batch normalization takes the statistics of batches again.")

    @contextlib.contextmanager
    def steps(self):
        """A context to run `fit` in, after which the model has Keras' own training step again."""
        try:
            yield
        finally:
            self.run.model.train_function = None

    def on_train_begin(self, logs=None):
        asked = self.run.progress["settings"]["precision"]
        if asked == BFLOAT16_CONV and self.share == 1:
            make_training_step(self.model, BFLOAT16_CONV)

    def on_train_batch_begin(self, batch, logs=None):
        if self._begun:
            return
        if self.run.statistics_kept is not None:
            self._begin(self.run.statistics_kept["from"])
        elif self._due():
            self._begin(self.run.budget.step)

    def _due(self):
        done = self.run.budget.progress
        return self.share <= done < 1 and done * self.least <= self.run.budget.step * (1 - done)

    def _begin(self, step):
        self._begun = True
        self.run.statistics_kept = {"from": step, "precision": self.precision}
        make_training_step(self.model, self.precision, kept=True)
        self.run.budget.compiles()
        self.told.again()
        ours, every = self.counts
        which = "batch normalization keeps its statistics"
        if ours < every:
            which = f"{ours} of {every} batch normalizations keep their statistics"
        also = ", and convolutions compute in bfloat16" if self.precision == BFLOAT16_CONV else ""
        self.run.say(f"From step {step} on, {which}{also}.")


def _learning(model):
    """The batch normalizations that train: those that can keep their statistics, and others."""
    learning = [norm for norm in batch_norms(model) if norm.trainable]
    ours = [norm for norm in learning if type(norm) is BatchNormalization]
    return ours, [norm for norm in learning if type(norm) is not BatchNormalization]


def _when(settings, ours, others):
    """The share of the budget from which on statistics are kept, 1 for never, and the number of
    steps that must be left then."""
    share, precision = settings["freeze_statistics"], settings["precision"]
    if not ours or (share is None and others):
        return 1.0, 0
    if share is not None:
        return share, 0
    if precision == BFLOAT16_CONV:
        return SHARE, 0
    cheaper = _on_cpu() and ours[0].compute_dtype == "float32"
    return (SHARE, LEAST_STEPS) if cheaper else (1.0, 0)


def _precision(settings):
    """The precision of the steps in which statistics are kept."""
    found = settings["precision"]
    amx = _on_cpu() and "amx_bf16" in (bfloat16_units() or ())
    return BFLOAT16_CONV if found == "auto" and amx else found


def _on_cpu():
    return keras.backend.backend() == "tensorflow" and not accelerators()
