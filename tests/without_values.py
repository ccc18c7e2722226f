"""Building nets that are only looked at."""

import contextlib
from unittest import mock

import keras

from keras_detblocks.layers.initializer import FanOutNormal


@contextlib.contextmanager
def without_values():
    """Variables made within get no values: a net of 644 million parameters costs no memory. Where a
    trace asks for one, it is zero, since drawing it takes longer than everything else.

    Whatever traces such a net stays within too. Keras keeps a list of these variables and would
    give all of them values when a later stateless scope ends, gigabytes for what nobody needs any
    more: forgotten here.
    """
    try:
        with keras.StatelessScope(initialize_variables=False), _zeros():
            yield
    finally:
        keras.utils.clear_session(free_memory=False)


def _zeros():
    return mock.patch.object(FanOutNormal, "__call__", keras.initializers.Zeros.__call__)
