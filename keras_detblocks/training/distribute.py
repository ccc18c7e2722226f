"""Batch normalization over all replicas, accelerators, the values of variables."""

import contextlib

import keras
import numpy as np

# Fewer images than this on a replica make poor statistics.
LEAST_IMAGES = 8


def synchronize_batch_norm(model):
    """Makes every `BatchNormalization` of a model, nested ones too, take its statistics over all
    replicas; returns the model.

    TensorFlow only (on JAX they are always taken so). Call it before `compile`; worth it where the
    batch of one replica is small (below about 8 images).
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Synchronized statistics exist on TensorFlow only. Received backend: "
            f"{keras.backend.backend()!r}"
        )
    for layer in _batch_norms(model):
        layer.synchronized = True
    return model


def _batch_norms(model):
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


@contextlib.contextmanager
def for_any_backend(model):
    """Within it, what is saved loads on every backend: JAX refuses synchronized statistics."""
    layers = [layer for layer in _batch_norms(model) if layer.synchronized]
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
    """Gives a scalar Keras variable a value, in a third of the time that Keras' own way takes: for
    what is set in every step."""
    if keras.backend.backend() == "tensorflow":
        variable.value.assign(np.float32(number), read_value=False)
    else:
        variable.assign(number)


def numpy_of(variable):
    """The values of a Keras variable."""
    if keras.backend.backend() == "tensorflow":
        return variable.numpy()
    return np.asarray(variable.value)
