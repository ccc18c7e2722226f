"""The concatenating path aggregation of YOLO-type detectors, fused by cross-stage partial units.

YOLOv4 (https://arxiv.org/abs/2004.10934) and Scaled-YOLOv4 (https://arxiv.org/abs/2011.08036)
brought CSPNet's units (https://arxiv.org/abs/1911.11929) into the neck. Of these, YOLOX's
(https://arxiv.org/abs/2107.08430) and PicoDet's (https://arxiv.org/abs/2111.00902) are reproduced
here exactly.
"""

import keras
from keras import ops

from ..checks import check_choice, check_flag, check_int, check_ints, level_name, level_number, who
from ..layers import ConvNormAct, upsample_to
from ..layers.activation import check_activation
from ..layers.block import Block
from ..layers.normalization import check_group_width, norm_options
from ..layers.unit import SeparableUnit
from .base import Neck, check_pyramid
from .parts import ExtraLevels, bottom_up

FORMS = ("picodet", "yolox")


@keras.saving.register_keras_serializable(package="keras_detblocks")
class CSPPANet(Neck):
    """Path aggregation by concatenation and CSP units: top-down, then bottom-up.

    Papers: https://arxiv.org/abs/2107.08430 (YOLOX), https://arxiv.org/abs/2111.00902 (PicoDet)

    Args:
        filters: width of every output level; even. Or a tuple of widths, one per input level that
            is used, the finest first; levels above the coarsest input have its width.
        levels: as in `FPN`.
        extra_levels, extra_activation: as in `FPN`; "conv_p5" and "max_pool" start from the
            coarsest N.
        depth: bottlenecks in each CSP unit (YOLOX-S: 1, M: 2, L: 3).
        normalization: `"batch"`, `"group"` or `None`, after every convolution.
        activation: after every convolution.
        upsampling: `"nearest"` or `"bilinear"`.
        form: `"picodet"`: each input first passes through a 1x1 convolution to its level's width,
            and the bottom-up path takes the merged maps. `"yolox"`: the inputs are concatenated as
            they are, each merged map passes through a 1x1 convolution to the next finer level's
            width before it goes down, and the bottom-up path uses these lateral maps again.
        kernel_size: odd, of every convolution that is not 1x1 (PicoDet: 5).
        depthwise: whether these are depthwise convolutions followed by 1x1 ones.
        out_filters: width of a last 1x1 convolution at each level (mmdetection's YOLOX), or `None`.
        **kwargs: as in `FPN`.

    int8: on calibrated random features the normalized RMS error of the worst level is 0.04 to 0.05
    at initial statistics, and 0.05 to 0.07 (five seeds) once the batch statistics fit the features:
    batch normalization over random weights magnifies any difference, rounding included, by about
    1.2 per layer (https://arxiv.org/abs/1902.08129). The other convolutional necks but `MLFPN` have
    shorter paths and stay at 0.05 or below.

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
        form="picodet",
        kernel_size=3,
        depthwise=False,
        out_filters=None,
        **kwargs,
    ):
        super().__init__(filters, levels, normalization, activation, upsampling, **kwargs)
        self.extra_levels = extra_levels
        self.extra_activation = check_activation(extra_activation, "extra_activation")
        self.depth = check_int(depth, "depth", least=0)
        self.form = check_choice(form, "form", FORMS)
        self.kernel_size = check_int(kernel_size, "kernel_size", odd=True)
        self.depthwise = check_flag(depthwise, "depthwise")
        self.out_filters = check_int(out_filters, "out_filters", optional=True)
        check_group_width(self.out_filters or 0, normalization, self.norm_groups, "out_filters")
        self._extra = ExtraLevels(extra_levels, extra_activation, self.dtype_policy)
        self.laterals, self.extras = {}, {}
        self.downs, self.fuses, self.outs = {}, {}, {}
        self.projections = {}

    def check_filters(self, filters):
        several = isinstance(filters, (tuple, list))
        filters = check_ints(filters, "filters") if several else check_int(filters, "filters")
        for width in filters if several else (filters,):
            if width % 2:
                raise ValueError(
                    "`filters` must be even: half of them pass each CSP unit by. Received: "
                    f"filters={filters}"
                )
            if self.normalization == "group" and width % (2 * self.norm_groups):
                raise ValueError(
                    f"Group normalization with {self.norm_groups} groups in the halves of CSP "
                    f"units needs `filters` divisible by {2 * self.norm_groups}, or other "
                    f"`norm_groups`. Received: filters={filters}"
                )
        return filters

    def _widths(self, used):
        """The widths of the levels' outputs, by level number."""
        if not isinstance(self.filters, tuple):
            return dict.fromkeys(used, self.filters)
        if len(self.filters) != len(used):
            raise ValueError(
                f"{who(self)} expects one width per input level that is used, "
                f"{', '.join(map(level_name, used))}. Received: filters={self.filters}"
            )
        return dict(zip(used, self.filters))

    def make_levels(self, shapes):
        used = [level for level in shapes if level >= min(self.levels)]
        path = [level for level in used if level <= max(self.levels)]
        if self.form == "yolox" and len(used) < 2:
            raise ValueError(
                f"{who(self)} in YOLOX's form fuses at least two input levels; use form='picodet' "
                f"for one. Received: {level_name(used[0])}"
            )
        widths = self._widths(used)
        for level, width in self._lateral_widths(used, widths).items():
            name = level_name(level)
            self.laterals[name] = self.unit(f"{name}_lateral", filters=width)
        top_width = self.out_filters or widths[max(used)]
        self.extras.update(
            self._extra.layers(
                max(used), max(self.levels), lambda name: self._spatial(name, top_width, 2)
            )
        )
        for fine, coarse in zip(path, path[1:]):
            name = level_name(coarse)
            down = self._spatial(f"N{coarse}_down", widths[fine], 2 ** (coarse - fine))
            self.downs[name] = down
            self.fuses[name] = self._csp_unit(f"N{coarse}", widths[coarse])
        for level in used[:-1]:
            name = level_name(level)
            self.outs[name] = self._csp_unit(name, widths[level])
        for level in path if self.out_filters else ():
            name = level_name(level)
            self.projections[name] = self.unit(f"{name}_project", filters=self.out_filters)

    def _lateral_widths(self, used, widths):
        """The widths of the lateral maps: in YOLOX's form that of the level to which a map goes
        down."""
        if self.form == "picodet":
            return widths
        return {coarse: widths[fine] for fine, coarse in zip(used, used[1:])}

    def _spatial(self, name, filters, strides=1):
        """The neck's convolution that is not 1x1."""
        kind = SeparableUnit if self.depthwise else ConvNormAct
        return kind(filters, self.kernel_size, strides, name=name, **self._options())

    def _csp_unit(self, name, filters):
        kernel = {"kernel_size": self.kernel_size, "depthwise": self.depthwise}
        return CSPUnit(filters, self.depth, {**self._options("he_normal"), **kernel}, name=name)

    def _options(self, kernel_initializer="lecun_uniform"):
        return {
            "normalization": self.normalization,
            "activation": self.activation,
            "kernel_initializer": kernel_initializer,
            "dtype": self.dtype_policy,
            **norm_options(self),
        }

    def call(self, features, training=None):
        features = self.inputs(features)
        top = max(features)
        laterals, merged = self._top_down(features, training)
        maps = merged if self.form == "picodet" else {**merged, **laterals}
        path = {level: maps[level] for level in sorted(maps) if level <= max(self.levels)}
        outputs = bottom_up(path, self.downs, self.fuses, _concatenated, training=training)
        for name, projection in self.projections.items():
            level = level_number(name)
            outputs[level] = projection(outputs[level], training=training)
        lateral = laterals[top]
        outputs = self._extra.complete(outputs, self.extras, features[top], lateral, training)
        return {level_name(level): outputs[level_name(level)] for level in self.levels}

    def _top_down(self, features, training):
        """The lateral and the merged maps by level number."""
        laterals, merged, above, coming = {}, {}, None, None
        for level in sorted(features, reverse=True):
            name, x = level_name(level), features[level]
            if self.form == "picodet":
                x = laterals[level] = self.laterals[name](x, training=training)
            if above is not None:
                up = upsample_to(coming, x, self.upsampling, 2 ** (above - level))
                x = self.outs[name](ops.concatenate([up, x], axis=-1), training=training)
            merged[level] = x
            if self.form == "yolox" and name in self.laterals:
                x = laterals[level] = self.laterals[name](x, training=training)
            coming, above = x, level
        return laterals, merged

    def compute_output_shape(self, input_shape):
        shapes = super().compute_output_shape(input_shape)
        used = [level for level in check_pyramid(input_shape, self) if level >= min(self.levels)]
        widths = self._widths(used)
        return {
            key: (*shape[:3], self.out_filters or widths.get(level_number(key), widths[max(used)]))
            for key, shape in shapes.items()
        }

    def get_config(self):
        return {
            **super().get_config(),
            "extra_levels": self.extra_levels,
            "extra_activation": self.extra_activation,
            "depth": self.depth,
            "form": self.form,
            "kernel_size": self.kernel_size,
            "depthwise": self.depthwise,
            "out_filters": self.out_filters,
        }


def _concatenated(below, own):
    return ops.concatenate([below, own], axis=-1)


class CSPUnit(Block):
    """A CSP layer without shortcuts: one half passes through `depth` bottlenecks (1x1, then
    larger), the other bypasses them; both are fused.

    Not public: it is configured by its neck. Input `(B, H, W, C)`, output `(B, H, W, filters)`.

    Args:
        filters, depth: as in `CSPPANet`.
        options: of every `ConvNormAct`; `kernel_size` and `depthwise` as in `CSPPANet`.
    """

    def __init__(self, filters, depth, options, name=None):
        super().__init__(name=name, dtype=options["dtype"])
        options = dict(options)
        size, depthwise = options.pop("kernel_size"), options.pop("depthwise")
        spatial = SeparableUnit if depthwise else ConvNormAct
        half = filters // 2
        self.filters = filters
        self.main = ConvNormAct(half, name="main", **options)
        self.bypass = ConvNormAct(half, name="bypass", **options)
        self.blocks = []
        for i in range(depth):
            self.blocks.append(ConvNormAct(half, name=f"block_{i + 1}_1x1", **options))
            name = f"block_{i + 1}_{size}x{size}"
            self.blocks.append(spatial(half, size, name=name, **options))
        self.fuse = ConvNormAct(filters, name="fuse", **options)

    def call(self, x, training=None):
        y = self.main(x, training=training)
        for block in self.blocks:
            y = block(y, training=training)
        both = [y, self.bypass(x, training=training)]
        return self.fuse(ops.concatenate(both, axis=-1), training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], self.filters)
