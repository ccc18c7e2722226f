"""Layers and functions that several blocks share."""

from .activation import activation_layer
from .attention import SqueezeExcite
from .conv import Conv2D
from .cross_stage import CrossStage, Transition
from .fusion import CrossChannelPooling, WeightedFusion, concatenate
from .initializer import fan_out_normal
from .normalization import BatchNormalization, ImageNormalization, normalization_layer
from .regularization import StochasticDepth
from .resampling import MaxPool2D, resize_to, upsample_to
from .unit import ConvNormAct, conv_norm_act

__all__ = [
    "BatchNormalization",
    "Conv2D",
    "ConvNormAct",
    "CrossChannelPooling",
    "CrossStage",
    "ImageNormalization",
    "MaxPool2D",
    "SqueezeExcite",
    "StochasticDepth",
    "Transition",
    "WeightedFusion",
    "activation_layer",
    "concatenate",
    "conv_norm_act",
    "fan_out_normal",
    "normalization_layer",
    "resize_to",
    "upsample_to",
]
