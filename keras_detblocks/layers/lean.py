"""What makes Keras layers in less time: a net has hundreds of them, and most of their cost is
bookkeeping."""

import inspect

import keras

_PLAIN = frozenset((bool, int, float, str, type(None)))


class Lean:
    """Mixed into a Keras layer, makes its instances in less time; nothing else about them changes.

    Keras asks of every attribute that is set on a layer, eighty a convolution, whether it is a
    variable, a layer or a list of these; plain values are set without being asked. And it reads the
    signatures of the constructor and of `call` for each instance, by their code; here the functions
    know them.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in ("__init__", "call"):
            function = vars(cls).get(name)
            if inspect.isfunction(function):
                function.__signature__ = inspect.signature(function)

    if keras.backend.backend() == "tensorflow":  # elsewhere a layer is a module of the backend's

        def __setattr__(self, name, value):
            if type(value) in _PLAIN:
                object.__setattr__(self, name, value)
            else:
                super().__setattr__(name, value)
