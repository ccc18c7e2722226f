"""Adaptively Spatial Feature Fusion (https://arxiv.org/abs/1911.09516), for any number of levels.

Numbers agree with the authors' code, in both its forms (Darknet and MobileNet widths): a map is
projected where its width differs, never otherwise, and the expanding convolution belongs to the
block.
"""

import keras
from keras import ops

from ..checks import check_flag, check_int, level_name, level_number
from ..layers import Conv2D, ConvNormAct, MaxPool2D, concatenate, upsample_to
from ..layers.block import Block
from ..layers.normalization import norm_options
from .base import Neck, check_pyramid, map_size, shapes_of


@keras.saving.register_keras_serializable(package="keras_detblocks")
class ASFF(Neck):
    """Fuses all levels into each level by weights learned per pixel: a softmax over the levels. It
    takes a neck's output.

    Paper: https://arxiv.org/abs/1911.09516

    For each output level, all maps are brought to its size and width: from coarser levels by a 1x1
    convolution (where widths differ) and nearest upsampling, from finer ones by max-pools and a
    stride-2 convolution. A 1x1 convolution squeezes each to a weight map, another turns these into
    one logit per level, and the weighted sum passes through a 3x3 convolution.

    Args:
        filters: width of the output convolution.
        levels: the output levels; `None` means all inputs. Every input takes part in every output
            level.
        compress_channels: width of the squeezed weight maps (the authors: 16, or 8 beside their
            RFB).
        expand: whether each level has its output convolution; without it a level keeps its own
            width.
        normalization: `"batch"`, `"group"` or `None`. Group normalization does not fit the narrow
            weight maps, which then have batch normalization.
        activation: after each convolution (the authors: `"darknet_leaky_relu"`, mobile `"relu6"`,
            which quantizes better).
        upsampling: `"nearest"` (the authors') or `"bilinear"`.
        **kwargs: as in `FPN`.

    Input: dict of `(B, H, W, C)` by level, at least two, each half the size of the finer one,
    rounded up. Any image size works.

    Output: dict of `(B, H, W, filters)` by level. In int8 the weights have steps of 1/256.

    Raises:
        ValueError: on arguments out of range, missing levels, or sizes that do not form a pyramid.

    Example:

    >>> features = {"P3": keras.ops.ones((1, 25, 21, 8)), "P4": keras.ops.ones((1, 13, 11, 8))}
    >>> {level: tuple(x.shape) for level, x in ASFF(16)(features).items()}
    {'P3': (1, 25, 21, 16), 'P4': (1, 13, 11, 16)}
    """

    def __init__(
        self,
        filters=256,
        levels=None,
        compress_channels=16,
        expand=True,
        normalization="batch",
        activation="darknet_leaky_relu",
        upsampling="nearest",
        **kwargs,
    ):
        super().__init__(filters, levels, normalization, activation, upsampling, **kwargs)
        self.compress_channels = check_int(compress_channels, "compress_channels")
        self.expand = check_flag(expand, "expand")
        self.fusions = {}

    def required_levels(self, shapes):
        return list(shapes if self.levels is None else self.levels)

    def make_levels(self, shapes):
        if len(shapes) < 2:
            raise ValueError(
                f"ASFF {self.name!r} fuses at least two levels. Received: "
                f"{[level_name(level) for level in shapes]}"
            )
        options = {
            "normalization": self.normalization,
            "activation": self.activation,
            "kernel_initializer": "he_normal",
            "dtype": self.dtype_policy,
            **norm_options(self),
        }
        for level in self.required_levels(shapes):
            self.fusions[level_name(level)] = ASFFLevel(
                level,
                options,
                self.filters if self.expand else None,
                self.compress_channels,
                self.upsampling,
            )

    def call(self, features, training=None):
        check_pyramid(shapes_of(features), self)
        return {name: fusion(features, training=training) for name, fusion in self.fusions.items()}

    def compute_output_shape(self, input_shape):
        shapes = check_pyramid(input_shape, self)
        return {
            level_name(level): (
                *map_size(shapes, level),
                self.filters if self.expand else shapes[level][-1],
            )
            for level in self.required_levels(shapes)
        }

    def get_config(self):
        return {
            **super().get_config(),
            "compress_channels": self.compress_channels,
            "expand": self.expand,
        }


class ASFFLevel(Block):
    """One output level: all maps are brought to it, weighted and summed. Not public: it is
    configured by its `ASFF`.

    Args:
        level: its number.
        options: of every `ConvNormAct`.
        filters: of the output convolution; `None` for no such convolution.
        compress_channels, upsampling: as in `ASFF`.
    """

    def __init__(self, level, options, filters, compress_channels, upsampling):
        super().__init__(name=level_name(level), dtype=options["dtype"])
        self._options = options
        self.filters, self.compress_channels = filters, compress_channels
        self.level, self.upsampling = level, upsampling
        self.sources = ()
        self.shrink = MaxPool2D(3, strides=2, name="shrink", dtype=self.dtype_policy)
        self.projections, self.strided, self.squeezes = {}, {}, {}
        self.logits = self.expand = None

    def make_parts(self, input_shape):
        # Coarsest first, which is the authors' order.
        self.sources = tuple(sorted(map(level_number, input_shape), reverse=True))
        width = input_shape[level_name(self.level)][-1]
        for source in self.sources:
            name = level_name(source)
            if source > self.level and input_shape[name][-1] != width:
                self.projections[name] = self._unit(f"{name}_compress", width)
            if source < self.level:
                self.strided[name] = self._unit(f"{name}_stride", width, 3, strides=2)
            narrow = {"normalization": "batch"} if self._options["normalization"] == "group" else {}
            self.squeezes[name] = self._unit(f"{name}_weight", self.compress_channels, **narrow)
        self.logits = Conv2D(
            len(self.sources),
            1,
            kernel_initializer="lecun_uniform",
            name="weights",
            dtype=self.dtype_policy,
        )
        if self.filters is not None:
            self.expand = self._unit("expand", self.filters, 3)

    def _unit(self, name, filters, kernel_size=1, strides=1, **kwargs):
        options = {**self._options, **kwargs}
        return ConvNormAct(filters, kernel_size, strides, name=name, **options)

    def call(self, features, training=None):
        maps = self.resampled(features, training)
        fused = self.weighted_sum(maps, self.weights_of(maps, training))
        return fused if self.expand is None else self.expand(fused, training=training)

    def resampled(self, features, training=None):
        """Every map at this level's size and width, coarsest first."""
        here, maps = features[level_name(self.level)], []
        for source in self.sources:
            name = level_name(source)
            x = features[name]
            if name in self.projections:
                x = self.projections[name](x, training=training)
            if source > self.level:
                x = upsample_to(x, here, self.upsampling, 2 ** (source - self.level))
            for _ in range(self.level - source - 1):
                x = self.shrink(x)
            if name in self.strided:
                x = self.strided[name](x, training=training)
            maps.append(x)
        return maps

    def weights_of(self, maps, training=None):
        """`(B, H, W, number of levels)`, float32, summing to one at every pixel, coarsest level
        first."""
        squeezed = [
            self.squeezes[level_name(source)](x, training=training)
            for source, x in zip(self.sources, maps)
        ]
        return ops.softmax(ops.cast(self.logits(concatenate(squeezed)), "float32"), axis=-1)

    def weighted_sum(self, maps, weights):
        weighted = [x * ops.cast(weights[..., i : i + 1], x.dtype) for i, x in enumerate(maps)]
        return sum(weighted[1:], start=weighted[0])

    def compute_output_shape(self, input_shape):
        own = input_shape[level_name(self.level)]
        return own if self.filters is None else (*own[:3], self.filters)
