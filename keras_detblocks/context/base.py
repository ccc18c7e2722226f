"""Shared by all context blocks: the check of their input, and the options of their units."""

from ..checks import check_choice, who
from ..layers import ConvNormAct
from ..layers.block import Block
from ..layers.normalization import NORMALIZATIONS, check_norm_options, norm_options


def check_map(shape, layer):
    """Checks that a shape is that of one feature map and returns it as a tuple.

    Raises:
        ValueError: on a rank other than 4, unknown channels, or a dict of levels.
    """
    if isinstance(shape, dict):
        raise ValueError(
            f"{who(layer)} takes one feature map (B, H, W, C), not a dict of levels: apply one "
            f"layer to each level. Received: the levels {sorted(shape)}"
        )
    shape = tuple(shape)
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"{who(layer)} expects a feature map (batch, height, width, channels) with known "
            f"channels; add the batch axis or transpose to channels-last. Received: shape {shape}"
        )
    return shape


class ContextBlock(Block):
    """A block from one map to one map, made of units. Not public.

    Args:
        normalization: `"batch"`, `"group"` or `None`, in every unit that has a normalization.
        epsilon, momentum: of the normalization. norm_groups: of group normalization.
    """

    def __init__(
        self, *, normalization="batch", epsilon=1e-5, momentum=0.9, norm_groups=32, **kwargs
    ):
        super().__init__(**kwargs)
        self.normalization = check_choice(normalization, "normalization", NORMALIZATIONS)
        check_norm_options(self, epsilon, momentum, norm_groups)

    def build(self, input_shape):
        super().build(check_map(input_shape, self))

    def unit(self, name, filters, kernel_size=1, **options):
        """A `ConvNormAct` with the block's normalization."""
        return ConvNormAct(
            filters,
            kernel_size,
            name=name,
            dtype=self.dtype_policy,
            **{"normalization": self.normalization, **norm_options(self), **options},
        )

    def get_config(self):
        return {
            **super().get_config(),
            "normalization": self.normalization,
            **norm_options(self),
        }


def in_turn(units, x, training):
    """Applies units one after the other."""
    for unit in units:
        x = unit(x, training=training)
    return x
