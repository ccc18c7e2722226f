"""Makes Keras layers faster to construct: a net has hundreds of them, and most of their cost is
bookkeeping."""

import inspect

import keras

_PLAIN = frozenset((bool, int, float, str, type(None)))


class Lean:
    """A mixin that makes instances of a Keras layer faster; nothing else about them changes.

    Keras checks whether each attribute that is set on a layer, eighty of them on a convolution, is
    a variable, a layer or a list of these; plain values are set without this check. Keras also
    reads the signatures of the constructor and of `call` for each instance; here the functions
    remember them.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in ("__init__", "call"):
            function = vars(cls).get(name)
            if inspect.isfunction(function):
                function.__signature__ = inspect.signature(function)

    # on other backends a layer is a module of the backend
    if keras.backend.backend() == "tensorflow":

        def __setattr__(self, name, value):
            if type(value) in _PLAIN:
                object.__setattr__(self, name, value)
            else:
                super().__setattr__(name, value)
