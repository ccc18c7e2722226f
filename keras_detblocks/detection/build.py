"""Detectors by name: the tables of backbones, necks, context blocks and heads that a name stands
for, and the function that puts the parts together."""

from dataclasses import dataclass, fields
from functools import partial

from .. import context as context_blocks
from .. import necks
from ..backbones import AnyNet, AnyNetSpec, catalog
from ..checks import check_choice, check_int, check_levels, check_pair, set_fields, spelled
from ..images.letterbox import MOST_SIDE, RESIZES
from ..layers import ImageNormalization
from ..layers.normalization import PLAIN_MEAN, PLAIN_STD
from .classes import checked_classes
from .detector import Detector
from .head import AnchorFreeHead

# Stages of the compact backbone, which trains from scratch in minutes: RegNet's Y block, one stage
# per level from P2 on.
COMPACT_WIDTHS = {2: 24, 3: 48, 4: 96, 5: 192}
COMPACT_DEPTHS = {2: 1, 3: 1, 4: 2, 5: 2}
_COMPACT = "0.2 to 0.6 million parameters, for training from scratch in minutes."

MOST_FILTERS = 2**13  # a 3x3 convolution between this many takes 2.4 GB
DEEPEST = 5  # level of the backbones; necks make deeper ones


def _neck(layer, filters, levels, **options):
    return [layer(filters, levels=levels, name=layer.__name__.lower(), **options)]


def _asff(layer, filters, levels, **options):
    # ASFF fuses the levels of a pyramid, so it brings an FPN along.
    pyramid = necks.FPN(filters, levels=levels, name="fpn", normalization="batch")
    return [pyramid, layer(filters, levels=levels, expand=False, name="asff", **options)]


def _mlfpn(layer, filters, levels, **options):
    # Two of the paper's eight modules: the outputs are `filters` times the number of modules wide,
    # and so is the head. It fuses the finest and the deepest level, so that no stage is built
    # without use and a context block on the deepest has an effect.
    base_levels = (min(levels), min(max(levels), DEEPEST))
    options = {"num_tums": 2, "base_levels": base_levels, **options}
    return [layer(filters // 2, levels, name="mlfpn", **options)]


def _context(layer, channels, **options):
    return layer(filters=channels, name=layer.__name__.lower(), **options)


# Functions (filters, levels, **options) -> layers run in turn. FPN comes with batch normalization,
# without which high learning rates do harm; the others have it by default.
NECKS = {
    "fpn": partial(_neck, necks.FPN, normalization="batch"),
    "panet": partial(_neck, necks.PANet),
    "csppanet": partial(_neck, necks.CSPPANet),
    "bifpn": partial(_neck, necks.BiFPN),
    "efm": partial(_neck, necks.EFM),
    "mlfpn": partial(_mlfpn, necks.MLFPN),
    "asff": partial(_asff, necks.ASFF),
}
# Functions (channels) -> layer for the deepest level of the backbone, as wide as that level. The
# published rates of ASPP are for maps of stride 8 and 16; at rate 18 only the center tap meets a
# map of stride 32.
CONTEXTS = {
    "spp": partial(_context, context_blocks.SPP),
    "sppcsp": partial(_context, context_blocks.SPPCSP),
    "sppf": partial(_context, context_blocks.SPPF),
    "aspp": partial(_context, context_blocks.ASPP, rates=(3, 6, 9)),
    "rfb": partial(_context, context_blocks.RFB),
    "rfbs": partial(_context, context_blocks.RFBs),
}
# Functions (number of classes, **options) -> layer.
HEADS = {"anchor_free": AnchorFreeHead}


def _first_sentence(layer):
    text = " ".join(layer.__doc__.partition("\n\n")[0].split())
    return text if text.endswith(".") else f"{text}."


# Names and their meaning, by kind, as `print_part_table` shows them.
PARTS = {
    "backbones of build_detector only": {"compact": _COMPACT},
    "necks": {name: _first_sentence(make.args[0]) for name, make in NECKS.items()},
    "context blocks": {name: _first_sentence(make.args[0]) for name, make in CONTEXTS.items()},
    "heads": {name: _first_sentence(make) for name, make in HEADS.items()},
}


def list_necks():
    """Names of the necks that `build_detector` knows.

    >>> "bifpn" in list_necks()
    True
    """
    return list(NECKS)


def list_contexts():
    """Names of the context blocks that `build_detector` knows.

    >>> "sppf" in list_contexts()
    True
    """
    return list(CONTEXTS)


def list_heads():
    """Names of the heads that `build_detector` knows.

    >>> list_heads()
    ['anchor_free']
    """
    return list(HEADS)


@dataclass(frozen=True)
class ModelOptions:
    """The parts of a detector by name, as the command line, the demo and `build_detector` take
    them.

    Attributes:
        image_size: `(height, width)` of the input, or one int for a square.
        backbone: `"compact"` (0.2 to 0.6 million parameters, for training from scratch) or a name
            that `list_models()` shows.
        weights: the backbone's: `None` for random ones, a `.safetensors` or `.keras` file, a hub
            id, or `"imagenet"`.
        neck: one of `list_necks()`, or `None` for the backbone's levels as they are.
        context: one of `list_contexts()`, for the deepest level of the backbone, or `None`.
        levels: the levels that the head predicts from.
        filters: width of neck and head.
        resize: `"letterbox"` or `"stretch"`, as in `Detector`.

    Upper and lower case of names do not matter.

    Raises:
        ValueError: for an unknown name, with the nearest known ones, for sizes and widths that no
            machine has memory for, and for levels that no map of the input has; before anything is
            built.
    """

    image_size: tuple = (320, 320)
    backbone: str = "compact"
    weights: str | None = None
    neck: str | None = "fpn"
    context: str | None = None
    levels: tuple = (3, 4, 5)
    filters: int = 64
    resize: str = "letterbox"

    def __post_init__(self):
        checked = {
            "resize": check_choice(self.resize, "resize", RESIZES),
            "image_size": check_pair(self.image_size, "image_size", MOST_SIDE),
            "levels": check_levels(self.levels),
            "filters": check_int(self.filters, "filters", most=MOST_FILTERS),
            "backbone": _backbone_name(self.backbone),
            "neck": _known(NECKS, self.neck, "neck"),
            "context": _known(CONTEXTS, self.context, "context block"),
        }
        set_fields(self, checked)
        self._check_levels()

    def _check_levels(self):
        """Checks the levels: the compact backbone begins at P2, the others at P1; an EFM takes one
        level more."""
        least = 1 + (self.backbone == "compact") + (self.neck == "efm")
        most = max(self.image_size).bit_length() - 1
        if not least <= self.levels[0] <= self.levels[-1] <= most:
            height, width = self.image_size
            raise ValueError(
                f"`levels` must be from {least} to {most}: level l has a stride of 2 ** l pixels, "
                f"the input {height}x{width}. Received: levels={self.levels}"
            )


def _known(table, name, kind):
    """The name as in the table, or `None`."""
    return None if name is None else spelled(table, name, kind)


def _backbone_name(name):
    """Returns `"compact"`, or the name as in the catalog."""
    compact = isinstance(name, str) and name.lower() == "compact"
    return "compact" if compact else catalog.find(name, others=("compact",))


def build_detector(class_names, image_size=(320, 320), *, neck_options=None, **options):
    """Builds a `Detector` from names.

    Args:
        class_names: one name per class, or the number of classes.
        image_size: `(height, width)` of the input, or one int for a square.
        neck_options: a dict of further arguments of the neck.
        **options: `backbone`, `weights`, `neck`, `context`, `levels`, `filters` and `resize`, the
            fields of `ModelOptions`, where they are described; others are arguments of `Detector`,
            of which `head` may be one of `list_heads()`.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.

    >>> build_detector(["cat"], (64, 64), neck="panet", levels=(3, 4)).image_size
    (64, 64)
    """
    if not isinstance(neck_options, (dict, type(None))):
        raise ValueError(
            "`neck_options` must be a dict of arguments of the neck, or None. Received: "
            f"neck_options={neck_options!r}"
        )
    own = {field.name for field in fields(ModelOptions)} & options.keys()
    parts = ModelOptions(image_size, **{name: options.pop(name) for name in own})
    num_classes, class_names = checked_classes(class_names)
    if isinstance(options.get("head"), str):
        options["head"] = HEADS[_known(HEADS, options["head"], "head")](num_classes, name="head")
    deepest = min(max(parts.levels), DEEPEST)
    taken = tuple(level for level in parts.levels if level <= deepest) or (deepest,)
    if parts.neck == "efm":  # each output of an exact fusion model also uses the level below it
        taken = (taken[0] - 1, *taken)
    trunk = build_backbone(parts.backbone, parts.image_size, taken, parts.weights)
    layers, block = [], None
    if parts.neck is not None:
        layers = NECKS[parts.neck](parts.filters, parts.levels, **(neck_options or {}))
    if parts.context is not None:
        block = CONTEXTS[parts.context](trunk.output[f"P{deepest}"].shape[-1])
    return Detector(
        trunk, layers, class_names=class_names, context=block, resize=parts.resize, **options
    )


def build_backbone(name, image_size, levels, weights=None):
    """Builds a backbone from its name: `"compact"`, or one that `list_models()` names, in
    any case.

    Args:
        name: of the backbone.
        image_size: `(height, width)` of the input.
        levels: the levels that it returns, such as `(3, 4, 5)`.
        weights: as in `ModelOptions`.

    Returns:
        A functional `keras.Model` with a dict of levels.

    >>> list(build_backbone("regnety002", (64, 64), (4, 5)).output)
    ['P4', 'P5']
    """
    name = _backbone_name(name)
    image_size, levels = check_pair(image_size, "image_size", MOST_SIDE), check_levels(levels)
    if name == "compact":
        if weights is not None:
            raise ValueError(
                "The compact backbone has no pretrained weights: name another with `backbone`. "
                f"Received: weights={weights!r}"
            )
        return _compact(image_size, levels)
    return catalog.constructor(name)(
        include_top=False,
        weights=weights,
        input_shape=(*image_size, 3),
        levels=levels,
        include_preprocessing=_plain_normalization() if weights is None else True,
    )


def _plain_normalization():
    """The normalization of images for training from scratch."""
    return ImageNormalization(PLAIN_MEAN, PLAIN_STD, name="normalization")


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
        spec,
        include_top=False,
        input_shape=(*image_size, 3),
        levels=levels,
        name="compact",
        include_preprocessing=_plain_normalization(),
    )
