"""Adaptively Spatial Feature Fusion (https://arxiv.org/abs/1911.09516), for any number of levels.

Numbers agree with the authors' code, in both its forms (Darknet and MobileNet widths): a map is
projected where its width differs, never otherwise, and the expanding convolution belongs to the
block.
"""

import keras
from keras import ops

from ..layers import Conv2D, ConvNormAct, MaxPool2D, concatenate, upsample_to
from ..weights import Layout, torch_key
from .levels import Neck, check_pyramid, level_name, level_size, shapes_of


@keras.saving.register_keras_serializable(package="keras_detblocks")
class ASFF(Neck):
    """Fuses all levels into each level by weights learned per pixel: a softmax over the levels. It
    consumes a neck's output.

    Paper: https://arxiv.org/abs/1911.09516

    For each output level, all maps are brought to its size and width: from coarser levels by a 1x1
    convolution (where widths differ) and nearest upsampling, from finer ones by max-pools and a
    stride-2 convolution. A 1x1 convolution squeezes each to a weight map, another makes one logit
    per level of them, and the weighted sum passes a 3x3 convolution.

    Args:
        filters: width of the output convolution.
        levels: the output levels; `None` means all inputs. Every input takes part in every output
            level.
        compress_channels: width of the squeezed weight maps (the authors: 16, or 8 beside their
            RFB).
        expand: whether each level has its output convolution; without it a level keeps its own
            width.
        normalization: `"batch"`, `"group"` or `None`. Group normalisation does not fit the narrow
            weight maps, which then have batch normalisation.
        activation: after each convolution (the authors: `"darknet_leaky_relu"`, mobile `"relu6"`,
            which quantises better).
        upsampling: `"nearest"` (the authors') or `"bilinear"`.

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
        if not isinstance(compress_channels, int) or compress_channels < 1:
            raise ValueError(
                f"`compress_channels` must be an int of at least 1. Received: "
                f"compress_channels={compress_channels!r}"
            )
        self.compress_channels = compress_channels
        self.expand = expand
        self.fusions = {}

    def required_levels(self, shapes):
        return list(shapes if self.levels is None else self.levels)

    def build_levels(self, shapes):
        if len(shapes) < 2:
            raise ValueError(
                f"ASFF {self.name!r} fuses at least two levels. Received: "
                f"{[level_name(level) for level in shapes]}"
            )
        for level in self.required_levels(shapes):
            self.fusions[level] = ASFFLevel(
                self, level, name=level_name(level), dtype=self.dtype_policy
            )
            self.fusions[level].build(dict(shapes))

    def call(self, features, training=None):
        check_pyramid(shapes_of(features), self)
        return {
            level_name(level): fusion(features, training=training)
            for level, fusion in self.fusions.items()
        }

    def compute_output_shape(self, input_shape):
        shapes = check_pyramid(input_shape, self)
        return {
            level_name(level): (
                *level_size(shapes, level),
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

    def weight_layouts(self):
        """The authors' names; they count levels from the coarsest. One level alone may lack its
        prefix."""
        layouts = [
            Layout(
                "GOATmessi8/ASFF",
                torch_key(*(rule for each in self.fusions.values() for rule in each.rules(True))),
            )
        ]
        if len(self.fusions) == 1:
            layouts += [
                Layout("GOATmessi8/ASFF, one level", torch_key(*fusion.rules(False)))
                for fusion in self.fusions.values()
            ]
        return layouts


class ASFFLevel(keras.layers.Layer):
    """One output level: all maps brought here, weighted and summed. Not public: it is configured by
    its `ASFF`."""

    def __init__(self, neck, level, **kwargs):
        super().__init__(**kwargs)
        self.neck_options = {"normalization": neck.normalization, "activation": neck.activation}
        self.filters, self.compress_channels, self.upsampling = (
            neck.filters,
            neck.compress_channels,
            neck.upsampling,
        )
        self.level, self.expanding = level, neck.expand
        self.sources = ()
        self.shrink = MaxPool2D(3, strides=2, name="shrink", dtype=self.dtype_policy)
        self.projections, self.strided, self.squeezes = {}, {}, {}
        self.logits = self.expand = None

    def build(self, input_shape):
        self.sources = tuple(
            sorted(input_shape, reverse=True)
        )  # coarsest first, the authors' order
        here = input_shape[self.level]
        for source in self.sources:
            shape = input_shape[source]
            if source > self.level and shape[-1] != here[-1]:
                self.projections[source] = self.unit(f"P{source}_compress", here[-1])
                self.projections[source].build(shape)
            if source < self.level:
                self.strided[source] = self.unit(f"P{source}_stride", here[-1], 3, strides=2)
                self.strided[source].build((shape[0], None, None, shape[-1]))
            narrow = (
                {"normalization": "batch"} if self.neck_options["normalization"] == "group" else {}
            )
            self.squeezes[source] = self.unit(f"P{source}_weight", self.compress_channels, **narrow)
            self.squeezes[source].build(here)
        self.logits = Conv2D(
            len(self.sources),
            1,
            kernel_initializer="lecun_uniform",
            name="weights",
            dtype=self.dtype_policy,
        )
        self.logits.build((*here[:3], self.compress_channels * len(self.sources)))
        if self.expanding:
            self.expand = self.unit("expand", self.filters, 3)
            self.expand.build(here)

    def unit(self, name, filters, kernel_size=1, strides=1, **kwargs):
        options = {
            **self.neck_options,
            "kernel_initializer": "he_normal",
            "name": name,
            "dtype": self.dtype_policy,
            **kwargs,
        }
        return ConvNormAct(filters, kernel_size, strides, **options)

    def call(self, features, training=None):
        maps = self.resampled(features, training)
        fused = self.weighted_sum(maps, self.weights_of(maps, training))
        return fused if self.expand is None else self.expand(fused, training=training)

    def resampled(self, features, training=None):
        """Every map at this level's size and width, coarsest first."""
        here, maps = features[level_name(self.level)], []
        for source in self.sources:
            x = features[level_name(source)]
            if source in self.projections:
                x = self.projections[source](x, training=training)
            if source > self.level:
                x = upsample_to(x, here, self.upsampling, 2 ** (source - self.level))
            for _ in range(self.level - source - 1):
                x = self.shrink(x)
            if source in self.strided:
                x = self.strided[source](x, training=training)
            maps.append(x)
        return maps

    def weights_of(self, maps, training=None):
        """`(B, H, W, number of levels)`, float32, summing to one at every pixel, coarsest level
        first."""
        squeezed = [
            self.squeezes[source](x, training=training) for source, x in zip(self.sources, maps)
        ]
        return ops.softmax(ops.cast(self.logits(concatenate(squeezed)), "float32"), axis=-1)

    def weighted_sum(self, maps, weights):
        weighted = [x * ops.cast(weights[..., i : i + 1], x.dtype) for i, x in enumerate(maps)]
        return sum(weighted[1:], start=weighted[0])

    def rules(self, prefixed):
        ours = f"^{level_name(self.level)}/"
        theirs = f"level_{self.sources.index(self.level)}_fusion." if prefixed else ""
        rules = [(f"{ours}weights/", f"{theirs}weight_levels/")]
        names = [("expand", "expand")]
        for i, source in enumerate(self.sources):
            names += [
                (f"P{source}_{part}", f"{part}_level_{i}")
                for part in ("compress", "stride", "weight")
            ]
        for name, their_name in names:
            for part, their_part in (("conv", "conv"), ("norm", "batch_norm")):
                rules.append((f"{ours}{name}/{part}/", f"{theirs}{their_name}.{their_part}/"))
        return rules
