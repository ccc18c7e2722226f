"""Wraps a layer as a model."""

import keras

__all__ = ["as_model"]


def as_model(layer, input_shape, batch_size=None, name=None):
    """Wraps a layer, neck or context block into a functional model, for summary, plotting, export
    and timing.

    Args:
        layer: any Keras layer.
        input_shape: shape without the batch, `(H, W, C)` with `None` for a dynamic side, or a dict
            of such shapes for layers that take a dict of levels.
        batch_size: fixed batch size, or `None`.
        name: of the model; the layer's name with `_model` by default.

    Returns:
        A `keras.Model`; with a dict of shapes its input is a dict of the same keys.

    Example:

    >>> as_model(keras.layers.ReLU(), (8, 8, 3)).output_shape
    (None, 8, 8, 3)
    """
    if isinstance(input_shape, dict):
        inputs = {
            key: keras.Input(shape=shape, batch_size=batch_size, name=key)
            for key, shape in input_shape.items()
        }
    else:
        inputs = keras.Input(
            shape=tuple(input_shape),
            batch_size=batch_size,
            name="image" if input_shape[-1] == 3 else "x",
        )
    return keras.Model(inputs, layer(inputs), name=name or f"{layer.name}_model")
