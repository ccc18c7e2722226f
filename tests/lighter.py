"""TensorFlow and Keras with less around what they compute, for tests, which compute little.

What is changed here is no public part of them: where it is not found, the tests take longer.
"""

import contextlib
import functools
import sys


def lighten():
    """All of what follows, in a process that has imported TensorFlow."""
    if "tensorflow" in sys.modules:
        for lighter in (run_as_operators, leave_autotuning_out, remember_what_is_skipped):
            with contextlib.suppress(ImportError, AttributeError):
                lighter()


def run_as_operators():
    """From here on single operators, outside of functions, run as themselves: the same kernel,
    found in less time.

    TensorFlow makes a function of every single operator, and optimizes it as a graph, for each new
    shape, number and name in it: a millisecond, where the operator takes a hundredth. Tests meet
    tens of thousands: all variables of all nets. `tf.function` is what it is.
    """
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import context

    context.ensure_initialized()
    pywrap_tfe.TFE_ContextSetRunEagerOpAsFunction(context.context()._handle, False)


def leave_autotuning_out():
    """Of what Keras makes of arrays: see `pipeline.without_autotuning`. What a test leaves is
    collected minutes later, when the thread of each iterator sleeps for long."""
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    from keras_detblocks.data.pipeline import without_autotuning

    made = ArrayDataAdapter.get_tf_dataset
    ArrayDataAdapter.get_tf_dataset = lambda self: without_autotuning(made(self))


def remember_what_is_skipped():
    """In saving and loading Keras makes an empty layer for each layer, to see which attributes all
    layers have: it looks for what it remembers under another name (Keras 3.15)."""
    from keras.src.saving import saving_lib

    saving_lib.get_attr_skipset = functools.cache(saving_lib.get_attr_skipset)
