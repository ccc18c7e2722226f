"""The exponential moving averages of weights and statistics, which the optimizer keeps in the
training step, and which of the two, averaged or raw, is judged."""

import contextlib

import keras

from .distribute import numpy_of


@contextlib.contextmanager
def averaged(model):
    """Within it the model has its averaged weights; afterwards those of training again.

    For callbacks: when `fit` ends, Keras leaves the averaged weights in the model by itself.
    """
    with _exchanged([(variable, numpy_of(average)) for variable, average in _pairs(model)]):
        yield


@contextlib.contextmanager
def _exchanged(pairs):
    """Within it the variables have the values that they are paired with."""
    kept = [(variable, numpy_of(variable)) for variable, _ in pairs]
    _assign(pairs)
    try:
        yield
    finally:
        _assign(kept)


def _assign(pairs):
    for variable, value in pairs:
        variable.assign(value)


def _optimizer(model):
    """The optimizer itself, which the loss scaling of mixed precision wraps."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def _pairs(model):
    """`(variable, average)`; none before the first step and without averages."""
    optimizer = _optimizer(model)
    if hasattr(optimizer, "averages"):
        return optimizer.averages()
    if not optimizer.use_ema or not int(optimizer.iterations.numpy()):
        return []
    return list(zip(model.trainable_variables, optimizer._model_variables_moving_average))


class RawWeights(keras.callbacks.Callback):
    """Keeps the weights of training at the end of `fit`, where Keras puts the averages in their
    place, if those are so young that the raw weights may be better: `pairs`, else none."""

    pairs = ()

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training:
            self.note(self.model)

    def note(self, model):
        if _is_young(model):
            self.pairs = [(variable, numpy_of(variable)) for variable, _ in _pairs(model)]

    def put_back(self):
        """Gives the model the weights that were kept."""
        _assign(self.pairs)


def _is_young(model):
    return getattr(_optimizer(model), "is_young", False)


def judged(model, evaluate):
    """`(result, averaged)` in a run: of the averaged weights, or of the raw ones where those are
    better and the average is young. `evaluate(model)` returns what has an `ap`."""
    pairs = _pairs(model)
    with _exchanged([(variable, numpy_of(average)) for variable, average in pairs]):
        result = evaluate(model)
    raw = evaluate(model) if pairs and _is_young(model) else None
    return (raw, False) if raw is not None and raw.ap > result.ap else (result, bool(pairs))


def keep_better(model, evaluate, raw):
    """As `judged`, after a run: the model has its averages, `raw.pairs` the others; it keeps the
    better ones."""
    result = evaluate(model)
    if raw.pairs:
        with _exchanged(raw.pairs):
            other = evaluate(model)
        if other.ap > result.ap:
            raw.put_back()
            return other, False
    return result, bool(_optimizer(model).use_ema)
