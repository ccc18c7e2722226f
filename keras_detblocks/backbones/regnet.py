"""RegNetX and RegNetY: nets whose widths follow a quantized line, six numbers each.

"Designing Network Design Spaces" (https://arxiv.org/abs/2003.13678). The numbers are those of pycls
(https://github.com/facebookresearch/pycls, MIT); `_tv` marks the nets that differ by torchvision's
rounding. The three largest come from SEER and SWAG (VISSL). Initialization is pycls' (He by
fan-out; the last scale of a block starts at 1).
"""

import re
from dataclasses import dataclass

import numpy as np

from ..checks import check_choice, check_int, check_number, did_you_mean
from .anynet import AnyNetSpec, anynet_trunk, fit_to_groups
from .checkpoints import imagenet
from .constructor import constructor


@dataclass(frozen=True)
class RegNetSpec:
    """The six numbers of a RegNet, and the settings that are fixed in the family.

    Args:
        depth: number of blocks.
        w_0, w_a: block j has the width w_0 + w_a * j before quantization. w_0 is a multiple of 8.
        w_m: ratio between the widths of consecutive stages, above 1.
        group_width: channels per group of the 3x3 convolutions.
        bottleneck_ratio: the paper's b; the 3x3 convolutions have `width / b` channels.
        se_ratio: squeezed channels over a block's input channels; 0 for RegNetX, 0.25 for RegNetY.
        stem_width: channels of the stem.
        rounding: of widths to whole groups, `"pycls"` (the paper's) or `"torchvision"`.

    Raises:
        ValueError: if a number is out of range, or the widths skip a stage or do not divide into
            groups.
    """

    depth: int
    w_0: int
    w_a: float
    w_m: float
    group_width: int
    bottleneck_ratio: float = 1.0
    se_ratio: float = 0.0
    stem_width: int = 32
    rounding: str = "pycls"

    def __post_init__(self):
        for field in ("depth", "w_0", "group_width", "stem_width"):
            object.__setattr__(self, field, check_int(getattr(self, field), field))
        if self.w_0 % 8:
            raise ValueError(f"`w_0` must be a multiple of 8. Received: w_0={self.w_0}")
        # Widths grow with depth, and w_m is the ratio between the widths of stages.
        limits = {"w_a": {"least": 0}, "w_m": {"above": 1}, "bottleneck_ratio": {"above": 0}}
        for field, limit in limits.items():
            object.__setattr__(self, field, check_number(getattr(self, field), field, **limit))
        check_choice(self.rounding, "rounding", ("pycls", "torchvision"))
        self.to_anynet()  # the rules that bind the numbers to each other

    def to_anynet(self):
        """The `AnyNetSpec` of this net."""
        widths, depths, exponents = stage_widths_and_depths(
            self.depth, self.w_0, self.w_a, self.w_m
        )
        if len(widths) != exponents:
            raise ValueError(
                f"The widths skip a stage: {exponents} steps of w_m from w_0, but {len(widths)} "
                f"distinct widths {widths}. Lower `w_a` or raise `w_m` or `depth`. Received: {self}"
            )
        ratios, groups = (self.bottleneck_ratio,) * len(widths), (self.group_width,) * len(widths)
        if self.rounding == "pycls":
            widths, groups = fit_to_groups(widths, ratios, groups)
        else:
            widths, groups = _fit_like_torchvision(widths, ratios, groups)
        return AnyNetSpec(depths, widths, ratios, groups, self.se_ratio, self.stem_width)


def stage_widths_and_depths(depth, w_0, w_a, w_m, quantum=8):
    """Applies the generation rule, before widths are fitted to groups, in float64 with halves
    rounded to even.

    Returns:
        (widths, depths, steps): one width and depth per stage, as tuples of ints, and the number of
        steps of `w_m` that the line spans, which is the number of stages unless one is skipped.

    >>> stage_widths_and_depths(13, 24, 36.44, 2.49)
    ((24, 56, 152, 368), (1, 1, 4, 7), 4)
    """
    # Equation 2: the widths of the blocks before quantization lie on a line.
    line = w_0 + w_a * np.arange(depth, dtype=np.float64)
    # Equation 3: the exponent with which each block's width is w_0 * w_m ** exponent, ...
    exponents = np.log(line / w_0) / np.log(w_m)
    # ... rounded, so that neighboring blocks fall on one step: a stage.
    steps = np.round(exponents)
    # Equation 4: the widths of the steps, to multiples of 8 as in pycls.
    block_widths = (np.round(w_0 * np.power(w_m, steps) / quantum) * quantum).astype(int)
    # Blocks of one width are one stage; their number is its depth.
    widths, depths = np.unique(block_widths, return_counts=True)
    return tuple(widths.tolist()), tuple(depths.tolist()), int(steps.max()) + 1


def _fit_like_torchvision(widths, ratios, groups):
    """Rounds to the nearest multiple of the group width, halves up, and adds a group if that lost
    over a tenth."""
    pairs = [_fit_stage_like_torchvision(*stage) for stage in zip(widths, ratios, groups)]
    return tuple(w for w, _ in pairs), tuple(g for _, g in pairs)


def _fit_stage_like_torchvision(width, ratio, group):
    inner = round(width / ratio)
    group = min(group, inner)
    multiple = max(group, int(inner + group / 2) // group * group)
    if multiple < 0.9 * inner:
        multiple += group
    return round(multiple * ratio), group


# fmt: off
VARIANTS = {
    # name: depth, w_0, w_a, w_m, group width
    "regnetx_002":       RegNetSpec(13, 24,  36.44,  2.49, 8),
    "regnetx_004":       RegNetSpec(22, 24,  24.48,  2.54, 16),
    "regnetx_004_tv":    RegNetSpec(22, 24, 24.48, 2.54, 16, rounding="torchvision"),
    "regnetx_006":       RegNetSpec(16, 48,  36.97,  2.24, 24),
    "regnetx_008":       RegNetSpec(16, 56,  35.73,  2.28, 16),
    "regnetx_016":       RegNetSpec(18, 80,  34.01,  2.25, 24),
    "regnetx_032":       RegNetSpec(25, 88,  26.31,  2.25, 48),
    "regnetx_040":       RegNetSpec(23, 96,  38.65,  2.43, 40),
    "regnetx_064":       RegNetSpec(17, 184, 60.83,  2.07, 56),
    "regnetx_080":       RegNetSpec(23, 80,  49.56,  2.88, 120),
    "regnetx_120":       RegNetSpec(19, 168, 73.36,  2.37, 112),
    "regnetx_160":       RegNetSpec(22, 216, 55.59,  2.1,  128),
    "regnetx_320":       RegNetSpec(23, 320, 69.86,  2.0,  168),
    "regnety_002":       RegNetSpec(13, 24,  36.44,  2.49, 8, se_ratio=0.25),
    "regnety_004":       RegNetSpec(16, 48,  27.89,  2.09, 8, se_ratio=0.25),
    "regnety_006":       RegNetSpec(15, 48,  32.54,  2.32, 16, se_ratio=0.25),
    "regnety_008":       RegNetSpec(14, 56,  38.84,  2.4,  16, se_ratio=0.25),
    "regnety_008_tv":    RegNetSpec(14, 56, 38.84, 2.4, 16, se_ratio=0.25, rounding="torchvision"),
    "regnety_016":       RegNetSpec(27, 48,  20.71,  2.65, 24, se_ratio=0.25),
    "regnety_032":       RegNetSpec(21, 80,  42.63,  2.66, 24, se_ratio=0.25),
    "regnety_040":       RegNetSpec(22, 96,  31.41,  2.24, 64, se_ratio=0.25),
    "regnety_064":       RegNetSpec(25, 112, 33.22,  2.27, 72, se_ratio=0.25),
    "regnety_080":       RegNetSpec(17, 192, 76.82,  2.19, 56, se_ratio=0.25),
    "regnety_080_tv":    RegNetSpec(17, 192, 76.82, 2.19, 56, se_ratio=0.25, rounding="torchvision"),
    "regnety_120":       RegNetSpec(19, 168, 73.36,  2.37, 112, se_ratio=0.25),
    "regnety_160":       RegNetSpec(18, 200, 106.23, 2.48, 112, se_ratio=0.25),
    "regnety_320":       RegNetSpec(20, 232, 115.89, 2.53, 232, se_ratio=0.25),
    "regnety_640":       RegNetSpec(20, 352, 147.48, 2.4, 328, se_ratio=0.25),
    "regnety_1280":      RegNetSpec(27, 456, 160.83, 2.52, 264, se_ratio=0.25),
    "regnety_2560":      RegNetSpec(27, 640, 230.83, 2.53, 373, se_ratio=0.25),
}
# fmt: on
_SIZES = {
    "200mf": "002",
    "400mf": "004",
    "600mf": "006",
    "800mf": "008",
    "1.6gf": "016",
    "3.2gf": "032",
    "4.0gf": "040",
    "6.4gf": "064",
    "8.0gf": "080",
    "12gf": "120",
    "16gf": "160",
    "32gf": "320",
    "64gf": "640",
    "128gf": "1280",
    "256gf": "2560",
}  # fmt: skip


def _trunk(family, variant, output_stride, drop_path_rate):
    if isinstance(variant, (RegNetSpec, AnyNetSpec)):
        if bool(variant.se_ratio) != (family == "y"):
            raise ValueError(
                "A RegNetY has squeeze-and-excitation (the paper's se_ratio=0.25) and a RegNetX "
                f"has none (0); AnyNet takes either. Received: se_ratio={variant.se_ratio} for "
                f"RegNet{family.upper()}"
            )
        spec = variant if isinstance(variant, AnyNetSpec) else variant.to_anynet()
        return anynet_trunk(spec, f"regnet{family}", output_stride, drop_path_rate)
    size, _, rounding = _short(family, variant).partition("_")
    name = f"regnet{family}_{_SIZES.get(size, size)}{'_' + rounding if rounding else ''}"
    if name not in VARIANTS:
        raise ValueError(_unknown_variant(family, variant))
    spec = VARIANTS[name].to_anynet()
    return anynet_trunk(spec, name, output_stride, drop_path_rate, imagenet(name))


def _short(family, variant):
    """The variant as in `_SIZES`: without the family's name in front, and "8gf" as "8.0gf"."""
    name = re.sub(rf"^regnet_?{family}_?", "", str(variant).lower())
    return re.sub(r"^(\d)gf", r"\1.0gf", name)


def _unknown_variant(family, variant):
    sizes = {code: size for size, code in _SIZES.items()}
    names = [
        key.removeprefix(f"regnet{family}_")
        for key in VARIANTS
        if key.startswith(f"regnet{family}_")
    ]
    known = [sizes[name.partition("_")[0]] + name[len(name.partition("_")[0]) :] for name in names]
    hint = did_you_mean(_short(family, variant), known)
    return (
        f"Unknown RegNet{family.upper()} variant. {hint}Known: {', '.join(known)}. Received: "
        f"variant={variant!r}"
    )


@constructor
def RegNetX(variant="800mf", *, output_stride=32, drop_path_rate=0.0):
    """RegNetX (https://arxiv.org/abs/2003.13678): a published net by its size, or one of your own.

    The same as `RegNetY`, without squeeze-and-excitation.

    Args:
        variant: 200mf, 400mf, 600mf, 800mf, 1.6gf, 3.2gf, 4.0gf, 6.4gf, 8.0gf, 12gf, 16gf, 32gf, or
            with torchvision's rounding 400mf_tv; in any case. Or a `RegNetSpec` or `AnyNetSpec`.

    >>> RegNetX("200mf", input_shape=(64, 64, 3)).output_shape
    (None, 1000)
    """
    return _trunk("x", variant, output_stride, drop_path_rate)


@constructor
def RegNetY(variant="800mf", *, output_stride=32, drop_path_rate=0.0):
    """RegNetY (https://arxiv.org/abs/2003.13678): a published net by its size, or one of your own.

    Residual bottleneck blocks with grouped convolutions and squeeze-and-excitation. The arguments
    are those of keras.applications, then what detectors need.

    Args:
        variant: 200mf, 400mf, 600mf, 800mf, 1.6gf, 3.2gf, 4.0gf, 6.4gf, 8.0gf, 12gf, 16gf, 32gf,
            64gf, 128gf, 256gf, or with torchvision's rounding 800mf_tv, 8.0gf_tv; in any case. Or a
            `RegNetSpec` or `AnyNetSpec`.

    >>> model = RegNetY("200mf", include_top=False, input_shape=(97, 131, 3), levels=(3, 5))
    >>> {level: tuple(t.shape) for level, t in model.output.items()}
    {'P3': (None, 13, 17, 56), 'P5': (None, 4, 5, 368)}
    """
    return _trunk("y", variant, output_stride, drop_path_rate)


def _named(family, code):
    """The constructor of a published net, such as `RegNetX002`."""
    name, title = f"regnet{family}_{code}", f"RegNet{family.upper()}"
    size = dict(zip(_SIZES.values(), _SIZES))[code].upper()

    def trunk(*, output_stride=32, drop_path_rate=0.0):
        return _trunk(family, code, output_stride, drop_path_rate)

    summary = (
        f"{title}-{size} (https://arxiv.org/abs/2003.13678): {VARIANTS[name].depth} residual "
        f"bottleneck blocks\nwith grouped convolutions"
        f"{' and squeeze-and-excitation' if family == 'y' else ''}."
    )
    return constructor(trunk, f"{title}{code}", summary)


RegNetX002 = _named("x", "002")
RegNetX004 = _named("x", "004")
RegNetX006 = _named("x", "006")
RegNetX008 = _named("x", "008")
RegNetX016 = _named("x", "016")
RegNetX032 = _named("x", "032")
RegNetX040 = _named("x", "040")
RegNetX064 = _named("x", "064")
RegNetX080 = _named("x", "080")
RegNetX120 = _named("x", "120")
RegNetX160 = _named("x", "160")
RegNetX320 = _named("x", "320")
RegNetY002 = _named("y", "002")
RegNetY004 = _named("y", "004")
RegNetY006 = _named("y", "006")
RegNetY008 = _named("y", "008")
RegNetY016 = _named("y", "016")
RegNetY032 = _named("y", "032")
RegNetY040 = _named("y", "040")
RegNetY064 = _named("y", "064")
RegNetY080 = _named("y", "080")
RegNetY120 = _named("y", "120")
RegNetY160 = _named("y", "160")
RegNetY320 = _named("y", "320")
