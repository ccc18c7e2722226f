"""Detectors by name: the tables of necks and context blocks, and the function that puts the parts
together."""

from dataclasses import dataclass, fields

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


@dataclass(frozen=True)
class ModelOptions:
    """The parts of a detector by name: what the command line, the demo and `build_detector` take.

    Attributes:
        image_size: `(height, width)` of the input.
        backbone: `"compact"` (0.2 to 0.6 million parameters, for training from scratch) or the name
            of one of our backbones (`list_models()`).
        weights: of the backbone.
        neck: a key of `NECKS`, or `None` for the backbone's levels as they are.
        context: a key of `CONTEXTS`, the block on the deepest level of the backbone, or `None`.
        levels: the levels that the head predicts from.
        filters: width of neck and head.

    Raises:
        ValueError: for an unknown name, with the nearest known ones, before anything is built.
    """

    image_size: tuple = (320, 320)
    backbone: str = "compact"
    weights: str | None = None
    neck: str | None = "fpn"
    context: str | None = None
    levels: tuple = (3, 4, 5)
    filters: int = 64

    def __post_init__(self):
        for name in ("image_size", "levels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.neck is not None:
            look_up(NECKS, self.neck, "neck")
        if self.context is not None:
            look_up(CONTEXTS, self.context, "context block")
        if self.backbone != "compact":
            _maker(self.backbone)


def build_detector(class_names, image_size=(320, 320), *, neck_options=None, **options):
    """Builds a `Detector` from names.

    Args:
        class_names: one name per class.
        image_size: `(height, width)` of the input.
        neck_options: dict of more arguments of the neck.
        **options: `backbone`, `weights`, `neck`, `context`, `levels` and `filters`, the fields of
            `ModelOptions`, where they are described; others are arguments of `Detector`.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.

    >>> build_detector(["cat"], (64, 64), neck="panet", levels=(3, 4)).image_size
    (64, 64)
    """
    own = {field.name for field in fields(ModelOptions)} & options.keys()
    parts = ModelOptions(image_size, **{name: options.pop(name) for name in own})
    deepest = min(max(parts.levels), DEEPEST)
    taken = tuple(level for level in parts.levels if level <= deepest) or (deepest,)
    if parts.neck == "efm":  # each output of an exact fusion model also sees the level below it
        taken = (taken[0] - 1, *taken)
    stem = build_backbone(parts.backbone, parts.image_size, taken, parts.weights)
    layers = []
    if parts.neck is not None:
        layers = NECKS[parts.neck](parts.filters, parts.levels, **(neck_options or {}))
    block = None
    if parts.context is not None:
        block = CONTEXTS[parts.context](stem.output[f"P{deepest}"].shape[-1])
    return Detector(stem, layers, class_names=class_names, context=block, **options)


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
