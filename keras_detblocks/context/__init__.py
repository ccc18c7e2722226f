"""Context (receptive-field) blocks: layers, tensor in, tensor out."""

from .spp import SPP, SPPCSP, SPPF, SpatialPyramidPooling

__all__ = [
    "SPP",
    "SPPCSP",
    "SPPF",
    "SpatialPyramidPooling",
]
