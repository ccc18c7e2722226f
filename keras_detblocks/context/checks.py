"""The input and argument checks that all context blocks share."""

import math
import numbers

import numpy as np


def who(layer):
    return f"{type(layer).__name__} {layer.name!r}"


def check_map(shape, layer):
    """Checks that a shape is that of one feature map and returns it as a tuple.

    Raises:
        ValueError: on a rank other than 4, unknown channels, or a dict of levels.
    """
    if isinstance(shape, dict):
        raise ValueError(
            f"{who(layer)} takes one feature map (B, H, W, C), not a dict of levels: apply one "
            f"layer to each level. "
            f"Received: the levels {sorted(shape)}"
        )
    shape = tuple(shape)
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"{who(layer)} expects a feature map (batch, height, width, channels) with known "
            f"channels; add the batch axis or "
            f"transpose to channels-last. Received: shape {shape}"
        )
    return shape


def is_int(value, least=1):
    """Whether it is an int (of NumPy, too) of at least `least`; `True` is no number here."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least


def positive_ints(values, name, odd=False, empty=False):
    """A tuple of the given ints as Python's own, each at least 1, odd where asked, and at least one
    unless it may be empty."""
    given = isinstance(values, (tuple, list, np.ndarray))
    if (
        not given
        or not (empty or len(values))
        or not all(is_int(v) and (v % 2 or not odd) for v in values)
    ):
        kind = "odd ints" if odd else "ints"
        count = "" if empty else "one or more "
        raise ValueError(
            f"`{name}` must be a tuple of {count}{kind} of at least 1. Received: {name}={values!r}"
        )
    return tuple(int(v) for v in values)


def check_count(value, name, optional=False, odd=False):
    """The value as Python's own int, or `None` where that is allowed; raises unless it is at least
    1, and odd where asked."""
    if value is None and optional:
        return None
    if not is_int(value) or (odd and value % 2 == 0):
        kind = "odd int" if odd else "int"
        raise ValueError(
            f"`{name}` must be an {kind} of at least 1{' or None' * optional}. Received: "
            f"{name}={value!r}"
        )
    return int(value)


def check_number(value, name, positive=False):
    """The value as a float; raises unless it is a finite number, above 0 where asked."""
    number = (
        isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    )
    if not number or (positive and value <= 0):
        raise ValueError(
            f"`{name}` must be a finite number{' above 0' * positive}. Received: {name}={value!r}"
        )
    return float(value)
