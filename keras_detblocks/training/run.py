"""A run in progress: what it measures, keeps and leaves in its folder."""

import contextlib
import time

import numpy as np

from ..data import ImageError
from ..files import written_beside
from .ema import RawWeights, averaged, judged, keep_better
from .evaluate import evaluate_ap
from .interrupt import Stopped
from .pictures import sample_pictures
from .state import not_finite, remove_unfinished, save_model, write_json

# Share of the pictures of a pass; if more cannot be read, the run ends.
UNREAD_SHARE = 0.01


class Run:
    """Measures, saves and finishes; the callbacks of a run call it. It begins with `run.json`.

    Args:
        model: compiled. out: the folder. checkpoint: a `RunCheckpoint`.
        budget, log: the callbacks `Budget` and `StepLog`.
        progress: the one in the checkpoint from which the run continues.
        record: a `RunRecord`, the content of `run.json`.
        train_set, validation_set: `data.Dataset`, the second may be `None`.
        interrupts: `Interrupts`. say: prints a line. patience: evaluations without a better AP
            before training ends, or `None`. devices: `Alone` or the like.
    """

    def __init__(
        self,
        *,
        model,
        out,
        checkpoint,
        budget,
        log,
        progress,
        record,
        train_set,
        validation_set,
        interrupts,
        say,
        patience,
        devices,
    ):
        self.model = model
        self.out = out
        self.checkpoint = checkpoint
        self.budget = budget
        self.log = log
        self.progress = progress
        self.record = record
        self.validation_set = validation_set
        self.interrupts = interrupts
        self.say = say
        self.patience = patience
        self.devices = devices
        self.raw = RawWeights()
        self.train_set = train_set
        self._unread = 0
        self.history = progress["history"]
        self.over = progress["over"]
        self.saved_step = progress["step"]
        self.statistics_kept = progress.get("statistics_kept")  # see `FreezeStatistics`
        model.run_record = record.content
        if devices.chief:
            record.write(out / "run.json")

    # What the callbacks call -----------------------------------------------------------------

    def milestone(self, measure):
        """Ends a part of the budget: measures AP, or only prints a line."""
        if not measure or self.validation_set is None:
            self.say(self._so_far())
            return
        number = self._measured()
        enough = self.patience is not None and self._evaluations_since_best() >= self.patience
        number, enough = self.devices.total(np.array([number, enough], "int32")).tolist()
        if number:
            raise Stopped(number, agreed=True)
        if enough:
            self.say(f"No better AP in {self.patience} evaluations: training ends.")
            self.over = True
            self.model.stop_training = True

    def _measured(self):
        """Measures; returns the number of a signal that cut it short, or 0. Only the chief
        measures, so another process that is asked to stop does so after the next step."""
        if not self.devices.chief:
            return 0
        try:
            with self.interrupts.at_once():
                self.measure()
        except Stopped as stop:
            return stop.signal
        return 0

    def save(self, milestones):
        """Writes a checkpoint; a disk that does not take it costs only a warning.

        Raises:
            FloatingPointError: if a weight is no longer finite; earlier checkpoints stay.
        """
        bad = not_finite(self.model)
        if bad:
            raise FloatingPointError(_not_finite(self.saved_step, self.budget.step, bad))
        progress = self._progress(milestones)  # in all processes, since its sums are over all
        try:
            if self.devices.chief:
                with self.devices.by_itself():
                    self.checkpoint.save(self.model, progress)
            self.saved_step = self.budget.step
        except OSError as error:
            self.say(
                f"Warning: no checkpoint at step {self.budget.step} ({_reason(error)}); the run "
                f"continues; the last one is from step {self.saved_step}.",
                style="yellow",
            )

    def asked_to_stop(self):
        """Whether a signal came; processes that train together give the same answer."""
        return self.budget.signal or (self.devices.count == 1 and self.interrupts.received)

    def stop(self, milestones):
        """Stops between two steps, as a signal asked."""
        self.save(milestones)
        self.say(f"Stopped after step {self.saved_step}; the run can be resumed from there.")
        self._wait_for_chief()
        raise Stopped(self.asked_to_stop(), agreed=True)

    def note_pictures(self):
        """Remembers the pictures that could not be read from the start and are not trained on: they
        do not count."""
        self._unread = len(_unread(self.train_set))

    def check_pictures(self):
        """Ends a run whose pictures disappear.

        Raises:
            ImageError: if more than one in a hundred could not be read since the run began; the run
                can be resumed from its last checkpoint.
        """
        unread = _unread(self.train_set)
        gone, most = len(unread) - self._unread, UNREAD_SHARE * len(self.train_set)
        if gone > most:
            path, reason = list(unread.items())[-1]
            again = "continue with `resume=True`" if self.saved_step else "start again"
            raise ImageError(
                f"{gone} of {len(self.train_set)} pictures could not be read while training, more "
                f"than {UNREAD_SHARE:.0%}, the last of them {path} ({reason}). Bring them back, "
                f"then {again}."
            )

    def _progress(self, milestones):
        return {
            "step": self.budget.step,
            "seconds": self.budget.seconds,
            "history": self.history,
            "settings": self.progress["settings"],
            "changes": self.progress["changes"],
            "milestones": milestones,
            "sums": self.log.sums(),
            "over": self.over,
            "statistics_kept": self.statistics_kept,
            **self.devices.numbers(),
        }

    # AP --------------------------------------------------------------------------------------

    def measure(self):
        """Measures validation AP of the averaged weights, or of the raw ones if these are better
        and the averages young; the best of a run become `best.keras`. Only the chief does it, for
        all processes."""
        if not self.devices.chief:
            return
        with self.devices.alone(self.model) as other:
            result, is_averaged = judged(self.model, self._evaluate, other)
            with averaged(self.model, other) if is_averaged else contextlib.nullcontext():
                self._note(result, is_averaged, other)

    def measure_last(self):
        """Measures after training; the model keeps the better weights, in all processes."""
        is_averaged = True
        if self.devices.chief:
            with self.devices.alone(self.model) as other:
                result, is_averaged = keep_better(self.model, self._evaluate, self.raw, other)
                self._note(result, is_averaged, other)
        decision = self.devices.total(np.array([not is_averaged], "int32"))
        if self.devices.count > 1 and decision[0]:
            self.raw.put_back()

    def _evaluate(self, model):
        return evaluate_ap(model, self.validation_set)

    def _note(self, result, is_averaged, model):
        """Records the AP of the weights that a model has."""
        numbers = {key: float(value) for key, value in result.numbers.items()}
        best = max((entry["AP"] for entry in self.history["ap"]), default=-1.0)
        if numbers["AP"] > best:
            try:
                self._leave_best(numbers, model)
            except OSError as error:
                self.say(f"Warning: best.keras not written ({_reason(error)}).", style="yellow")
        row = {"step": self.budget.step, "seconds": round(self.budget.seconds, 2)}
        self.history["ap"].append({**row, "averaged": is_averaged, **numbers})
        values = {f"validation/{key}": value for key, value in numbers.items()}
        values["validation/pictures"] = sample_pictures(model, self.validation_set)
        self.log.writer(values, self.budget.step)
        ap, ap50 = numbers["AP"], numbers["AP50"]
        which = "" if is_averaged else "  (weights not averaged)"
        self.say(f"{self._so_far()}  validation AP {ap:.3f}  AP50 {ap50:.3f}{which}")

    def _leave_best(self, numbers, model):
        results = {"steps": self.budget.step, "validation": numbers}
        model.run_record = {**self.record.content, "results": results}
        save_model(model, self.out / "best.keras")

    def _evaluations_since_best(self):
        values = [entry["AP"] for entry in self.history["ap"]]
        if not values:  # not the chief
            return 0
        return len(values) - 1 - values.index(max(values))

    def _so_far(self):
        losses = self.history["losses"]
        loss = f", loss {losses[-1]['loss']:.3f}" if losses else ""
        return f"{self.budget.seconds / 60:5.1f} min  step {self.budget.step:6d}{loss}"

    # The end ---------------------------------------------------------------------------------

    def finish(self):
        """Measures the last AP and writes the results; a run that is killed here resumes here."""
        with self.interrupts.at_once() if self.devices.chief else contextlib.nullcontext():
            if self.validation_set is not None:
                # If patience ended the run, its last step was measured already.
                aps = self.history["ap"]
                aps[:] = [entry for entry in aps if entry["step"] != self.budget.step]
                self.measure_last()
            self.record.finish(self.budget, self.history, self.statistics_kept)
            self.model.run_record = self.record.content
            if self.devices.chief:
                with self.devices.by_itself():
                    self._until_saved()
                self.checkpoint.remove()  # last: one killed before this line can still be resumed
                remove_unfinished(self.out)
            self._wait_for_chief()

    def _wait_for_chief(self):
        """Waits for the chief, which writes and hosts the others."""
        self.devices.total(np.zeros(1, "int32"))

    def _until_saved(self, wait=1.0):
        """Retries until the disk takes the results: a full disk must not cost the training."""
        while True:
            try:
                return self._leave_results()
            except OSError as error:
                with contextlib.suppress(OSError):
                    self.checkpoint.thin(1)
                self.say(
                    f"The run is trained, but its results cannot be written ({_reason(error)}). "
                    f"Free some space; trying again in {wait:.0f} s.",
                    style="yellow",
                )
            time.sleep(wait)
            wait = min(2 * wait, 60.0)

    def _leave_results(self):
        from .curve import learning_curve

        write_json(self.out / "history.json", self.history)
        with written_beside(self.out / "learning_curve.png") as part:
            learning_curve(self.history, part)
        self.record.write(self.out / "run.json")
        save_model(self.model, self.out / "detector.keras")  # last: where it is, the run is done


def _unread(dataset):
    """Returns path -> reason for pictures that the pipeline could not read so far."""
    return getattr(dataset, "unread", {})


def finalize(model, raw):
    """Puts the averaged weights into a model whose training is over, as `fit` does at its end;
    `raw` keeps the weights of training."""
    raw.note(model)
    model.optimizer.finalize_variable_values(model.trainable_weights)


def _not_finite(saved, step, where):
    if not saved:
        return (
            f"The weights became NaN or infinite by step {step}: lower the learning rate "
            f"(`learning_rate`). Seen in {where}."
        )
    return (
        f"The weights became NaN or infinite between step {saved} and step {step} (seen in "
        f"{where}), so nothing is saved: go on from step {saved} with `resume=True` and a lower "
        f"learning rate (`learning_rate`)."
    )


def _reason(error):
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
