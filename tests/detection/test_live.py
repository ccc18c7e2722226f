"""Parts with lambdas, `Lambda` layers and classes that nobody registered are made again alive."""

import keras
import numpy as np
import pytest

import keras_detblocks as kdb


class Scale(keras.layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def double_relu(x):
    return keras.ops.relu(x) * 2.0


def unregistered_backbone(size=(32, 48), dtype=None):
    """Lambdas of one code that differ by what they close over, and by globals that no file has."""
    image = x = keras.Input((*size, 3))
    for number, factor in enumerate((1 / 255, 3.0)):
        x = keras.layers.Lambda(lambda t, f=factor: keras.ops.multiply(t, f), name=f"by_{number}")(
            x
        )
    x = Scale(0.5, dtype=dtype)(x)
    levels = {}
    for level in (1, 2, 3, 4):
        act = double_relu if level % 2 else (lambda t: keras.ops.silu(t))
        conv = keras.layers.Conv2D(8, 3, 2, padding="same", activation=act, dtype=dtype)
        x = levels[f"P{level}"] = conv(x)
    return keras.Model(image, {key: levels[key] for key in ("P3", "P4")})


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16"])
def test_other_classes_on_a_backbone_that_no_file_could_hold(dtype):
    neck = kdb.FPN(8, levels=(3, 4), dtype=dtype)
    detector = kdb.Detector(unregistered_backbone(dtype=dtype), neck, class_names=["cat", "dog"])
    other = detector.with_classes(["dog", "owl"])
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 48, 3)).astype("float32")
    for key, value in detector(x).items():
        got, want = np.asarray(other(x)[key]), np.asarray(value)
        if key.endswith("logits"):
            got, want = got[..., 0], want[..., 1]
        np.testing.assert_allclose(got, want, atol=1e-5, err_msg=key)
    assert other.backbone.layers[1].function is detector.backbone.layers[1].function
