"""The exponential moving average of the weights, which the optimizer keeps in the training step."""

import contextlib


@contextlib.contextmanager
def averaged(model):
    """Within it the model has its averaged weights; afterwards those of training again.

    For callbacks: when `fit` ends, Keras leaves the averaged weights in the model by itself.
    """
    kept = [variable.numpy() for variable in model.trainable_variables]
    _assign(model, [average.numpy() for average in _averages(model)])
    try:
        yield
    finally:
        _assign(model, kept)


def _averages(model):
    optimizer = getattr(
        model.optimizer, "inner_optimizer", model.optimizer
    )  # loss scaling of mixed precision wraps it
    averages = (
        getattr(optimizer, "_model_variables_moving_average", None) if optimizer.use_ema else None
    )
    if not averages or not int(optimizer.iterations):
        return model.trainable_variables  # no step yet, or no averaging
    return averages


def _assign(model, values):
    for variable, value in zip(model.trainable_variables, values):
        variable.assign(value)
