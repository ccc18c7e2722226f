"""Activations by name: Keras' own, and the two slopes of LeakyReLU that published detectors use."""

import keras

from ..checks import did_you_mean

# PyTorch's default slope (timm's CSPNets) and Darknet's; Keras' "leaky_relu" means 0.2, which no
# reference uses.
LEAKY_SLOPES = {"leaky_relu": 0.01, "darknet_leaky_relu": 0.1}


def check_activation(activation, name="activation"):
    """Returns the activation if `activation_layer` takes it: one of its names, a function, or
    `None`.

    Raises:
        ValueError: if it does not.
    """
    try:
        if not isinstance(activation, str) or activation not in LEAKY_SLOPES:
            keras.activations.get(activation)
    except (TypeError, ValueError):
        known = [*LEAKY_SLOPES, *(n for n in dir(keras.activations) if n.islower())]
        raise ValueError(
            f"`{name}` must be 'leaky_relu', 'darknet_leaky_relu', another name of "
            f"keras.activations, or None. {did_you_mean(activation, known)}Received: "
            f"{name}={activation!r}"
        ) from None
    return activation


def activation_layer(activation, name=None, dtype=None):
    """Returns the Keras layer for an activation name.

    Args:
        activation: `"leaky_relu"` (slope 0.01), `"darknet_leaky_relu"` (slope 0.1) or a name of
            `keras.activations` (`"relu"`, `"relu6"`, `"silu"`, `"hard_silu"`, ...). In int8 files
            relu and silu took 0.35 to 0.40 of float32's time (RegNetY-800MF, AVX-512 with VNNI),
            hard_silu 1.35, since TFLite's CPU delegate has no int8 kernel for it.
        name, dtype: of the layer.

    Raises:
        ValueError: if the name is unknown.

    >>> activation_layer("darknet_leaky_relu").negative_slope
    0.1
    """
    if check_activation(activation) in LEAKY_SLOPES:
        return keras.layers.LeakyReLU(
            negative_slope=LEAKY_SLOPES[activation], name=name, dtype=dtype
        )
    return keras.layers.Activation(activation, name=name, dtype=dtype)
