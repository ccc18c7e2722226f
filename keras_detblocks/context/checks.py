"""The input and argument checks that all context blocks share."""


def who(layer):
    return f"{type(layer).__name__} {layer.name!r}"


def check_map(shape, layer):
    """Checks that a shape is that of one feature map and returns it as a tuple.

    Raises:
        ValueError: on a rank other than 4, unknown channels, or a dict of levels.
    """
    if isinstance(shape, dict):
        raise ValueError(
            f"{who(layer)} takes one feature map (B, H, W, C), not a dict of levels: apply one layer to each level. "
            f"Received: the levels {sorted(shape)}"
        )
    shape = tuple(shape)
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"{who(layer)} expects a feature map (batch, height, width, channels) with known channels; add the batch axis or "
            f"transpose to channels-last. Received: shape {shape}"
        )
    return shape


def positive_ints(values, name, odd=False):
    """A tuple of the given ints, each at least 1, and odd where asked."""
    values = tuple(values) if isinstance(values, (tuple, list)) else values
    valid = isinstance(values, tuple) and values and all(isinstance(v, int) and v > 0 and (v % 2 or not odd) for v in values)
    if not valid:
        kind = "odd ints" if odd else "ints"
        raise ValueError(f"`{name}` must be a tuple of one or more {kind} of at least 1. Received: {name}={values!r}")
    return values


def check_count(value, name, optional=False):
    """Raises unless the value is an int of at least 1, or `None` where that is allowed."""
    if (value is None and optional) or (isinstance(value, int) and value > 0):
        return
    raise ValueError(f"`{name}` must be an int of at least 1{' or None' * optional}. Received: {name}={value!r}")
