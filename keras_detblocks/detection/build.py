"""Detectors by name: the tables behind `--backbone`, `--neck` and `--context`, and the function
that puts the parts together."""

from .. import backbones, necks
from .. import context as context_blocks
from ..backbones import AnyNet, AnyNetSpec
from ..checks import look_up
from .detector import Detector

# Stages of the compact backbone that trains from scratch in minutes: RegNet's Y block, one stage
# per level from P2 on.
COMPACT_WIDTHS = {2: 24, 3: 48, 4: 96, 5: 192}
COMPACT_DEPTHS = {2: 1, 3: 1, 4: 2, 5: 2}

DEEPEST = 5  # of the backbones' levels; necks make what lies beyond

# Functions (filters, levels, **options) -> layers run in turn. ASFF fuses the levels of a pyramid,
# so it brings an FPN along. FPN comes with batch normalisation, without which high learning rates
# do harm; the others have it by default.
NECKS = {
    "fpn": lambda filters, levels, **options: [
        necks.FPN(filters, levels=levels, name="fpn", **{"normalization": "batch", **options})
    ],
    "panet": lambda filters, levels, **options: [
        necks.PANet(filters, levels=levels, name="panet", **options)
    ],
    "csppanet": lambda filters, levels, **options: [
        necks.CSPPANet(filters, levels=levels, name="csppanet", **options)
    ],
    "bifpn": lambda filters, levels, **options: [
        necks.BiFPN(filters, levels=levels, name="bifpn", **options)
    ],
    "efm": lambda filters, levels, **options: [
        necks.EFM(filters, levels=levels, name="efm", **options)
    ],
    "mlfpn": lambda filters, levels, **options: [_mlfpn(filters, levels, **options)],
    "asff": lambda filters, levels, **options: [
        necks.FPN(filters, levels=levels, name="fpn", normalization="batch"),
        necks.ASFF(filters, levels=levels, expand=False, name="asff", **options),
    ],
}
# Functions (channels) -> layer for the deepest level of the backbone, as wide as that level.
CONTEXTS = {
    "spp": lambda channels: context_blocks.SPP(filters=channels, name="spp"),
    "sppcsp": lambda channels: context_blocks.SPPCSP(channels, name="sppcsp"),
    "sppf": lambda channels: context_blocks.SPPF(channels, name="sppf"),
    # The published rates are for maps of stride 8 and 16; at rate 18 a map of stride 32 is met by
    # the centre tap alone.
    "aspp": lambda channels: context_blocks.ASPP(channels, rates=(3, 6, 9), name="aspp"),
    "rfb": lambda channels: context_blocks.RFB(channels, name="rfb"),
    "rfbs": lambda channels: context_blocks.RFBs(channels, name="rfbs"),
}


def _mlfpn(filters, levels, **options):
    # Two of the paper's eight modules: the outputs are `filters` times the number of modules wide,
    # and so is the head. The two levels that it fuses are the finest and the deepest, so that no
    # stage is built in vain and a context block has its say.
    base_levels = (min(levels), min(max(levels), DEEPEST))
    return necks.MLFPN(
        filters // 2, levels, name="mlfpn", **{"num_tums": 2, "base_levels": base_levels, **options}
    )


def build_detector(
    class_names,
    image_size,
    *,
    backbone="compact",
    neck="fpn",
    context=None,
    levels=(3, 4, 5),
    filters=64,
    weights=None,
    neck_options=None,
    **options,
):
    """Builds a `Detector` from names.

    Args:
        class_names: one name per class.
        image_size: `(height, width)` of the input.
        backbone: `"compact"` (0.2 to 0.6 million parameters, for training from scratch) or the name
            of one of our backbones (`list_models()`).
        neck: a key of `NECKS`, or `None` for the backbone's levels as they are.
        context: a key of `CONTEXTS`, or `None`.
        levels: the levels that the head predicts from.
        filters: width of neck and head.
        weights: of the backbone.
        neck_options: more arguments of the neck.
        **options: of `Detector`.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.

    >>> build_detector(["cat"], (64, 64), levels=(3, 4)).image_size
    (64, 64)
    """
    check_names(backbone, neck, context)
    levels = tuple(levels)
    deepest = min(max(levels), DEEPEST)
    taken = tuple(level for level in levels if level <= deepest) or (deepest,)
    if neck == "efm":
        taken = (
            taken[0] - 1,
            *taken,
        )  # each output of an exact fusion model also sees the level below it
    stem = build_backbone(backbone, image_size, taken, weights)
    layers = [] if neck is None else NECKS[neck](filters, levels, **(neck_options or {}))
    block = None if context is None else CONTEXTS[context](stem.output[f"P{deepest}"].shape[-1])
    return Detector(stem, layers, class_names=class_names, context=block, **options)


def check_names(backbone="compact", neck="fpn", context=None, **_):
    """Raises `ValueError` for an unknown name, with the near ones, before anything is built or
    written."""
    if neck is not None:
        look_up(NECKS, neck, "neck")
    if context is not None:
        look_up(CONTEXTS, context, "context block")
    if backbone != "compact":
        _maker(backbone)


def build_backbone(name, image_size, levels, weights=None):
    """Builds a backbone from its name: `"compact"` or one of `list_models()`, in any case; the rest
    as in `build_detector`.

    >>> list(build_backbone("regnety002", (64, 64), (4, 5)).output)
    ['P4', 'P5']
    """
    if name == "compact":
        if weights is not None:
            raise ValueError(
                f"The compact backbone has no pretrained weights: name another with `backbone`. "
                f"Received: weights={weights!r}"
            )
        return _compact(image_size, levels)
    return _maker(name)(
        include_top=False, weights=weights, input_shape=(*image_size, 3), levels=levels
    )


def _maker(name):
    """The constructor of a name of `list_models()`, in any case."""
    makers = {key.lower(): key for key in backbones.list_models()}
    return getattr(backbones, look_up(makers, name.lower(), "backbone"))


def _compact(image_size, levels):
    stages = range(2, max(levels) + 1)
    count = len(stages)
    spec = AnyNetSpec(
        depths=tuple(COMPACT_DEPTHS[stage] for stage in stages),
        widths=tuple(COMPACT_WIDTHS[stage] for stage in stages),
        bottleneck_ratios=(1.0,) * count,
        group_widths=tuple(8 if stage == 2 else 16 for stage in stages),
        se_ratio=0.25,
        stem_width=16,
    )
    return AnyNet(
        spec, include_top=False, input_shape=(*image_size, 3), levels=levels, name="compact"
    )
