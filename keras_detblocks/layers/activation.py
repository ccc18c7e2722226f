"""Activations by name: Keras' own, and the two slopes of LeakyReLU that published detectors use."""

import keras

# PyTorch's default slope (timm's CSPNets) and Darknet's; Keras' own "leaky_relu" means 0.2, which
# no reference uses.
LEAKY_SLOPES = {"leaky_relu": 0.01, "darknet_leaky_relu": 0.1}


def activation_layer(activation, name=None, dtype=None):
    """Returns the Keras layer for an activation name.

    Args:
        activation: `"leaky_relu"` (slope 0.01), `"darknet_leaky_relu"` (slope 0.1) or a name of
            `keras.activations` (`"relu"`, `"relu6"`, `"silu"`, `"hard_silu"`, ...). For int8 files:
            relu and silu were measured at 0.35 to 0.40 of float32's time (RegNetY-800MF, AVX-512
            with VNNI); hard_silu at 1.35, since TFLite's CPU delegate has no int8 kernel for it.
        name, dtype: of the layer.

    Raises:
        ValueError: if the name is unknown.

    >>> activation_layer("darknet_leaky_relu").negative_slope
    0.1
    """
    if activation in LEAKY_SLOPES:
        return keras.layers.LeakyReLU(
            negative_slope=LEAKY_SLOPES[activation], name=name, dtype=dtype
        )
    return keras.layers.Activation(activation, name=name, dtype=dtype)
