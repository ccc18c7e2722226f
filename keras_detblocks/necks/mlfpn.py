"""M2Det's multi-level feature pyramid (https://arxiv.org/abs/1811.04533): alternating FFMs and
TUMs, then SFAM."""

import keras

from ..checks import check_flag, check_int, check_ints, level_name, look_up
from ..layers import ConvNormAct, concatenate, normalization_layer
from ..layers.normalization import norm_options
from .base import Neck, check_pyramid
from .m2det import SFAM, TUM, FFMv1, FFMv2, scale_sizes

_SIX = (3, 4, 5, 6, 7, 8)
# The published models, all with six scales, and the paper's narrower and shallower ones (table 3).
VARIANTS = {
    "m2det_320": dict(filters=256, levels=_SIX, num_tums=8),
    "m2det_512": dict(filters=256, levels=_SIX, num_tums=8),
    "m2det_800": dict(filters=256, levels=_SIX, num_tums=8),
    "4x256": dict(filters=256, levels=_SIX, num_tums=4),
    "16x128": dict(filters=128, levels=_SIX, num_tums=16),
}


@keras.saving.register_keras_serializable(package="keras_detblocks")
class MLFPN(Neck):
    """Multi-Level Feature Pyramid Network: `num_tums` U-shaped modules in a row, whose maps of one
    scale are concatenated.

    Paper: https://arxiv.org/abs/1811.04533. `MLFPN.from_variant("m2det_320")` (or 512, 800) gives
    M2Det's settings.

    Args:
        filters: width of every TUM's maps (the paper's planes); the outputs have `filters *
            num_tums` channels.
        levels: the output levels. There is a scale for each level from the lowest to the highest;
            the lowest has the size of that level's input. The last scale is not half of the one
            before but two pixels smaller (M2Det-320: 40, 20, 10, 5, 3, 1), so its spacing is image
            size over map size.
        num_tums: number of TUMs.
        base_levels: the two input levels that FFMv1 fuses; `None` means the lowest output level and
            the next. Other inputs are not used.
        reduction: of SFAM; `None` leaves SFAM out, as in the released models.
        shared: whether all FFMv2 share a thinning convolution and all scales share a pair of SFAM
            layers, as in the authors' code; the paper has separate ones.
        final_norm: whether the largest output has a batch normalization, as in the authors' code
            but not in the paper.
        normalization, activation: after each convolution; `"group"` needs filters divisible by 64.
        upsampling: `"nearest"` (the code's) or `"bilinear"` (drawn in figure 4).
        smooth: whether the outputs of the modules are smoothed, as published (`TUM`).
        **kwargs: as in `FPN`.

    Input: dict of `(B, H, W, C)` by level. With S scales, the map of the lowest level has at least
    2 ** (S - 1) + 1 pixels a side: 33 for six, an image of more than 256.

    Output: dict of `(B, H, W, filters * num_tums)` by level.

    int8: with two TUMs of 16 filters on calibrated random features the normalized RMS error of the
    worst level is 0.02 to 0.03 at initial statistics, and 0.10 to 0.21 (five seeds; median of the
    levels 0.08 to 0.15) once the batch statistics fit the features: over random weights batch
    normalization magnifies any difference, rounding included, by about 1.2 per layer
    (https://arxiv.org/abs/1902.08129), and the U-shaped modules have the longest paths of all
    necks. relu6 changes nothing. To quantize well, take few TUMs and scales, or `FPN` or `ASFF`
    (0.02 to 0.03).

    Raises:
        ValueError: on arguments out of range, missing levels, sizes that form no pyramid, or maps
            too small for the scales.

    Example:

    >>> features = {"P3": keras.ops.ones((1, 25, 21, 8)), "P4": keras.ops.ones((1, 13, 11, 16))}
    >>> outputs = MLFPN(8, levels=(3, 4, 5, 6), num_tums=2)(features)
    >>> {level: tuple(x.shape) for level, x in outputs.items()}
    {'P3': (1, 25, 21, 16), 'P4': (1, 13, 11, 16), 'P5': (1, 7, 6, 16), 'P6': (1, 5, 4, 16)}
    """

    def __init__(
        self,
        filters=256,
        levels=(3, 4, 5, 6, 7, 8),
        num_tums=8,
        base_levels=None,
        reduction=16,
        shared=False,
        final_norm=False,
        normalization="batch",
        activation="relu",
        upsampling="nearest",
        smooth=True,
        **kwargs,
    ):
        super().__init__(filters, levels, normalization, activation, upsampling, **kwargs)
        if max(self.levels) == min(self.levels) or self.filters < 2:
            raise ValueError(
                f"MLFPN has at least two scales and two filters. Received: levels={levels}, "
                f"filters={filters}"
            )
        self.num_tums = check_int(num_tums, "num_tums")
        self.base_levels = None if base_levels is None else _two_levels(base_levels)
        self.reduction = check_int(reduction, "reduction", optional=True)
        self.shared = check_flag(shared, "shared")
        self.final_norm = check_flag(final_norm, "final_norm")
        self.smooth = check_flag(smooth, "smooth")
        self.num_scales = max(self.levels) - min(self.levels) + 1
        self._make_parts()

    def _make_parts(self):
        options = {
            "normalization": self.normalization,
            "activation": self.activation,
            "dtype": self.dtype_policy,
            **norm_options(self),
        }
        resize = {"upsampling": self.upsampling}
        smooth = {"smooth": self.smooth}
        self.ffmv1 = FFMv1(**options, **resize, name="ffmv1")
        self.tums = [
            TUM(self.filters, self.num_scales, **options, **resize, **smooth, name=f"tum_{i + 1}")
            for i in range(self.num_tums)
        ]
        # TUM 1 gets only the thinned base feature, through `leach`; the others through an FFMv2
        # each, or `leach` if shared.
        self.leach = ConvNormAct(
            self.filters // 2, kernel_initializer="he_normal", **options, name="leach"
        )
        count = 0 if self.shared else self.num_tums - 1
        self.ffmv2s = [
            FFMv2(self.filters // 2, **options, name=f"ffmv2_{i + 2}") for i in range(count)
        ]
        self.sfam = self.norm = None
        if self.reduction is not None:
            self.sfam = SFAM(self.reduction, self.shared, name="sfam", dtype=self.dtype_policy)
        if self.final_norm:
            self.norm = normalization_layer(
                "batch",
                epsilon=self.epsilon,
                momentum=self.momentum,
                name="final_norm",
                dtype=self.dtype_policy,
            )

    @classmethod
    def from_variant(cls, variant, **kwargs):
        """An MLFPN of M2Det or its ablations.

        Args:
            variant: `"m2det_320"`, `"m2det_512"`, `"m2det_800"` (or the number alone), or an
                ablation's name.
            **kwargs: arguments that override the variant's.
        """
        known = f"m2det_{variant}"  # of a number
        variant = known if known in VARIANTS else variant
        return cls(**{**look_up(VARIANTS, variant, "variant"), **kwargs})

    def required_levels(self, shapes):
        lowest = min(self.levels)
        return list(
            self.base_levels
            or (lowest, min([level for level in shapes if level > lowest], default=lowest + 1))
        )

    def make_levels(self, shapes):
        shallow, deep = self.required_levels(shapes)
        self.ffmv1.factor = 2 ** (deep - shallow)

    def call(self, features, training=None):
        shapes = check_pyramid({key: x.shape for key, x in features.items()}, self)
        base = self.ffmv1(
            [features[level_name(level)] for level in self.required_levels(shapes)],
            training=training,
        )
        thin = self.leach(base, training=training)
        levels = [self.tums[0](thin, training=training)]
        for i, tum in enumerate(self.tums[1:]):
            previous = levels[-1][0]
            x = (
                concatenate([thin, previous])
                if self.shared
                else self.ffmv2s[i]([base, previous], training=training)
            )
            levels.append(tum(x, training=training))
        scales = [concatenate(maps) for maps in zip(*levels)]
        if self.sfam is not None:
            scales = self.sfam(scales)
        if self.norm is not None:
            scales[0] = self.norm(scales[0], training=training)
        return {level_name(level): scales[level - min(self.levels)] for level in self.levels}

    def compute_output_shape(self, input_shape):
        shapes = check_pyramid(input_shape, self)
        base = shapes[self.required_levels(shapes)[0]]
        sizes = scale_sizes(base[1:3], self.num_scales)
        width = self.filters * self.num_tums
        return {
            level_name(level): (base[0], *sizes[level - min(self.levels)], width)
            for level in self.levels
        }

    def get_config(self):
        return {
            **super().get_config(),
            "num_tums": self.num_tums,
            "base_levels": self.base_levels,
            "reduction": self.reduction,
            "shared": self.shared,
            "final_norm": self.final_norm,
            "smooth": self.smooth,
        }


def _two_levels(levels):
    levels = check_ints(levels, "base_levels", least=0)
    if len(levels) != 2 or levels[0] >= levels[1]:
        raise ValueError(
            f"`base_levels` must be two levels, the finer first. Received: base_levels={levels!r}"
        )
    return levels
