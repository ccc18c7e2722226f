"""Wraps a layer as a model."""

import keras

from ..checks import check_int, check_shape

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

    Raises:
        ValueError: on what is no layer, shape or batch size.

    Example:

    >>> as_model(keras.layers.ReLU(), (8, 8, 3)).output_shape
    (None, 8, 8, 3)
    """
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"`layer` must be a keras.layers.Layer. Received: layer={layer!r}")
    batch_size = check_int(batch_size, "batch_size", optional=True)
    if isinstance(input_shape, dict):
        shapes = {key: check_shape(each, "input_shape") for key, each in input_shape.items()}
        inputs = {
            key: keras.Input(shape=shape, batch_size=batch_size, name=key)
            for key, shape in shapes.items()
        }
    else:
        shape = check_shape(input_shape, "input_shape")
        name_of_input = "image" if shape[-1:] == (3,) else "x"
        inputs = keras.Input(shape=shape, batch_size=batch_size, name=name_of_input)
    return keras.Model(inputs, layer(inputs), name=name or f"{layer.name}_model")
