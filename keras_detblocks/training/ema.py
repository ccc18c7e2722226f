"""The exponential moving averages of weights and statistics, which the optimizer keeps in the
training step, and which of the two, averaged or raw, is judged."""

import contextlib

import keras

from .distribute import numpy_of


@contextlib.contextmanager
def averaged(model, other=None):
    """Within it the model has its averaged weights; afterward those of training again.

    For callbacks: when `fit` ends, Keras leaves the averaged weights in the model by itself.

    Args:
        model: compiled. other: a model of the same variables that gets the weights in its place.
    """
    with _exchanged(_on(other, model, _averages(model))):
        yield


def _averages(model):
    """`(variable, values)`; none before the first step and without averages."""
    return [(variable, numpy_of(average)) for variable, average in _pairs(model)]


def _on(other, model, pairs):
    """The pairs for the variables of another model, where there is one."""
    if other is None or other is model:
        return pairs
    places = {id(variable): i for i, variable in enumerate(model.variables)}
    return [(other.variables[places[id(variable)]], value) for variable, value in pairs]


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


def judged(model, evaluate, other=None):
    """`(result, averaged)` in a run: of the averaged weights, or of the raw ones where those are
    better and the average is young. `evaluate(model)` returns what has an `ap`; it is called with
    `other`, a model with the same weights, where that is given."""
    judge, pairs = other or model, _averages(model)
    with _exchanged(_on(other, model, pairs)):
        result = evaluate(judge)
    raw = evaluate(judge) if pairs and _is_young(model) else None
    return (raw, False) if raw is not None and raw.ap > result.ap else (result, bool(pairs))


def keep_better(model, evaluate, raw, other=None):
    """As `judged`, after a run: the model has its averages, `raw.pairs` the others; it keeps the
    better ones, or `other` does."""
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
