"""Necks: layers from a dict of levels to a dict of levels."""

from . import checkpoints as _checkpoints  # noqa: F401 - tells `weights` the names of the references
from .asff import ASFF
from .bifpn import BiFPN
from .csp_panet import CSPPANet
from .efm import EFM
from .fpn import FPN
from .m2det import SFAM, TUM, FFMv1, FFMv2
from .mlfpn import MLFPN
from .panet import PANet

__all__ = [
    "ASFF",
    "EFM",
    "FPN",
    "MLFPN",
    "SFAM",
    "TUM",
    "BiFPN",
    "CSPPANet",
    "FFMv1",
    "FFMv2",
    "PANet",
]
