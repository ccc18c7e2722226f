"""Level arithmetic and the one input check of all necks: level l is called "Pl" and has stride 2 **
l."""

import re

import keras

from ..layers import ConvNormAct


def level_name(level):
    """The key of a level: 3 -> "P3"."""
    return f"P{level}"


def level_number(key):
    """The level of a key, or `None` if it is no level: "P3" -> 3."""
    match = re.fullmatch(r"P(\d+)", key) if isinstance(key, str) else None
    return int(match.group(1)) if match else None


def shapes_of(features):
    """A dict of shapes by level from a dict of tensors."""
    if not isinstance(features, dict):
        raise ValueError(
            f'Expected a dict of levels such as {{"P3": tensor, "P4": tensor}}. Received: {features!r}'
        )
    return {key: tuple(value.shape) for key, value in features.items()}


def check_pyramid(shapes, owner):
    """Checks a dict of shapes by level and returns it by level number, finest first.

    Args:
        shapes: dict of `(B, H, W, C)` by `"P3"`, `"P4"`, ...; `None` for a dynamic size.
        owner: the layer, for messages.

    Raises:
        ValueError: on keys that are no levels, ranks other than 4, unknown channels, or a level
            whose size is not that of the next finer one, halved and rounded up.
    """
    if not isinstance(shapes, dict) or not shapes:
        raise ValueError(
            f'{_who(owner)} expects a dict of levels such as {{"P3": ..., "P4": ...}}. Received: {shapes!r}'
        )
    unknown = [key for key in shapes if level_number(key) is None]
    if unknown:
        raise ValueError(
            f'{_who(owner)} expects the keys "P2", "P3", ... (level l has stride 2 ** l). Received: {unknown}'
        )
    by_level = {level_number(key): tuple(shapes[key]) for key in sorted(shapes, key=level_number)}
    for level, shape in by_level.items():
        if len(shape) != 4 or shape[-1] is None:
            raise ValueError(
                f"{_who(owner)} expects (batch, height, width, channels) with known channels at "
                f"every level. "
                f"Received: P{level} of shape {shape}"
            )
    levels = list(by_level)
    for fine, coarse in zip(levels, levels[1:]):
        _check_halving(fine, by_level[fine], coarse, by_level[coarse], owner)
    return by_level


def _check_halving(fine, fine_shape, coarse, coarse_shape, owner):
    factor = 2 ** (coarse - fine)
    expected = tuple(None if n is None else -(-n // factor) for n in fine_shape[1:3])
    if any(e is not None and n is not None and e != n for e, n in zip(expected, coarse_shape[1:3])):
        raise ValueError(
            f"{_who(owner)}: the sizes do not form a pyramid. Expected P{coarse} of {expected}, "
            f"which is P{fine} of "
            f"{fine_shape[1:3]} divided by {factor} and rounded up. Received: "
            f"{coarse_shape[1:3]}. Name the levels by their "
            "strides (P3 has stride 8), take them all from one image, or pad the image to a "
            "multiple of the coarsest stride."
        )


def level_size(shapes, level):
    """`(batch, height, width)` of a level that is an input, or that is made from the coarsest input
    by halving."""
    if level in shapes:
        return shapes[level][:3]
    top = max(shapes)
    return (
        shapes[top][0],
        *(None if n is None else -(-n // 2 ** (level - top)) for n in shapes[top][1:3]),
    )


def _who(owner):
    return f"{type(owner).__name__} {owner.name!r}"


class Neck(keras.layers.Layer):
    """What all necks share: their common arguments, checks and convolution unit. Not public.

    Subclasses implement `build_levels(shapes)` (shapes by level number, finest first) and
    `call(features)`.
    """

    def __init__(self, filters, levels, normalization, activation, upsampling, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(filters, int) or filters < 1:
            raise ValueError(
                f"`filters` must be an int of at least 1. Received: filters={filters!r}"
            )
        if normalization not in (None, "batch", "group"):
            raise ValueError(
                f"`normalization` must be 'batch', 'group' or None. Received: "
                f"normalization={normalization!r}"
            )
        if normalization == "group" and filters % 32:
            raise ValueError(
                f"Group normalisation has 32 groups: `filters` must be divisible by 32. Received: "
                f"filters={filters}"
            )
        if upsampling not in ("nearest", "bilinear"):
            raise ValueError(
                f"`upsampling` must be 'nearest' or 'bilinear'. Received: upsampling={upsampling!r}"
            )
        self.filters = filters
        self.levels = levels if levels is None else _checked_levels(levels)
        self.normalization = normalization
        self.activation = activation
        self.upsampling = upsampling

    def build(self, input_shape):
        shapes = check_pyramid(input_shape, self)
        missing = [level for level in self.required_levels(shapes) if level not in shapes]
        if missing:
            raise ValueError(
                f"{_who(self)} with levels={self.levels} expects the inputs "
                f"{_names(self.required_levels(shapes))}. "
                f"Received: {_names(shapes)}. Give the missing {_names(missing)}, or ask for "
                f"other `levels`."
            )
        self.build_levels(shapes)

    def required_levels(self, shapes):
        """The input levels without which the neck cannot work; by default those of `levels` up to
        the coarsest input."""
        return [level for level in self.levels if level <= max(shapes)] or [min(self.levels)]

    def inputs(self, features):
        """The checked maps by level number, finest first, without those that the neck does not
        use."""
        shapes = check_pyramid(shapes_of(features), self)
        return {level: features[level_name(level)] for level in shapes if level >= min(self.levels)}

    def compute_output_shape(self, input_shape):
        # Said outright, because tracing with unknown sizes cannot know that one level is half of
        # another.
        shapes = check_pyramid(input_shape, self)
        return {
            level_name(level): (*level_size(shapes, level), self.filters) for level in self.levels
        }

    def unit(self, name, kernel_size=1, strides=1, filters=None, **kwargs):
        """A convolution with the neck's width, normalisation and activation; convolutions without
        activation keep variance."""
        options = {
            "normalization": self.normalization,
            "activation": self.activation,
            "kernel_initializer": "lecun_uniform",
        }
        return ConvNormAct(
            filters or self.filters,
            kernel_size,
            strides,
            name=name,
            dtype=self.dtype_policy,
            **{**options, **kwargs},
        )

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "levels": self.levels,
            "normalization": self.normalization,
            "activation": self.activation,
            "upsampling": self.upsampling,
        }


def _checked_levels(levels):
    levels = tuple(levels) if isinstance(levels, (tuple, list)) else levels
    valid = (
        isinstance(levels, tuple)
        and levels
        and all(isinstance(each, int) and each >= 0 for each in levels)
    )
    if not valid or list(levels) != sorted(set(levels)):
        raise ValueError(
            f"`levels` must be ascending level numbers such as (3, 4, 5). Received: "
            f"levels={levels!r}"
        )
    return levels


def _names(levels):
    return ", ".join(level_name(level) for level in levels)
