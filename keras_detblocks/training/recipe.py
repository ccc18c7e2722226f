"""The recipe for training a detector: optimizers with their learning rates, clipping, averaged
weights, precision."""

import contextlib

import keras

from ..detection.model import check_detector
from ..layers.folding import statistics_kept
from ..optimizers import AdamW, ConvMuon, conv_groups
from .distribute import accelerators
from .limits import BFLOAT16_CONV, LEARNING_RATES, checked

# The head's last convolutions, by path: Muon is for layers inside the net.
PREDICTORS = "(logits|distances)_out/"


def compile_detector(
    model, learning_rate=None, weight_decay=0.02, ema=0.99, optimizer="muon", **kwargs
):
    """Compiles a detector with an optimizer of `LEARNING_RATES`, clipped gradients and averaged
    weights.

    Args:
        model: a `Detector`.
        learning_rate: a number, one of Keras' schedules, or `None` for the optimizer's own at 16
            images per step: 0.02 with Muon, 0.008 with AdamW.
        weight_decay: decoupled from the gradients, as in AdamW.
        ema: momentum of the averaged weights; 0 for none.
        optimizer: `"muon"` or `"adamw"`.
        **kwargs: arguments of `Detector.compile`.
    """
    check_detector(model, "model")
    given = checked(weight_decay=weight_decay, ema=ema, optimizer=optimizer)
    optimizer, ema = given["optimizer"], given["ema"]
    if not callable(learning_rate):
        learning_rate = checked(learning_rate=learning_rate)["learning_rate"]
    learning_rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    common = {
        "weight_decay": given["weight_decay"],
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


@contextlib.contextmanager
def built_with(precision):
    """A context that builds layers with the dtype policy for a `precision` of `train`."""
    kept = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_policy(precision))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(kept)


def _policy(precision):
    if precision == "auto":
        return "mixed_float16" if accelerators() else "float32"
    return "float32" if precision == BFLOAT16_CONV else precision


def check_precision(precision):
    """Raises a `ValueError` if this machine, or Keras' backend, does not have the precision."""
    elsewhere = keras.backend.backend() != "tensorflow" or accelerators()
    if precision == BFLOAT16_CONV and elsewhere:
        raise ValueError(
            "`precision` must be another one on GPUs and on other backends than TensorFlow, such "
            f"as 'mixed_bfloat16'. Received: precision={precision!r}"
        )


def make_training_step(model, precision, kept=False):
    """Makes a compiled model's `train_function` anew, whose steps compute in a `precision` of
    `train` and, with `kept`, with the moving statistics of batch normalizations. Keras' own is
    there again once it is set to `None`."""
    model.train_function = None  # JAX would take the compiled one of an equal function
    model.make_train_function(force=True)
    step = model.train_function

    def changed(*args):
        with contextlib.ExitStack() as stack:  # the first call traces and compiles
            if kept:
                stack.enter_context(statistics_kept())
            if precision == BFLOAT16_CONV:
                stack.enter_context(_convolutions_in_bfloat16())
            return step(*args)

    model.train_function = changed


@contextlib.contextmanager
def _convolutions_in_bfloat16():
    """A context in which TensorFlow's CPU graphs, when they run first, are rewritten."""
    import tensorflow as tf

    name = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(name, False)
    tf.config.optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before})
