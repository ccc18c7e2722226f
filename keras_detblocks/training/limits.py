"""The limits of a run's numbers and names, checked before anything is read or made."""

import contextlib
import math
import os
import pathlib
from functools import partial

from ..checks import check_choice, check_int, check_number
from ..data.pipeline import MOST_BATCH

# Optimizers by name, with the learning rates that worked best, for steps of 16 images.
LEARNING_RATES = {"muon": 20e-3, "adamw": 8e-3}
MEASURED_BATCHES = (4, 32)
BFLOAT16_CONV = "bfloat16_conv"  # convolutions of training steps on CPUs, all else in float32
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16", BFLOAT16_CONV)
MOST_MINUTES = 1e6  # two years
MOST_EPOCHS = 1e6
MOST_STEPS = 10**9
MOST_EVALUATIONS = 10_000
MOST_SEEDS = 2**32  # those of NumPy


def _optimizer(value, name):
    """The name of one, given in any case."""
    value = value.lower() if isinstance(value, str) else value
    return check_choice(value, name, tuple(LEARNING_RATES))


# A check for each, called with the value and the name. Learning rates become float32 numbers, which
# hold 1e-38 to 1e38, and are multiplied before that.
LIMITS = {
    "minutes": partial(check_number, above=0, most=MOST_MINUTES, optional=True),
    "epochs": partial(check_number, above=0, most=MOST_EPOCHS, optional=True),
    "batch_size": partial(check_int, most=MOST_BATCH),
    "optimizer": _optimizer,
    "learning_rate": partial(check_number, least=1e-12, most=1e20, optional=True),
    "weight_decay": partial(check_number, least=0, most=1e6, optional=True),
    "ema": partial(check_number, least=0, below=1),
    "warmup_steps": partial(check_int, least=0, most=MOST_STEPS),
    "evaluations": partial(check_int, most=MOST_EVALUATIONS),
    "patience": partial(check_int, most=MOST_EVALUATIONS, optional=True),
    "repeat_threshold": partial(check_number, above=0, most=1, optional=True),
    "freeze_statistics": partial(check_number, least=0, most=1, optional=True),
    "seed": partial(check_int, least=0, most=MOST_SEEDS - 1),
    "precision": partial(check_choice, choices=PRECISIONS),
    "synchronize": partial(check_choice, choices=(None, True, False)),
}


def default_rate(optimizer, batch_size):
    """The peak of the learning rate of a run that is not told one: that of the optimizer, times the
    square root of the batch, within the batches that were tried.

    >>> default_rate("muon", 16), round(default_rate("muon", 8), 4)
    (0.02, 0.0141)
    """
    least, most = MEASURED_BATCHES
    return LEARNING_RATES[optimizer] * math.sqrt(min(max(batch_size, least), most) / 16)


def checked(**values):
    """Checks values by their names in `LIMITS` and returns them as plain ones.

    Raises:
        ValueError: naming the argument.

    >>> checked(epochs=2, batch_size=8)
    {'epochs': 2.0, 'batch_size': 8}
    """
    return {name: LIMITS[name](value, name) for name, value in values.items()}


def checked_run(*, minutes=None, epochs=None, **values):
    """Checks as `checked` does, and that exactly one of the two budgets is given."""
    if (minutes is None) == (epochs is None):
        raise ValueError(
            f"Give a number of minutes or of epochs, one of the two. Received: minutes={minutes}, "
            f"epochs={epochs}"
        )
    return checked(minutes=minutes, epochs=epochs, **values)


def steps_of(epochs, pictures, batch_size):
    """The steps of a number of passes over the pictures; the last partial batch of a pass is left
    out.

    Raises:
        ValueError: if there are more than anyone can wait for.
    """
    per_pass = max(pictures // batch_size, 1)
    if epochs * per_pass > MOST_STEPS:
        raise ValueError(
            f"`epochs` must be at most {MOST_STEPS // per_pass} with {pictures} pictures and "
            f"batch_size={batch_size}: a run has at most {MOST_STEPS} steps. Received: "
            f"epochs={epochs:g}"
        )
    return max(round(epochs * per_pass), 1)


def check_memory(image_size, batch_size, processes=1):
    """Refuses a batch whose pictures alone do not fit the memory of this machine, if that is known:
    the system would end the process without a message.

    Args:
        image_size: (height, width), or `None` if it is not known. batch_size: over all
            processes.
    """
    if image_size is None:
        return
    height, width = image_size
    taken, there = batch_size // processes * height * width * 3 * 4, _memory()
    if taken > there:
        raise ValueError(
            f"`batch_size` must be smaller: {batch_size // processes} pictures of {height}x{width} "
            f"take {taken / 1e9:.0f} GB, of {there / 1e9:.0f} that this machine has."
        )


def _memory():
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system says it
        return math.inf


def processor():
    """What Linux says of its last processor: a dict of texts, empty on other systems."""
    text = ""
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/cpuinfo").read_text()
    lines = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in lines}


def bfloat16_units():
    """The processor's features that compute in bfloat16; `None` where nothing tells."""
    flags = processor().get("flags")  # x86's
    return None if flags is None else {"amx_bf16", "avx512_bf16"}.intersection(flags.split())
