"""Necks: layers, dict of levels in, dict of levels out."""

from .asff import ASFF
from .bifpn import BiFPN
from .csp_panet import CSPPANet
from .efm import EFM
from .fpn import FPN
from .panet import PANet

__all__ = ["ASFF", "EFM", "FPN", "BiFPN", "CSPPANet", "PANet"]
