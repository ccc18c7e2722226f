"""Small models that the export tests share."""

import keras
import numpy as np
from toy import toy_backbone

import keras_detblocks as kdb


def grouped_model(dtype="float32", size=(None, None), squeeze_bias=0.0):
    """Normalization, strided, grouped, dilated convolutions and squeeze-and-excitation; the layers'
    parameters are not trivial."""
    keras.utils.set_random_seed(1)
    image = keras.Input((*size, 3), name="image")
    x = kdb.ImageNormalization(dtype=dtype)(image)
    x = kdb.ConvNormAct(32, 3, strides=2, dtype=dtype)(x)
    x = kdb.ConvNormAct(32, 3, groups=4, dilation_rate=2, activation="silu", dtype=dtype)(x)
    squeeze = kdb.SqueezeExcite(4, dtype=dtype, name="squeeze")
    x = squeeze(x)
    x = kdb.Conv2D(8, 3, groups=2, name="last", dtype=dtype)(x)
    squeeze.fc1.bias.assign([squeeze_bias] * 4)
    return keras.Model(image, keras.layers.Activation("linear", dtype="float32")(x))


def neck_model():
    return kdb.as_model(
        kdb.FPN(8, levels=(3, 4, 5, 6)), {"P3": (16, 24, 8), "P4": (8, 12, 16), "P5": (4, 6, 24)}
    )


def pictures(count=8, size=(32, 40), seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, size[0] // 8, size[1] // 8, 3)).repeat(8, 1).repeat(8, 2)
    return np.clip(coarse + rng.normal(0, 8, coarse.shape), 0, 255).astype("float32")


def small_detector(size=(64, 96), normalization=(127.5, 127.5), **kwargs):
    """A detector that is sure of some boxes without training: the classes' kernels are wide, and
    narrow enough that no two scores are equal in float32, whose order would be left to chance."""
    keras.utils.set_random_seed(2)
    kwargs = {"class_names": ["cat", "dog", "bird"], **kwargs}
    detector = kdb.Detector(
        toy_backbone((*size, 3), normalization=normalization),
        kdb.FPN(16, levels=(3, 4)),
        head=kdb.AnchorFreeHead(len(kwargs["class_names"]), num_convs=1),
        **kwargs,
    )
    rng = np.random.default_rng(0)
    for variable in detector.variables:
        if variable.path.endswith("logits_out/kernel"):
            variable.assign(rng.normal(size=variable.shape) * 1.5)
        if variable.path.endswith("distances_out/kernel"):
            variable.assign(rng.normal(size=variable.shape) * 0.15)
    return detector
