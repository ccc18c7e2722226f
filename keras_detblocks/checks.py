"""The one vocabulary of arguments: ints, numbers, choices and level names are checked, and refused,
only here.

Every check returns the value in Python's own type, so that a config holds plain values whatever was
passed (NumPy's numbers too), or raises a `ValueError` of one sentence: what was expected, and what
was received.
"""

import difflib
import math
import numbers
import re

import numpy as np


def is_int(value, least=1, most=None):
    """Whether it is an int (NumPy's too) within both; `True` does not count as a number."""
    return (
        isinstance(value, numbers.Integral)
        and not isinstance(value, (bool, np.bool_))
        and value >= least
        and (most is None or value <= most)
    )


def check_int(value, name, least=1, optional=False, odd=False, most=None):
    """The value as an int, or `None` where that is allowed.

    Args:
        value: what was passed.
        name: of the argument, for the message.
        least: the smallest int that is allowed.
        optional: whether `None` is allowed.
        odd: whether it has to be odd.
        most: the largest int that is allowed, if there is one.

    Raises:
        ValueError: if it is not such an int.

    >>> check_int(np.int64(3), "filters")
    3
    """
    if value is None and optional:
        return None
    if not is_int(value, least, most) or (odd and value % 2 == 0):
        kind = f"an {'odd ' * odd}int of {_range(least, most)}{' or None' * optional}"
        raise ValueError(f"`{name}` must be {kind}. Received: {name}={value!r}")
    return int(value)


def _range(least, most):
    return f"at least {least}" + (f" and at most {most}" if most is not None else "")


def check_ints(values, name, least=1, odd=False, empty=False):
    """A tuple of ints, each as in `check_int`; at least one, unless it may be empty."""
    given = isinstance(values, (tuple, list, range, np.ndarray))
    if (
        not given
        or not (empty or len(values))
        or not all(is_int(v, least) and (v % 2 or not odd) for v in values)
    ):
        kind = f"a tuple of {'' if empty else 'one or more '}{'odd ' * odd}ints of at least {least}"
        raise ValueError(f"`{name}` must be {kind}. Received: {name}={values!r}")
    return tuple(int(v) for v in values)


def check_pair(value, name, most=None):
    """Two positive ints, of at most `most`, from one or from a pair: height and width of a kernel,
    a stride, an image."""
    pair = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value, value)
    if len(pair) != 2 or not all(is_int(v, most=most) for v in pair):
        raise ValueError(
            f"`{name}` must be an int of {_range(1, most)} or a pair of them. Received: "
            f"{name}={value!r}"
        )
    return tuple(int(v) for v in pair)


def one_or_pair(value, name):
    """As `check_pair`, but an int stays one: a config holds what was passed."""
    pair = check_pair(value, name)
    return pair if isinstance(value, (tuple, list, np.ndarray)) else pair[0]


def check_number(value, name, least=None, above=None, most=None, below=None, optional=False):
    """The value as a float, if it is a finite number within the limits that are given.

    >>> check_number(np.float32(0.5), "rate", least=0, below=1)
    0.5
    """
    if value is None and optional:
        return None
    limits = {"at least": least, "above": above, "at most": most, "below": below}
    given = {word: limit for word, limit in limits.items() if limit is not None}
    valid = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    valid = valid and _is_finite(value) and all(_WITHIN[w](value, x) for w, x in given.items())
    if not valid:
        kind = " and ".join(f"{word} {limit:g}" for word, limit in given.items())
        raise ValueError(
            f"`{name}` must be a finite number{f' {kind}' if kind else ''}{' or None' * optional}. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def _is_finite(number):
    try:
        return math.isfinite(number)
    except OverflowError:  # an int of hundreds of digits
        return False


_WITHIN = {
    "at least": lambda value, limit: value >= limit,
    "above": lambda value, limit: value > limit,
    "at most": lambda value, limit: value <= limit,
    "below": lambda value, limit: value < limit,
}


def check_flag(value, name):
    """The value as a bool, if it is `True` or `False` (NumPy's too)."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
    return bool(value)


def check_choice(value, name, choices):
    """The value, if it is one of the choices: strings, numbers or `None`."""
    value = value.item() if isinstance(value, np.generic) else value
    if not any(type(value) is type(each) and value == each for each in choices):
        *most, last = [repr(each) for each in choices]
        known = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(
            f"`{name}` must be {known}. {did_you_mean(value, choices)}Received: {name}={value!r}"
        )
    return value


def did_you_mean(name, known, count=3):
    """The sentence with the nearest known names and a space behind it, or nothing.

    >>> did_you_mean("fnp", ["fpn", "mlfpn", "sppf"])
    "Did you mean 'fpn' or 'mlfpn'? "
    """
    if not isinstance(name, str):
        return ""
    spelled = {each.lower(): each for each in known if isinstance(each, str)}
    near = difflib.get_close_matches(name.lower(), spelled, n=count, cutoff=0.3)
    named = " or ".join(repr(spelled[each]) for each in near)
    return f"Did you mean {named}? " if named else ""


def look_up(table, name, kind):
    """The value of a name in a dict; for an unknown name the message has the nearest ones, and all.

    >>> look_up({"fpn": 1, "sppf": 2}, "fnp", "neck")
    Traceback (most recent call last):
    ...
    ValueError: Unknown neck 'fnp'. Did you mean 'fpn'? Known: fpn, sppf.
    """
    if not isinstance(name, str) or name not in table:
        known = ", ".join(map(str, table))
        raise ValueError(f"Unknown {kind} {name!r}. {did_you_mean(name, table)}Known: {known}.")
    return table[name]


def who(layer):
    """How a message names a layer: its class and its own name."""
    return f"{type(layer).__name__} {layer.name!r}"


# Levels: level l is called "Pl" and has stride 2 ** l -------------------------------------------


def level_name(level):
    """The key of a level: 3 -> "P3"."""
    return f"P{level}"


def level_number(key):
    """The level of a key, or `None` if it is not one: "P3" -> 3."""
    match = re.fullmatch(r"P(\d+)", key) if isinstance(key, str) else None
    return int(match[1]) if match else None


def finest_first(names):
    """The names of levels in order.

    Raises:
        ValueError: if one is not that of a level.
    """
    others = [name for name in names if level_number(name) is None]
    if others:
        raise ValueError(
            f"A level is named P and its number, such as 'P3'. Received: {others[0]!r}"
        )
    return sorted(names, key=level_number)


def level_size(size, level):
    """Height and width of a level of an image: each divided by the stride and rounded up; an open
    side stays open.

    >>> level_size((200, None), 3)
    (25, None)
    """
    return tuple(None if side is None else -(-side // 2**level) for side in size)


def check_levels(levels, name="levels", optional=False):
    """A tuple of level numbers, ascending, or `None` where that is allowed."""
    if levels is None and optional:
        return None
    given = isinstance(levels, (tuple, list, range, np.ndarray)) and len(levels) > 0
    valid = given and all(is_int(each, least=0) for each in levels)
    if not valid or list(levels) != sorted(set(levels)):
        raise ValueError(
            f"`{name}` must be ascending level numbers such as (3, 4, 5). Received: "
            f"{name}={levels!r}"
        )
    return tuple(int(each) for each in levels)
