"""Tools for several devices: batch normalization over all replicas, accelerators, values of
variables."""

import contextlib

import keras
import numpy as np

from ..checks import check_layer
from ..layers.normalization import batch_norms

# Fewer images than this on a replica give poor statistics.
LEAST_IMAGES = 8


def synchronize_batch_norm(model):
    """Makes every `BatchNormalization` of a model, nested ones too, take its statistics over all
    replicas; returns the model.

    TensorFlow only (JAX always does it). Call it before `compile`; it pays off if the batch of one
    replica is small (below about 8 images).
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Synchronized statistics exist on TensorFlow only. Received backend: "
            f"{keras.backend.backend()!r}"
        )
    for layer in batch_norms(check_layer(model)):
        layer.synchronized = True
    return model


@contextlib.contextmanager
def for_any_backend(model):
    """A context in which saved files load on every backend: JAX refuses synchronized statistics."""
    layers = [layer for layer in batch_norms(model) if layer.synchronized]
    for layer in layers:
        layer.synchronized = False
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = True


def accelerators():
    """Whether there is a GPU or TPU that Keras' backend computes on."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    return any(not device.startswith("cpu") for device in keras.distribution.list_devices())


def set_number(variable, number):
    """Sets a scalar Keras variable in a third of the time of Keras' own way, for variables that are
    set in every step."""
    if keras.backend.backend() == "tensorflow":
        variable.value.assign(np.float32(number), read_value=False)
    else:
        variable.assign(number)


def numpy_of(variable):
    """The values of a Keras variable."""
    if keras.backend.backend() == "tensorflow":
        return variable.numpy()
    return np.asarray(variable.value)
