"""Building nets that are only looked at."""

import contextlib

import keras


@contextlib.contextmanager
def without_values():
    """Variables made within get no values: a net of 644 million parameters costs no memory.

    Whatever traces such a net stays within too. Keras keeps a list of these variables and would
    give all of them values when a later stateless scope ends, gigabytes for what nobody needs any
    more: forgotten here.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        keras.utils.clear_session(free_memory=False)
