"""Context (receptive-field) blocks: layers from a tensor to a tensor."""

from . import checkpoints as _checkpoints  # noqa: F401 - tells `weights` the names of the references
from .aspp import ASPP
from .rfb import RFB, RFBs
from .spp import SPP, SPPCSP, SPPF, SpatialPyramidPooling

__all__ = [
    "ASPP",
    "RFB",
    "SPP",
    "SPPCSP",
    "SPPF",
    "RFBs",
    "SpatialPyramidPooling",
]
