"""Exponential moving averages of weights and statistics, which the optimizer updates in the
training step, and the choice between averaged and raw weights."""

import contextlib

import keras

from ..checks import check_layer
from .distribute import numpy_of


@contextlib.contextmanager
def averaged(model, other=None):
    """A context in which the model has its averaged weights; afterward it has those of training
    again.

    It is meant for callbacks: when `fit` ends, Keras itself leaves the averaged weights in the
    model.

    Args:
        model: compiled. other: a model with the same variables that gets the weights instead.
    """
    with _exchanged(_on(other, check_layer(model), _averages(model))):
        yield


def _averages(model):
    """Pairs `(variable, values)`; an empty list before the first step and without averages."""
    return [(variable, numpy_of(average)) for variable, average in _pairs(model)]


def _on(other, model, pairs):
    """The pairs for the variables of another model, if one is given."""
    if other is None or other is model:
        return pairs
    places = {id(variable): i for i, variable in enumerate(model.variables)}
    return [(other.variables[places[id(variable)]], value) for variable, value in pairs]


@contextlib.contextmanager
def _exchanged(pairs):
    """A context in which the variables have the values that they are paired with."""
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
    """The optimizer itself, without the loss scaling that mixed precision wraps around it."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def _pairs(model):
    """Pairs `(variable, average)`; an empty list before the first step and without averages."""
    optimizer = _optimizer(model)
    if hasattr(optimizer, "averages"):
        return optimizer.averages()
    if not optimizer.use_ema or not int(optimizer.iterations.numpy()):
        return []
    return list(zip(model.trainable_variables, optimizer._model_variables_moving_average))


class RawWeights(keras.callbacks.Callback):
    """Keeps the weights of training in `pairs` at the end of `fit`, when Keras replaces them by the
    averages, if these are so young that the raw weights may be better; else `pairs` stays empty."""

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


def judged(model, evaluate, other=None):
    """Returns `(result, averaged)` during a run: the result of the averaged weights, or of the raw
    ones if these are better and the average is young. `evaluate(model)` returns an object with an
    `ap`; it is called with `other`, a model with the same weights, if that is given."""
    judge, pairs = other or model, _averages(model)
    with _exchanged(_on(other, model, pairs)):
        result = evaluate(judge)
    raw = evaluate(judge) if pairs and _is_young(model) else None
    return (raw, False) if raw is not None and raw.ap > result.ap else (result, bool(pairs))


def keep_better(model, evaluate, raw, other=None):
    """Does the same as `judged` after a run, when the model has its averages and `raw.pairs` the
    others: the model, or `other`, keeps the better ones."""
    judge = other or model
    result = evaluate(judge)
    if raw.pairs:
        pairs = _on(other, model, raw.pairs)
        with _exchanged(pairs):
            second = evaluate(judge)
        if second.ap > result.ap:
            _assign(pairs)
            return second, False
    return result, bool(_optimizer(model).use_ema)
