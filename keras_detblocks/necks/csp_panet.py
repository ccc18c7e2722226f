"""The concatenating path aggregation of YOLO-type detectors, fused by cross-stage partial units.

YOLOv4 (https://arxiv.org/abs/2004.10934) and Scaled-YOLOv4 (https://arxiv.org/abs/2011.08036)
brought CSPNet's units (https://arxiv.org/abs/1911.11929) into the neck; YOLOX
(https://arxiv.org/abs/2107.08430) has the form meant here, with one difference: all levels have one
width, so that each input passes a 1x1 convolution first.
"""

import keras
from keras import ops

from ..layers import ConvNormAct, upsample_to
from .fpn import FPN


@keras.saving.register_keras_serializable(package="keras_detblocks")
class CSPPANet(FPN):
    """Path aggregation by concatenation and CSP units: top-down, then bottom-up.

    Args:
        filters: width of every output level; even.
        levels: as in `FPN`.
        extra_levels, extra_activation: as in `FPN`; "conv_p5" and "max_pool" start from the
            coarsest N.
        depth: bottlenecks in each CSP unit (YOLOX-S: 1, M: 2, L: 3).
        normalization: `"batch"`, `"group"` or `None`, after every convolution.
        activation: after every convolution.
        upsampling: `"nearest"` or `"bilinear"`.

    int8: on calibrated random features the normalised RMS error is 0.04 at initial statistics, and
    0.06 once the batch statistics fit the features: batch normalisation over random weights
    magnifies any difference, rounding included, by about 1.2 per layer
    (https://arxiv.org/abs/1902.08129). The other convolutional necks, `PANet` above all, have
    shorter paths and stay below 0.05.

    Input, output, errors: as `FPN`.

    Example:

    >>> features = {"P3": keras.ops.ones((1, 25, 21, 8)), "P4": keras.ops.ones((1, 13, 11, 16))}
    >>> outputs = CSPPANet(32, levels=(3, 4))(features)
    >>> {level: tuple(x.shape) for level, x in outputs.items()}
    {'P3': (1, 25, 21, 32), 'P4': (1, 13, 11, 32)}
    """

    def __init__(
        self,
        filters=256,
        levels=(3, 4, 5, 6, 7),
        extra_levels="conv_p5",
        extra_activation=None,
        depth=1,
        normalization="batch",
        activation="silu",
        upsampling="nearest",
        **kwargs,
    ):
        super().__init__(
            filters,
            levels,
            extra_levels,
            extra_activation,
            normalization,
            activation,
            upsampling,
            **kwargs,
        )
        if not isinstance(depth, int) or depth < 0:
            raise ValueError(f"`depth` must be an int of at least 0. Received: depth={depth!r}")
        if filters % 2:
            raise ValueError(
                f"`filters` must be even: half of them pass each CSP unit by. Received: "
                f"filters={filters}"
            )
        if normalization == "group" and filters % 64:
            raise ValueError(
                f"Group normalisation of the CSP units' halves needs filters divisible by 64. "
                f"Received: {filters}"
            )
        self.depth = depth
        self.downs, self.fuses = {}, {}

    def build_levels(self, shapes):
        super().build_levels(shapes)
        path = [level for level in self.laterals if level <= max(self.levels)]
        for fine, coarse in zip(path, path[1:]):
            self.downs[coarse] = self.unit(f"N{coarse}_down", 3, strides=2 ** (coarse - fine))
            self.downs[coarse].build((*shapes[fine][:3], self.filters))
            self.fuses[coarse] = self.csp_unit(f"N{coarse}")
            self.fuses[coarse].build((*shapes[coarse][:3], 2 * self.filters))
        for level in list(self.laterals)[:-1]:
            self.outs[level] = self.csp_unit(f"P{level}")
            self.outs[level].build((*shapes[level][:3], 2 * self.filters))

    def csp_unit(self, name):
        return CSPUnit(
            self.filters,
            self.depth,
            self.normalization,
            self.activation,
            name=name,
            dtype=self.dtype_policy,
        )

    def has_output(self, level, used):
        return False  # CSP units instead

    def call(self, features, training=None):
        features = self.inputs(features)
        laterals = {
            level: self.laterals[level](x, training=training) for level, x in features.items()
        }
        merged = self.concatenating_top_down(laterals, training)
        outputs = {level: x for level, x in merged.items() if level <= max(self.levels)}
        below = outputs[min(outputs)]
        for level, fuse in self.fuses.items():
            down = self.downs[level](below, training=training)
            below = outputs[level] = fuse(
                ops.concatenate([down, outputs[level]], axis=-1), training=training
            )
        return self.with_extra_levels(features, laterals, outputs, training)

    def concatenating_top_down(self, laterals, training):
        merged, above = {}, None
        for level, x in sorted(laterals.items(), reverse=True):
            if above is not None:
                up = upsample_to(merged[above], x, self.upsampling, 2 ** (above - level))
                x = self.outs[level](ops.concatenate([up, x], axis=-1), training=training)
            merged[level], above = x, level
        return dict(sorted(merged.items()))

    def get_config(self):
        return {**super().get_config(), "depth": self.depth}

    def weight_layouts(self):
        return []


class CSPUnit(keras.layers.Layer):
    """YOLOX's CSP layer without shortcuts: one half passes `depth` bottlenecks (1x1, 3x3), the
    other by; both are fused.

    Not public: it is configured by its neck. Input `(B, H, W, C)`, output `(B, H, W, filters)`.
    """

    def __init__(self, filters, depth, normalization, activation, **kwargs):
        super().__init__(**kwargs)
        options = {
            "normalization": normalization,
            "activation": activation,
            "kernel_initializer": "he_normal",
            "dtype": self.dtype_policy,
        }
        self.filters = filters
        self.main = ConvNormAct(filters // 2, name="main", **options)
        self.bypass = ConvNormAct(filters // 2, name="bypass", **options)
        self.blocks = [
            ConvNormAct(filters // 2, size, name=f"block_{i + 1}_{size}x{size}", **options)
            for i in range(depth)
            for size in (1, 3)
        ]
        self.fuse = ConvNormAct(filters, name="fuse", **options)

    def build(self, input_shape):
        half = (*input_shape[:-1], self.filters // 2)
        self.main.build(input_shape)
        self.bypass.build(input_shape)
        for block in self.blocks:
            block.build(half)
        self.fuse.build((*input_shape[:-1], self.filters // 2 * 2))

    def call(self, x, training=None):
        y = self.main(x, training=training)
        for block in self.blocks:
            y = block(y, training=training)
        return self.fuse(
            ops.concatenate([y, self.bypass(x, training=training)], axis=-1), training=training
        )
