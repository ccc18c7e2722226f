"""The progress line of a run, and what else it prints or logs."""

import contextlib
import os
import time

import keras
import numpy as np

# Columns of a terminal that each part of the line needs.
NARROW, WIDE = 60, 76


class ProgressBar(keras.callbacks.Callback):
    """Shows one line with the share done, loss, AP and time left while `bar` is entered: rich's in
    a terminal, a line of text that is replaced in a notebook, nothing elsewhere.

    The loss is read from the device at most once a second.
    """

    def __init__(self, budget, history, console, hidden=False):
        super().__init__()
        self.budget = budget
        self.history = history
        self.bar = _NotebookLine() if console.is_jupyter else _terminal_line(console)
        self.hidden = hidden or not (console.is_jupyter or console.is_terminal)
        self.bar.disable = self.hidden
        self._task = None
        self._next = 0.0

    def on_train_begin(self, logs=None):
        self._task = self.bar.add_task("training", total=1.0, step=self.budget.step, **NOTHING)

    def on_train_batch_end(self, batch, logs=None):
        if self.hidden or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 1.0
        self.bar.update(
            self._task,
            completed=self.budget.progress,
            step=self.budget.step,
            loss=f"{float(np.asarray(logs['loss'])):.3f}",
            ap=f"{self.history['ap'][-1]['AP']:.3f}" if self.history["ap"] else "-",
        )


NOTHING = {"loss": "-", "ap": "-"}


def _terminal_line(console):
    """The parts that fit: the bar and both clocks need a wide terminal."""
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    text = TextColumn(
        "{task.percentage:>3.0f}% step {task.fields[step]} loss {task.fields[loss]} "
        "AP {task.fields[ap]}"
    )
    columns = [BarColumn(), text, TimeElapsedColumn(), TimeRemainingColumn()]
    if console.width < WIDE:
        columns = [BarColumn(bar_width=10), text, TimeRemainingColumn()]
    if console.width < NARROW:
        columns = [text]
    # Drawn less often than by rich's default: its thread takes time from a step's Python.
    return Progress(*columns, console=console, refresh_per_second=2)


class _NotebookLine:
    """The methods of rich's `Progress` that `ProgressBar` uses, for notebooks, where rich shows
    nothing without ipywidgets."""

    disable = False

    def __enter__(self):
        self._started, self._display = time.monotonic(), None
        return self

    def __exit__(self, *_):
        pass

    def add_task(self, description, **fields):
        self._show(f"{description}: starting")

    def update(self, task, completed, step, loss, ap):
        seconds = time.monotonic() - self._started
        left = seconds / completed - seconds if completed else 0.0
        bar = "#" * round(20 * completed)
        self._show(
            f"[{bar:20}] {completed:4.0%} step {step} loss {loss} AP {ap} "
            f"{left // 60:.0f}:{left % 60:02.0f} left"
        )

    def _show(self, text):
        if self.disable:
            return
        from IPython.display import display

        shown = {"text/plain": text}
        if self._display is None:
            self._display = display(shown, raw=True, display_id=True)
        else:
            self._display.update(shown, raw=True)


def speaker(console):
    """Returns a function that prints a line on a `rich` console; in a file or a pipe it is not
    wrapped. A terminal that is gone, or a full disk under a redirected output, does not end a
    run."""
    whole = not (console.is_terminal or console.is_jupyter)

    def say(text, style=None):
        with contextlib.suppress(OSError):
            console.print(text, style=style, highlight=False, markup=False, soft_wrap=whole)

    return say


def tensorboard_writer(folder):
    """Returns a function `(values, step)` that writes numbers and pictures, uint8 `(n, H, W, 3)`,
    to TensorBoard's event files in `folder`; whatever the disk does not take is left out."""
    import tensorflow as tf

    os.makedirs(folder, exist_ok=True)
    writer = tf.summary.create_file_writer(str(folder))

    def write(values, step):
        with contextlib.suppress(tf.errors.OpError, OSError):
            with writer.as_default(step=step):
                for name, value in values.items():
                    if getattr(value, "ndim", 0) == 4:
                        tf.summary.image(name, value, max_outputs=len(value))
                    else:
                        tf.summary.scalar(name, value)
            writer.flush()

    return write
