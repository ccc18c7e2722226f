"""Trains a convolution and the batch normalization after it as one operator where that has fixed
statistics, because it is frozen or within `statistics_kept()`.

Such a normalization is a factor and a shift of each channel. By itself it takes two to four passes
over everything that the convolution wrote, a quarter of a training step on CPU; in the
convolution's kernel and bias it costs nothing. The results are equal but for rounding.
"""

import contextlib
import contextvars

import keras
from keras import ops

# (id of a convolution -> the normalization that it computes too, ids of these normalizations)
_FOLDED = contextvars.ContextVar("folded", default=({}, frozenset()))
_KEPT = []  # not empty within `statistics_kept()`, in all threads: tf.distribute traces in others


def normalized(conv, norm, x, training):
    """`norm(conv(x))`, or without a normalization `conv(x)`; in training as one operator if the
    normalization has fixed statistics."""
    if norm is None:
        return conv(x)
    with folded([(conv, norm)] if training and _foldable(conv, norm) else ()):
        return norm(conv(x), training=training)


@contextlib.contextmanager
def folded(pairs):
    """A context in which each convolution of the pairs computes the normalization of its pair
    too."""
    norms = {id(conv): norm for conv, norm in pairs}
    token = _FOLDED.set((norms, frozenset(map(id, norms.values()))))
    try:
        yield
    finally:
        _FOLDED.reset(token)


@contextlib.contextmanager
def statistics_kept():
    """A context in which batch normalizations train with their moving statistics and keep them;
    their factors and shifts learn. It counts where a training step is traced."""
    _KEPT.append(True)
    try:
        yield
    finally:
        _KEPT.pop()


def statistics_are_kept():
    """Whether this is within `statistics_kept()`."""
    return bool(_KEPT)


def foldable_pairs(model):
    """The pairs of a functional model, and of all models in it, of a convolution and a batch
    normalization with fixed statistics that alone reads its output."""
    for each in model._flatten_layers():
        if isinstance(each, keras.Model) and hasattr(each, "operations"):
            yield from (pair for pair in _neighbors(each) if _foldable(*pair))


def _neighbors(model):
    """Pairs of two operations of a functional model, of which the second alone reads the first."""
    returned = {id(tensor) for tensor in keras.tree.flatten(model.outputs)}
    for second in model.operations:
        nodes = second._inbound_nodes
        if len(nodes) != 1 or len(nodes[0].parent_nodes) != 1:
            continue
        first = nodes[0].parent_nodes[0].operation
        outputs = {id(tensor) for tensor in first._inbound_nodes[0].output_tensors}
        if len(first._inbound_nodes) == len(first._outbound_nodes) == 1 and not outputs & returned:
            yield first, second


def _foldable(conv, norm):
    from .conv import Conv2D
    from .normalization import BatchNormalization

    return (
        type(conv) is Conv2D  # subclasses may do something else
        and type(norm) is BatchNormalization
        and (not norm.trainable or statistics_are_kept())
        and norm.built
        and norm.axis in (-1, 3)
        and not getattr(norm, "renorm", False)  # in Keras from 3.14 on
        and conv.activation is keras.activations.linear
        and conv.compute_dtype == norm.compute_dtype == "float32"
    )


def norm_within(conv):
    """The normalization that this convolution computes too, or `None`."""
    return _FOLDED.get()[0].get(id(conv))


def is_folded(norm):
    """Whether the convolution before it computes this normalization."""
    return id(norm) in _FOLDED.get()[1]


def scale_and_shift(norm):
    """The factor and the shift of each channel that a normalization with fixed statistics is."""
    scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
    scale = scale * norm.gamma if norm.scale else scale
    shift = -norm.moving_mean * scale
    return scale, shift + norm.beta if norm.center else shift
