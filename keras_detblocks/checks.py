"""The one vocabulary of arguments: ints, numbers, choices, paths, kinds of objects and level names
are checked, and refused, only here.

Every check returns the value in Python's own type, so that a config holds plain values whatever was
passed (NumPy's numbers too), or raises a `ValueError` of one sentence: what was expected, and what
was received.
"""

import difflib
import math
import numbers
import os
import pathlib
import re

import numpy as np


def plain(value):
    """NumPy's numbers, and its arrays without dimensions, as Python's; all else as it is.

    >>> plain(np.array(3))
    3
    """
    single = isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0
    return value.item() if single else value


def _several(value):
    """Whether it is a sequence of numbers."""
    return isinstance(plain(value), (tuple, list, range, np.ndarray))


def is_int(value, least=1, most=None):
    """Whether it is an int (NumPy's too) within the limits that are given; `True` does not count as
    a number."""
    value = plain(value)
    return (
        isinstance(value, numbers.Integral)
        and not isinstance(value, bool)
        and (least is None or value >= least)
        and (most is None or value <= most)
    )


def check_int(value, name, least=1, optional=False, odd=False, most=None):
    """The value as an int, or `None` where that is allowed.

    Args:
        value: what was passed.
        name: of the argument, for the message.
        least: the smallest int that is allowed; `None` for any.
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
        kind = f"an {'odd ' * odd}int{_range(least, most)}{' or None' * optional}"
        raise ValueError(f"`{name}` must be {kind}. Received: {name}={value!r}")
    return int(value)


def _range(least, most):
    limits = [("at least", least), ("at most", most)]
    given = [f"{word} {limit}" for word, limit in limits if limit is not None]
    return f" of {' and '.join(given)}" if given else ""


def check_ints(values, name, least=1, odd=False, empty=False):
    """A tuple of ints, each as in `check_int`; at least one, unless it may be empty."""
    if (
        not _several(values)
        or not (empty or len(values))
        or not all(is_int(v, least) and (v % 2 or not odd) for v in values)
    ):
        kind = f"a tuple of {'' if empty else 'one or more '}{'odd ' * odd}ints of at least {least}"
        raise ValueError(f"`{name}` must be {kind}. Received: {name}={values!r}")
    return tuple(int(v) for v in values)


def check_pair(value, name, most=None, least=1, optional=False):
    """Two ints from one or from a pair: height and width of a kernel, a stride, an image; or `None`
    where that is allowed."""
    if value is None and optional:
        return None
    pair = tuple(value) if _several(value) else (value, value)
    if len(pair) != 2 or not all(is_int(v, least, most) for v in pair):
        kind = f"an int{_range(least, most)} or a pair of them{' or None' * optional}"
        raise ValueError(f"`{name}` must be {kind}. Received: {name}={value!r}")
    return tuple(int(v) for v in pair)


def one_or_pair(value, name):
    """Checks as `check_pair` does, but an int stays one: a config holds what was passed."""
    pair = check_pair(value, name)
    return pair if _several(value) else pair[0]


def check_shape(shape, name, form=None):
    """A shape as a tuple of ints, with `None` for open sides; it has three if `form` names them.

    >>> check_shape([224, None, 3], "input_shape", "(height, width, channels)")
    (224, None, 3)
    """
    # TensorFlow's shapes and NumPy's arrays are sequences too; a string or a number is not.
    known = hasattr(plain(shape), "__len__") and not isinstance(shape, (str, bytes, dict, set))
    sides = tuple(shape) if known else ()
    fits = known and (form is None or len(sides) == 3)
    if not fits or not all(n is None or is_int(n) for n in sides):
        kind = f"three integers, {form}" if form else "integers, without the batch"
        raise ValueError(
            f"`{name}` must be a tuple of {kind}, of at least 1, or None where a side is open. "
            f"Received: {name}={shape!r}"
        )
    return tuple(None if n is None else int(n) for n in sides)


def check_number(value, name, least=None, above=None, most=None, below=None, optional=False):
    """The value as a float, if it is a finite number within the limits that are given.

    >>> check_number(np.float32(0.5), "rate", least=0, below=1)
    0.5
    """
    if value is None and optional:
        return None
    limits = {"at least": least, "above": above, "at most": most, "below": below}
    if not _is_number(value, limits):
        raise ValueError(
            f"`{name}` must be a finite number{_within(limits)}{' or None' * optional}. Received: "
            f"{name}={value!r}"
        )
    return float(plain(value))


def check_numbers(values, name, count=None, least=None, above=None):
    """A tuple of floats, each as in `check_number`; `count` of them, or one or more.

    >>> check_numbers((1, np.float32(2.5)), "scale", count=2, above=0)
    (1.0, 2.5)
    """
    limits = {"at least": least, "above": above}
    fits = _several(values) and (len(values) == count if count else len(values))
    if not fits or not all(_is_number(each, limits) for each in values):
        kind = f"a tuple of {count or 'one or more'} finite numbers{_within(limits)}"
        raise ValueError(f"`{name}` must be {kind}. Received: {name}={values!r}")
    return tuple(float(plain(each)) for each in values)


def check_seed(seed, name="seed"):
    """An int of at least 0, or a tuple of such ints."""
    return check_ints(seed, name, least=0) if _several(seed) else check_int(seed, name, least=0)


def check_generator(rng, name="rng"):
    """A `numpy.random.Generator`: itself, or one of a seed; for `None` another one each time."""
    if isinstance(rng, (np.random.Generator, np.random.BitGenerator, np.random.SeedSequence)):
        return np.random.default_rng(rng)
    return np.random.default_rng(None if rng is None else check_seed(rng, name))


def _is_number(value, limits):
    value = plain(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an int of hundreds of digits
        return False
    return finite and all(
        limit is None or _WITHIN[word](value, limit) for word, limit in limits.items()
    )


def _within(limits):
    given = [f"{word} {limit:g}" for word, limit in limits.items() if limit is not None]
    return f" {' and '.join(given)}" if given else ""


_WITHIN = {
    "at least": lambda value, limit: value >= limit,
    "above": lambda value, limit: value > limit,
    "at most": lambda value, limit: value <= limit,
    "below": lambda value, limit: value < limit,
}


def check_flag(value, name, other=None):
    """The value as a bool, if it is `True` or `False` (NumPy's too); `other` names what the caller
    takes instead."""
    if not isinstance(plain(value), bool):
        kind = f"True, False or {other}" if other else "True or False"
        raise ValueError(f"`{name}` must be {kind}. Received: {name}={value!r}")
    return bool(value)


def check_flags(options, *names):
    """A dict of arguments with those of these names that it has as bools."""
    return options | {name: check_flag(options[name], name) for name in names if name in options}


def set_fields(instance, values):
    """Sets fields of a frozen dataclass to their checked values, in its `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def check_names(names, name):
    """A tuple of strings, from a list of names; a single string is refused."""
    if not isinstance(plain(names), (tuple, list, np.ndarray)):
        raise ValueError(f"`{name}` must be a list of names. Received: {name}={names!r}")
    return tuple(map(str, names))


def check_path(value, name, optional=False):
    """A string or path as a `pathlib.Path`, or `None` where that is allowed.

    >>> check_path("runs/first", "out").name
    'first'
    """
    if value is None and optional:
        return None
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise refused(value, name, "a path, as a string or a pathlib.Path")
    return pathlib.Path(value)


def check_kind(value, name, kinds, expected):
    """The value, if it is an instance of a class, or of one of several; `expected` names it in the
    message, and says where one comes from."""
    if not isinstance(value, kinds):
        raise refused(value, name, expected)
    return value


def check_layer(value, name="model"):
    """The value, if it is a Keras layer, as every model is."""
    import keras

    return check_kind(value, name, keras.layers.Layer, "a Keras model or layer")


def refused(value, name, expected):
    """The error to raise for a value of another kind; a long `repr` is cut off."""
    text = repr(value)
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return ValueError(f"`{name}` must be {expected}. Received: {name}={text}")


def check_choice(value, name, choices):
    """The value, if it is one of the choices: strings, numbers or `None`."""
    value = plain(value)
    if not any(type(value) is type(each) and value == each for each in choices):
        *most, last = [repr(each) for each in choices]
        known = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(
            f"`{name}` must be {known}. {did_you_mean(value, choices)}Received: {name}={value!r}"
        )
    return value


def did_you_mean(name, known, count=3):
    """The sentence with the nearest known names, followed by a space, or nothing.

    >>> did_you_mean("fnp", ["fpn", "mlfpn", "sppf"])
    "Did you mean 'fpn' or 'mlfpn'? "
    """
    if not isinstance(name, str):
        return ""
    by_lower = {each.lower(): each for each in known if isinstance(each, str)}
    near = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.3)
    named = " or ".join(repr(by_lower[each]) for each in near)
    return f"Did you mean {named}? " if named else ""


def look_up(table, name, kind):
    """The value of a name in a dict, in any case; for an unknown one as `spelled`.

    >>> look_up({"fpn": 1, "sppf": 2}, "fnp", "neck")
    Traceback (most recent call last):
    ...
    ValueError: Unknown neck 'fnp'. Did you mean 'fpn'? Known: fpn, sppf.
    """
    return table[spelled(table, name, kind)]


def spelled(table, name, kind):
    """A name, given in any case, as a dict or list of names has it.

    Raises:
        ValueError: for an unknown one, with the nearest ones, and all.

    >>> spelled(["fpn", "sppf"], "FPN", "neck")
    'fpn'
    """
    found = {each.lower(): each for each in table}
    if not isinstance(name, str) or name.lower() not in found:
        known = ", ".join(table)
        raise ValueError(f"Unknown {kind} {name!r}. {did_you_mean(name, table)}Known: {known}.")
    return found[name.lower()]


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


def check_levels(levels, name="levels", optional=False, ascending=True, single=False):
    """A tuple of level numbers, ascending or at least distinct, or `None` where that is allowed.

    A single one may be an int where `single` allows it: not where 3 could mean three levels.
    """
    if levels is None and optional:
        return None
    if single and is_int(levels, least=0):
        return (int(levels),)
    valid = _several(levels) and len(levels) and all(is_int(each, least=0) for each in levels)
    numbers = [int(each) for each in levels] if valid else []
    if not valid or (numbers if ascending else sorted(numbers)) != sorted(set(numbers)):
        raise ValueError(
            f"`{name}` must be {'ascending' if ascending else 'distinct'} level numbers such as "
            f"(3, 4, 5). Received: {name}={levels!r}"
        )
    return tuple(numbers)
