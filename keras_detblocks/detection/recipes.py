"""Detectors in the style of papers, assembled by name from the parts of this package.

They follow the papers' plans (which backbone, context block and neck, which levels), not their
widths, anchors and losses: all have this package's anchor-free head. The small ones (`-s`) train
from scratch, or from the shipped start, in minutes.
"""

from dataclasses import dataclass, replace

from ..checks import look_up
from .build import ModelOptions, build_detector

__all__ = ["Recipe", "build", "list", "options"]


@dataclass(frozen=True)
class Recipe:
    """A detector's plan: the `paper`, its `url`, and the `parts`, a `ModelOptions`."""

    paper: str
    url: str
    parts: ModelOptions


_EFFICIENTDET = ("EfficientDet: BiFPN over five levels", "https://arxiv.org/abs/1911.09070")
_YOLO = ("YOLOv4: CSPDarknet, SPP and PAN of CSP stages", "https://arxiv.org/abs/2011.08036")
_M2DET = ("M2Det: multi-level feature pyramids", "https://arxiv.org/abs/1811.04533")
_RFBNET = ("RFBNet: receptive field block", "https://arxiv.org/abs/1711.07767")
_ASFF = ("ASFF: levels fused by learned weights", "https://arxiv.org/abs/1911.09516")
_WIDE = (3, 4, 5, 6, 7)

RECIPES = {
    "efficientdet-like-s": Recipe(*_EFFICIENTDET, ModelOptions(neck="bifpn", levels=_WIDE)),
    "yolo-like-s": Recipe(
        *_YOLO, ModelOptions(backbone="CS3DarknetS", context="spp", neck="csppanet", filters=128)
    ),
    "yolo-like-m": Recipe(
        *_YOLO, ModelOptions(backbone="CSPDarknet53", context="spp", neck="csppanet", filters=256)
    ),
    "m2det-like-s": Recipe(*_M2DET, ModelOptions(neck="mlfpn", levels=_WIDE)),
    "rfbnet-like-s": Recipe(*_RFBNET, ModelOptions(context="rfb")),
    "asff-like-s": Recipe(*_ASFF, ModelOptions(neck="asff")),
}


def list():  # noqa: A001 (read as `recipes.list()`)
    """The names of the recipes.

    >>> recipes.list()[:2]
    ['efficientdet-like-s', 'yolo-like-s']
    """
    return [*RECIPES]


def options(name, **changes):
    """Returns the parts of a recipe as `ModelOptions`, with `changes` such as `image_size=(256,
    320)`.

    Raises:
        ValueError: for an unknown `name`, with the nearest known ones, or impossible changes.

    >>> recipes.options("asff-like-s", filters=32).neck
    'asff'
    """
    return replace(look_up(RECIPES, name, "recipe").parts, **changes)


def build(name, class_names, **changes):
    """Builds the `Detector` of a recipe.

    Args:
        name: one of `recipes.list()`, in any case.
        class_names: one name per class.
        **changes: fields of its `ModelOptions`, such as `image_size=(256, 320)` or `filters=32`.

    Raises:
        ValueError: as `options`.

    >>> recipes.build("rfbnet-like-s", ["cat"], image_size=(64, 64), filters=8).image_size
    (64, 64)
    """
    return build_detector(class_names, **vars(options(name, **changes)))
