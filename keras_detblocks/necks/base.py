"""Shared by all necks: levels, the check of their input, their units and their common arguments."""

from ..checks import check_choice, check_int, check_levels, level_name, level_number, who
from ..layers import ConvNormAct
from ..layers.activation import check_activation
from ..layers.block import Block, with_sides
from ..layers.normalization import (
    NORMALIZATIONS,
    check_group_width,
    check_norm_options,
    norm_options,
)

UPSAMPLINGS = ("nearest", "bilinear")


def shapes_of(features):
    """Turns a dict of tensors into a dict of shapes by level."""
    if not isinstance(features, dict):
        raise ValueError(
            f'Expected a dict of levels such as {{"P3": tensor, "P4": tensor}}. Received: '
            f"{features!r}"
        )
    return {key: tuple(value.shape) for key, value in features.items()}


def check_pyramid(shapes, owner):
    """Checks a dict of shapes by level and returns it by level number, finest first.

    Args:
        shapes: dict of `(B, H, W, C)` by `"P3"`, `"P4"`, ...; `None` for a dynamic size.
        owner: the layer, for messages.

    Raises:
        ValueError: on keys that are not levels, ranks other than 4, unknown channels, or a level
            whose size is not half that of the next finer one, rounded up.
    """
    if not isinstance(shapes, dict) or not shapes:
        raise ValueError(
            f'{who(owner)} expects a dict of levels such as {{"P3": ..., "P4": ...}}. Received: '
            f"{shapes!r}"
        )
    unknown = [key for key in shapes if level_number(key) is None]
    if unknown:
        raise ValueError(
            f'{who(owner)} expects the keys "P2", "P3", ... (level l has stride 2 ** l). '
            f"Received: {unknown}"
        )
    by_level = {level_number(key): tuple(shapes[key]) for key in sorted(shapes, key=level_number)}
    for level, shape in by_level.items():
        if len(shape) != 4 or shape[-1] is None:
            raise ValueError(
                f"{who(owner)} expects (batch, height, width, channels) with known channels at "
                f"every level. Received: P{level} of shape {shape}"
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
            f"{who(owner)}: the sizes do not form a pyramid. Expected P{coarse} of {expected}, "
            f"which is P{fine} of {fine_shape[1:3]} divided by {factor} and rounded up. Received: "
            f"{coarse_shape[1:3]}. Name the levels by their strides (P3 has stride 8), take them "
            "all from one image, or pad the image to a multiple of the coarsest stride."
        )


def map_size(shapes, level):
    """The `(batch, height, width)` of a level that is an input, or that is made from the coarsest
    input by halving."""
    if level in shapes:
        return shapes[level][:3]
    top = max(shapes)
    halved = [None if n is None else -(-n // 2 ** (level - top)) for n in shapes[top][1:3]]
    return (shapes[top][0], *halved)


class NeckPart(Block):
    """The base of necks and their parts: the options of their units. Not public."""

    def __init__(
        self,
        normalization,
        activation,
        upsampling,
        *,
        epsilon=1e-5,
        momentum=0.9,
        norm_groups=32,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_norm_options(self, epsilon, momentum, norm_groups)
        self.normalization = check_choice(normalization, "normalization", NORMALIZATIONS)
        self.activation = check_activation(activation)
        self.upsampling = check_choice(upsampling, "upsampling", UPSAMPLINGS)

    def unit(self, name, filters, kernel_size=1, strides=1, **options):
        """A `ConvNormAct` with the part's normalization and activation."""
        shared = {
            "normalization": self.normalization,
            "activation": self.activation,
            "dtype": self.dtype_policy,
            **norm_options(self),
        }
        return ConvNormAct(filters, kernel_size, strides, name=name, **{**shared, **options})

    def get_config(self):
        return {
            **super().get_config(),
            "normalization": self.normalization,
            "activation": self.activation,
            "upsampling": self.upsampling,
            **norm_options(self),
        }


class Neck(NeckPart):
    """The base of all necks: their levels and widths, and the check of their input. Not public.

    Subclasses implement `make_levels(shapes)` (shapes by level number, finest first) and
    `call(features)`. Parts are kept under the names of their levels.
    """

    def __init__(self, filters, levels, normalization, activation, upsampling, **kwargs):
        super().__init__(normalization, activation, upsampling, **kwargs)
        self.filters = self.check_filters(filters)
        self.levels = check_levels(levels, optional=True)

    def check_filters(self, filters):
        filters = check_int(filters, "filters")
        check_group_width(filters, self.normalization, self.norm_groups)
        return filters

    def build(self, input_shape):
        shapes = check_pyramid(input_shape, self)
        missing = [level for level in self.required_levels(shapes) if level not in shapes]
        if missing:
            raise ValueError(
                f"{who(self)} with levels={self.levels} expects the inputs "
                f"{_names(self.required_levels(shapes))}. Received: {_names(shapes)}. Give the "
                f"missing {_names(missing)}, or ask for other `levels`."
            )
        super().build({level_name(level): shape for level, shape in shapes.items()})

    def make_parts(self, input_shape):
        self.make_levels(check_pyramid(input_shape, self))

    def build_parts(self, input_shape):
        # Open sides get those of one image, large enough for every level.
        finest = 2 ** (max(self.levels or [0]) + 2)
        super().build_parts(
            {
                key: with_sides(shape, -(-finest // 2 ** level_number(key)))
                for key, shape in input_shape.items()
            }
        )

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
        # Stated explicitly, because tracing with unknown sizes cannot know that one level is half
        # of another.
        shapes = check_pyramid(input_shape, self)
        return {
            level_name(level): (*map_size(shapes, level), self.filters) for level in self.levels
        }

    def unit(self, name, kernel_size=1, strides=1, filters=None, **options):
        """A unit of the neck's width, whose initial values keep the variance of convolutions
        without activation."""
        options = {"kernel_initializer": "lecun_uniform", **options}
        return super().unit(name, filters or self.filters, kernel_size, strides, **options)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "levels": self.levels}


def _names(levels):
    return ", ".join(level_name(level) for level in levels)
