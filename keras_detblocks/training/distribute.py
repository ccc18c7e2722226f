"""Batch normalisation over all replicas."""

import keras


def synchronize_batch_norm(model):
    """Makes every `BatchNormalization` of a model, nested ones too, take its statistics over all
    replicas; returns the model.

    TensorFlow only. Call it before `compile`; worth it where the batch of one replica is small
    (below about 8 images).
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Synchronised statistics exist on TensorFlow only. Received backend: "
            f"{keras.backend.backend()!r}"
        )
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return model
