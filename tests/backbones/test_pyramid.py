"""feature_pyramid over keras.applications: the maps that their own layer names say, before and
after saving and cloning."""

import re

import keras
import numpy as np
import pytest
from without_values import without_values

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
    with without_values():
        model = getattr(APPLICATIONS, name)(weights=None, include_top=False)
        pyramid = kdb.feature_pyramid(model, preprocess=preprocess)
        outputs = pyramid.compute_output_spec(keras.KerasTensor((2, 96, 160, 3)))
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        f"P{level}": (2, 96 // 2**level, 160 // 2**level, c)
        for level, c in zip((3, 4, 5), channels)
    }


def test_resnet_maps_are_the_stage_outputs():
    with without_values():
        model = APPLICATIONS.ResNet50(weights=None, include_top=False)
        pyramid = kdb.feature_pyramid(model, (2, 3, 4, 5))
    names = [t._keras_history.operation.name for t in pyramid.output.values()]
    assert names == ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"]


@pytest.mark.slow
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
        y = keras.layers.Conv2D(6, 3, strides=2, padding="same", name="eighth")(
            keras.layers.ReLU(name="later")(named)
        )
        super().__init__(inputs=image, outputs=y)
        self.pyramid_outputs = {"P2": named}


def test_models_that_name_their_maps():
    """Named levels are taken as they are, the others found; a clone is an ordinary model, whose
    last map of the level counts."""
    model = HubLike()
    pyramid = kdb.feature_pyramid(model, (3, 2))
    names = {
        level: tensor._keras_history.operation.name for level, tensor in pyramid.output.items()
    }
    assert names == {"P3": "eighth", "P2": "named"}
    plain = keras.Model(model.inputs, model.outputs)
    found = kdb.feature_pyramid(plain, (2,)).output["P2"]
    assert found._keras_history.operation.name == "later"
    with pytest.raises(ValueError, match="has the levels"):
        kdb.feature_pyramid(model, (4,))


SPEC = kdb.AnyNetSpec((1, 1, 1), (16, 24, 32), (1, 1, 1), (8, 8, 8), stem_width=8)


def classifier(base, kind):
    """The usual file of transfer learning around `base`."""
    image = keras.Input((*base.inputs[0].shape[1:3], 3))
    scale, head = keras.layers.Rescaling(1 / 64, -2.0), keras.layers.Dense(3)
    pool = [keras.layers.GlobalAveragePooling2D()] if len(base.outputs[0].shape) == 4 else []
    if kind == "sequential":
        return keras.Sequential([image, scale, base, *pool, head])
    x = base(scale(image), training=False if kind == "frozen" else None)
    if kind == "deep":  # two models between the image and the maps
        x = keras.Sequential(
            [image, scale, keras.layers.ReLU(), keras.Model(base.inputs, base(base.inputs[0]))]
        )(image)
    for layer in (*pool, head):
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, pooling",
    [
        ("functional", None),
        ("functional", "avg"),
        ("sequential", "avg"),
        ("deep", None),
        ("frozen", None),
    ],
)
def test_levels_of_a_nested_model(kind, pooling, tmp_path):
    """As the pyramid of the nested model itself, behind the rescaling; also after loading and
    cloning, and saved in turn."""
    x = np.random.default_rng(0).uniform(0, 255, (2, 64, 48, 3)).astype("float32")
    base = kdb.AnyNet(
        SPEC,
        include_top=False,
        pooling=pooling,
        input_shape=(None, None, 3),
        include_preprocessing=False,
    )
    expected = kdb.feature_pyramid(base, (4, 2, 3))(
        keras.ops.relu(x / 64 - 2) if kind == "deep" else x / 64 - 2
    )
    model = classifier(base, kind)
    model.save(tmp_path / "classifier.keras")
    before = model(x)
    for again in (model, keras.models.load_model(tmp_path / "classifier.keras"), _clone(model)):
        pyramid = kdb.feature_pyramid(again, (4, 2, 3))
        maps = pyramid(x)
        assert list(maps) == ["P4", "P2", "P3"]
        for level in maps:
            np.testing.assert_allclose(maps[level], expected[level], atol=1e-5)
    pyramid.save(tmp_path / "pyramid.keras")
    for level, found in keras.models.load_model(tmp_path / "pyramid.keras")(x).items():
        np.testing.assert_allclose(found, maps[level], atol=1e-6)
    np.testing.assert_allclose(model(x), before, atol=1e-6)
    model.save(tmp_path / "classifier.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "classifier.keras")(x), before, atol=1e-6
    )


def test_a_frozen_nested_model_stays_frozen():
    """Neither weights nor batch statistics of a pretrained model change while what is built on it
    is trained."""
    x = np.random.default_rng(0).uniform(0, 255, (2, 64, 48, 3)).astype("float32")
    base = kdb.AnyNet(SPEC, include_top=False, input_shape=(64, 48, 3))
    model = classifier(base, "functional")
    trained = kdb.feature_pyramid(model, (3,))(x, training=True)["P3"]
    base.trainable = False
    pyramid = kdb.feature_pyramid(model, (3,))
    assert not pyramid.trainable_weights
    np.testing.assert_allclose(pyramid(x, training=True)["P3"], pyramid(x)["P3"], atol=1e-6)
    assert not np.allclose(trained, pyramid(x)["P3"], atol=1e-2)


def test_one_level_of_a_nested_model_holds_nothing_deeper(tmp_path):
    """No head and no later stage, whose weights would never get a gradient."""
    base = kdb.AnyNet(SPEC, input_shape=(64, 48, 3), classes=5)
    model = classifier(
        kdb.AnyNet(SPEC, include_top=False, pooling="avg", input_shape=(64, 48, 3)), "functional"
    )
    pyramid = kdb.feature_pyramid(model, (2,))
    assert pyramid.count_params() == kdb.feature_pyramid(base, (2,)).count_params()
    pyramid.save(tmp_path / "pyramid.keras")
    x = np.ones((1, 64, 48, 3), "float32")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "pyramid.keras")(x)["P2"], pyramid(x)["P2"], atol=1e-6
    )


def _stage(filters):
    """Half the size and normalized by batch statistics."""
    return [
        keras.layers.Conv2D(filters, 3, strides=2, padding="same", name="conv"),
        keras.layers.BatchNormalization(name="norm"),
    ]


@pytest.mark.parametrize("inner", [(), (1,), (2,), (1, 3), (3,)], ids=str)
def test_levels_inside_and_outside_of_nested_models(inner):
    """Each level once, from the same layers as in the flat net; layers of several nested models
    share their names."""
    keras.utils.set_random_seed(0)
    image = keras.Input((64, 32, 3))
    first = keras.Sequential(
        [keras.Input((None, None, 3)), *_stage(4), keras.layers.ReLU(), *_stage_named(5)],
        name="first",
    )
    second = keras.Sequential(
        [keras.Input((None, None, 5)), *_stage(6), keras.layers.ReLU(), *_stage_named(7)],
        name="second",
    )
    model = keras.Model(image, keras.layers.Dropout(0.0)(second(first(image))))
    levels = (*inner, 4)
    x = np.random.default_rng(0).normal(size=(2, 64, 32, 3)).astype("float32")
    y, expected = x, {}
    for level, layers in enumerate(
        (first.layers[:3], first.layers[3:], second.layers[:3], second.layers[3:])
    ):
        for layer in layers:
            y = layer(y)
        expected[f"P{level + 1}"] = keras.ops.convert_to_numpy(y)
    pyramid = kdb.feature_pyramid(model, levels)
    maps = pyramid(x)
    assert list(maps) == [f"P{level}" for level in levels]
    for level in maps:
        np.testing.assert_allclose(maps[level], expected[level], rtol=1e-4, atol=1e-4)
    assert len(pyramid.weights) == len(model.weights)
    # One training step moves the statistics once: nothing is computed a second time beside the
    # nested model.
    pyramid(x, training=True)
    mean = keras.ops.convert_to_numpy(first.layers[1].moving_mean)
    batch = keras.ops.convert_to_numpy(first.layers[0](x)).mean((0, 1, 2))
    np.testing.assert_allclose(mean, 0.01 * batch, rtol=1e-3, atol=1e-5)


def _stage_named(filters):
    conv, norm = _stage(filters)
    return [
        type(layer).from_config({**layer.get_config(), "name": f"{layer.name}_2"})
        for layer in (conv, norm)
    ]


def test_a_nested_side_branch_gives_no_map():
    """Its map of level 1 comes last and leads to the result, but not by every path."""
    first = keras.Sequential(
        [keras.Input((None, None, 3)), *_stage(4), *_stage_named(4)], name="first"
    )
    side = keras.Sequential(
        [keras.Input((None, None, 4)), keras.layers.UpSampling2D(2), *_stage(4)], name="side"
    )
    image = keras.Input((64, 32, 3))
    x = first(image)
    pyramid = kdb.feature_pyramid(keras.Model(image, keras.layers.Add()([x, side(x)])), (1,))
    assert [layer.name for layer in pyramid.layers[1:]] == ["first_levels"]


def test_maps_of_one_pixel_in_a_nested_model():
    base = kdb.RegNetX("200mf", include_top=False, pooling="max", input_shape=(32, 32, 3))
    expected = kdb.feature_pyramid(base)
    pyramid = kdb.feature_pyramid(classifier(base, "sequential"))
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    maps, same = pyramid(x), expected(x / 64 - 2)
    assert maps["P5"].shape == (1, 1, 1, 368)
    np.testing.assert_allclose(maps["P5"], same["P5"], atol=1e-5)


def test_named_maps_of_a_nested_model():
    """As in KerasHub's classifiers: a backbone with `pyramid_outputs`, pooling, a head."""
    backbone = HubLike()
    image = keras.Input((64, 96, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(backbone(image)))
    pyramid = kdb.feature_pyramid(model, (3, 2))
    names = {tensor._keras_history.operation.name for tensor in pyramid.layers[-1].outputs}
    assert names == {"eighth", "named"}


def test_a_level_relative_to_another_image_names_the_nested_model():
    """Behind a resizing no map has a stride from the image; the nested model by itself has."""
    base = kdb.AnyNet(SPEC, include_top=False, input_shape=(64, 64, 3), name="base")
    for sides in ((None, None), (80, 100)):
        image = keras.Input((*sides, 3))
        inside = keras.Sequential(
            [keras.Input((64, 64, 3)), keras.layers.ReLU(), base], name="inside"
        )
        model = keras.Model(
            image, keras.layers.GlobalMaxPooling2D()(inside(keras.layers.Resizing(64, 64)(image)))
        )
        with pytest.raises(
            ValueError, match=r"has the levels \(0,\).*model\.get_layer\('inside'\)"
        ) as error:
            kdb.feature_pyramid(model, (2, 3))
        advised = eval(
            re.search(r"`(model\.get_layer\S+)`", str(error.value)).group(1), {"model": model}
        )
        assert list(kdb.feature_pyramid(advised, (2, 3)).output) == ["P2", "P3"]
        with pytest.raises(ValueError) as error:
            kdb.feature_pyramid(model, (9,))
        assert "get_layer" not in str(error.value)


def test_pixels_that_move_at_random_are_refused():
    base = kdb.AnyNet(SPEC, include_top=False, input_shape=(64, 64, 3), name="base")
    turned = keras.Sequential(
        [keras.layers.RandomFlip(name="flip"), keras.layers.RandomBrightness(0.1)]
    )
    model = keras.Sequential(
        [keras.Input((64, 64, 3)), turned, base, keras.layers.GlobalAveragePooling2D()]
    )
    with pytest.raises(
        ValueError, match=r"'flip' moves pixels.*model\.get_layer\('base'\).*RandomFlip"
    ):
        kdb.feature_pyramid(model, (2, 3))
    image = keras.Input((64, 64, 3))
    flat = keras.Model(
        image,
        keras.layers.Conv2D(4, 3, strides=2, padding="same")(keras.layers.RandomZoom(0.1)(image)),
    )
    with pytest.raises(ValueError, match="moves pixels"):
        kdb.feature_pyramid(flat, (1,))
    bright = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.RandomBrightness(0.1), base])
    assert list(kdb.feature_pyramid(bright, (2, 3)).output) == ["P2", "P3"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ResNet50", "MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny"]
)
def test_small_images_have_the_maps_of_large_ones(name):
    """By place in the graph, the only thing that names of two models have in common; nets with
    gates (as 1x1 maps) among them."""
    places = []
    for sides in ((224, 224), (32, 32), (33, 47)):
        with without_values():
            model = getattr(APPLICATIONS, name)(weights=None, classes=10, input_shape=(*sides, 3))
            output = kdb.feature_pyramid(model, (3, 4, 5)).output
            with pytest.raises(ValueError, match=r"has the levels \(0, (1, )?2, 3, 4, 5\)"):
                kdb.feature_pyramid(model, (6,))
        operations = [tensor._keras_history.operation for tensor in output.values()]
        places.append([model.operations.index(operation) for operation in operations])
    assert places[0] == places[1] == places[2]


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(32, 32), (32, 64), (64, 32)], ids=str)
@pytest.mark.parametrize("constructor", [kdb.RegNetY, kdb.RegNetX], ids=["RegNetY", "RegNetX"])
def test_small_images_have_the_levels_of_our_constructors(constructor, sides):
    names = []
    for levels in ((3, 4, 5), None):
        with without_values():
            model = constructor("200mf", include_top=False, input_shape=(*sides, 3), levels=levels)
            output = model.output if levels else kdb.feature_pyramid(model).output
        names.append(
            [(key, tensor._keras_history.operation.name) for key, tensor in output.items()]
        )
    assert names[0] == names[1]


def _mean(keepdims):
    return lambda x: keras.ops.mean(x, (1, 2), keepdims=keepdims)


POOLS = {  # to what a gate and a head are made of, as nets have it
    "layer": keras.layers.GlobalAveragePooling2D(keepdims=True),
    "max": keras.layers.GlobalMaxPooling2D(keepdims=True),
    "operations": _mean(True),
    "vector": lambda x: keras.layers.Reshape((1, 1, 8))(keras.layers.GlobalAveragePooling2D()(x)),
    "reshaped": lambda x: keras.ops.reshape(_mean(False)(x), (-1, 1, 1, 8)),
    "window": lambda x: (
        keras.layers.AveragePooling2D(tuple(x.shape[1:3]))(x) if x.shape[1] > 3 else _mean(True)(x)
    ),
    "resized": keras.layers.Resizing(1, 1),
}


@pytest.mark.parametrize("sides", [(64, 64), (32, 32)], ids=str)
@pytest.mark.parametrize("pool", POOLS)
def test_pooled_maps_are_no_levels(pool, sides):
    """A net down to 2x2 and 1x1 with a gate at every level and a head of 1x1 convolutions."""
    image = x = keras.Input((*sides, 3))
    for level in range(1, 6):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(x)
        gate = keras.layers.Conv2D(8, 1, activation="sigmoid", name=f"gate_{level}")(POOLS[pool](x))
        x = keras.layers.Multiply(name=f"gated_{level}")([x, gate])
    model = keras.Model(
        image, keras.layers.Flatten()(keras.layers.Conv2D(9, 1, name="head")(POOLS[pool](x)))
    )
    output = kdb.feature_pyramid(model, (1, 2, 3, 4, 5)).output
    assert [tensor._keras_history.operation.name for tensor in output.values()] == [
        f"gated_{level}" for level in range(1, 6)
    ]
    with pytest.raises(ValueError, match=r"has the levels \(0, 1, 2, 3, 4, 5\)"):
        kdb.feature_pyramid(model, (6,))


@pytest.mark.parametrize("sides", [(32, 32), (36, 36), (40, 20)], ids=str)
def test_levels_that_share_a_size_are_told_apart(sides):
    """At 32 P5 and P6 are one pixel; at 36 four maps round to sizes of two levels."""
    image = x = keras.Input((*sides, 3))
    for level in range(1, 7):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"level_{level}")(x)
    output = kdb.feature_pyramid(keras.Model(image, x), range(1, 7)).output
    assert [tensor._keras_history.operation.name for tensor in output.values()] == [
        f"level_{level}" for level in range(1, 7)
    ]


def test_layers_made_for_one_size():
    """A transformer of 16 patches cannot be computed at another size, where its maps are found by
    their shapes at its own."""
    image = keras.Input((64, 64, 3))
    x = keras.layers.Reshape((16, 8))(keras.layers.Conv2D(8, 16, strides=16)(image))
    x = keras.layers.Reshape((4, 4, 8), name="map")(keras.layers.LayerNormalization()(x))
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    output = kdb.feature_pyramid(keras.Model(image, pooled), (4,)).output
    assert output["P4"]._keras_history.operation.name == "map"
    with pytest.raises(ValueError, match=r"has the levels \(0, 4\)"):
        kdb.feature_pyramid(keras.Model(image, pooled), (6,))


@pytest.mark.parametrize("again", [False, True], ids=["as built", "loaded"])
def test_a_sequential_model(again, tmp_path):
    layers = [keras.layers.Conv2D(4, 3, strides=2, padding="same"), keras.layers.ReLU()]
    model = keras.Sequential(layers, name="net")
    with pytest.raises(ValueError, match="'net' is not built.*keras.Input"):
        kdb.feature_pyramid(model, (1,))
    model.build((None, 16, 24, 3))
    model.save(tmp_path / "net.keras")
    x = np.random.default_rng(0).normal(size=(1, 16, 24, 3)).astype("float32")
    pyramid = kdb.feature_pyramid(
        keras.models.load_model(tmp_path / "net.keras") if again else model, (1,)
    )
    assert pyramid.name == "net_pyramid"
    np.testing.assert_allclose(pyramid(x)["P1"], model(x), atol=1e-6)


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
