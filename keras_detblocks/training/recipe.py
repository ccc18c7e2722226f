"""The recipe that trains a detector: optimizers with their learning rates, clipping, averaged
weights, precision."""

import contextlib

import keras

from ..checks import check_int, check_number
from ..optimizers import AdamW, ConvMuon, conv_groups
from .distribute import accelerators

# Optimizers by name, with the learning rates that did best from scratch.
LEARNING_RATES = {"muon": 20e-3, "adamw": 8e-3}
MOST_SEEDS = 2**32  # those of NumPy
# The head's last convolutions, by path: Muon is for layers within the net.
PREDICTORS = "(logits|distances)_out/"


def compile_detector(
    model, learning_rate=None, weight_decay=0.02, ema=0.99, optimizer="muon", **kwargs
):
    """Compiles a detector with an optimizer of `LEARNING_RATES`, clipped gradients and averaged
    weights.

    `learning_rate=None` is the optimizer's own; `**kwargs` are `Detector.compile`'s.
    """
    check_optimizer(optimizer)
    learning_rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    common = {
        "weight_decay": weight_decay,
        "global_clipnorm": 10.0,
        "use_ema": bool(ema),
        "ema_momentum": ema or 0.99,
    }
    if optimizer == "adamw":
        model.compile(AdamW(learning_rate, **common), **kwargs)
    else:
        model.compile(
            ConvMuon(
                learning_rate, groups=conv_groups(model), exclude_layers=[PREDICTORS], **common
            ),
            **kwargs,
        )


def check_optimizer(optimizer):
    if optimizer not in LEARNING_RATES:
        raise ValueError(
            f"`optimizer` must be one of {', '.join(LEARNING_RATES)}. Received: "
            f"optimizer={optimizer!r}"
        )


def check_recipe(learning_rate, weight_decay, ema, warmup_steps, seed, optimizer="muon"):
    """Refuses impossible numbers; cheap, so before any data is read.

    Raises:
        ValueError: naming the argument.
    """
    check_optimizer(optimizer)
    check_number(learning_rate, "learning_rate", above=0, optional=True)
    check_number(weight_decay, "weight_decay", least=0, optional=True)
    check_number(ema, "ema", least=0, below=1)
    check_int(warmup_steps, "warmup_steps", least=0)
    if check_int(seed, "seed", least=0) >= MOST_SEEDS:
        raise ValueError(f"`seed` must be below {MOST_SEEDS}. Received: seed={seed}")


@contextlib.contextmanager
def built_with(precision):
    """Within it layers are built with the dtype policy of a `precision` of `train`."""
    kept = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_policy(precision))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(kept)


def _policy(precision):
    if precision != "auto":
        return precision
    return "mixed_float16" if accelerators() else "float32"
