"""Single TensorFlow operators, outside of functions, without the function that TensorFlow makes of
each."""

import contextlib
import sys


def run_as_operators():
    """From here on each runs as itself: the same kernel, found in less time.

    TensorFlow makes a function of every single operator, and optimizes it as a graph, for each new
    shape, number and name in it: a millisecond, where the operator takes a hundredth. Tests meet
    tens of thousands: all variables of all nets. `tf.function` is what it is. What does this is no
    public part of TensorFlow: without it the tests take longer.
    """
    if "tensorflow" in sys.modules:
        with contextlib.suppress(ImportError, AttributeError):
            from tensorflow.python import pywrap_tfe
            from tensorflow.python.eager import context

            context.ensure_initialized()
            pywrap_tfe.TFE_ContextSetRunEagerOpAsFunction(context.context()._handle, False)
