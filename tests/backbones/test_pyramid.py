"""feature_pyramid over keras.applications: the maps that their own layer names say, before and after saving and cloning."""

import keras
import numpy as np
import pytest

import keras_detblocks as kdb

APPLICATIONS = keras.applications


@pytest.mark.parametrize(
    "name, preprocess, channels",
    [
        ("ResNet50", APPLICATIONS.resnet.preprocess_input, (512, 1024, 2048)),
        ("MobileNetV3Small", None, (96, 288, 576)),
        ("EfficientNetV2B0", None, (192, 672, 1280)),
        ("ConvNeXtTiny", None, (192, 384, 768)),
    ],
)
def test_levels(name, preprocess, channels):
    model = getattr(APPLICATIONS, name)(weights=None, include_top=False)
    pyramid = kdb.feature_pyramid(model, preprocess=preprocess)
    outputs = pyramid.compute_output_spec(keras.KerasTensor((2, 96, 160, 3)))
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        f"P{level}": (2, 96 // 2**level, 160 // 2**level, c) for level, c in zip((3, 4, 5), channels)
    }


def test_resnet_maps_are_the_stage_outputs():
    model = APPLICATIONS.ResNet50(weights=None, include_top=False)
    pyramid = kdb.feature_pyramid(model, (2, 3, 4, 5))
    names = [t._keras_history.operation.name for t in pyramid.output.values()]
    assert names == ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"]


def test_preprocess_is_in_the_graph():
    model = APPLICATIONS.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    pyramid = kdb.feature_pyramid(model, (5,), preprocess=APPLICATIONS.resnet.preprocess_input)
    expected = model(APPLICATIONS.resnet.preprocess_input(images.copy()))
    np.testing.assert_allclose(pyramid(images)["P5"], expected, rtol=1e-3, atol=1e-4)


def test_after_loading_and_cloning(tmp_path):
    spec = kdb.AnyNetSpec((1, 1), (16, 24), (1, 1), (8, 8), stem_width=8)
    model = kdb.AnyNet(spec, include_top=False, input_shape=(33, 47, 3))
    x = np.random.default_rng(0).uniform(0, 255, (1, 33, 47, 3)).astype("float32")
    model.save(tmp_path / "net.keras")
    expected = model(x)
    for again in (keras.models.load_model(tmp_path / "net.keras"), _clone(model)):
        pyramid = kdb.feature_pyramid(again, (2, 3))
        np.testing.assert_allclose(pyramid(x)["P3"], expected, atol=1e-6)
        assert pyramid.output["P2"].shape == (None, 9, 12, 16)


def _clone(model):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone


class HubLike(keras.Model):
    """A functional backbone that names its maps, as KerasHub's `FeaturePyramidBackbone` does."""

    def __init__(self):
        image = keras.Input((64, 96, 3))
        x = keras.layers.Conv2D(4, 3, strides=4, padding="same", name="quarter")(image)
        named = keras.layers.ReLU(name="named")(x)
        y = keras.layers.Conv2D(6, 3, strides=2, padding="same", name="eighth")(keras.layers.ReLU(name="later")(named))
        super().__init__(inputs=image, outputs=y)
        self.pyramid_outputs = {"P2": named}


def test_models_that_name_their_maps():
    """Named levels are taken as they are, the others found; a clone is an ordinary model, whose last map of the level counts."""
    model = HubLike()
    pyramid = kdb.feature_pyramid(model, (3, 2))
    names = {level: tensor._keras_history.operation.name for level, tensor in pyramid.output.items()}
    assert names == {"P3": "eighth", "P2": "named"}
    plain = keras.Model(model.inputs, model.outputs)
    found = kdb.feature_pyramid(plain, (2,)).output["P2"]
    assert found._keras_history.operation.name == "later"
    with pytest.raises(ValueError, match="has the levels"):
        kdb.feature_pyramid(model, (4,))


def test_errors():
    spec = kdb.AnyNetSpec((1,), (16,), (1,), (8,), stem_width=8)
    model = kdb.AnyNet(spec, include_top=False)
    with pytest.raises(ValueError, match=r"has the levels \(0, 1, 2\)"):
        kdb.feature_pyramid(model, (3,))
    with pytest.raises(ValueError, match="distinct"):
        kdb.feature_pyramid(model, (2, 2))
    with pytest.raises(ValueError, match="functional"):
        kdb.feature_pyramid(keras.layers.ReLU())
    vector = keras.Input((4,))
    vector = keras.Model(vector, keras.layers.Dense(2)(vector))
    with pytest.raises(ValueError, match="one image input"):
        kdb.feature_pyramid(vector)
