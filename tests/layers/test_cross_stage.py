"""CrossStage: the three fusions, and the partial dense block against a reference."""

import pathlib

import golden
import keras
import numpy as np
import pytest

import keras_detblocks as kdb

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"


def _key(path):
    """From our path to the key of the reference's partial dense block."""
    position = {"norm1": 0, "conv1": 2, "norm2": 3, "conv2": 5, "norm": 0, "conv": 2}
    names = {
        "gamma": "weight",
        "beta": "bias",
        "kernel": "weight",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    *parts, layer, variable = path.split("/")
    if "layer_" in layer:
        number, kind = layer.removeprefix("layer_").split("_")
        return f"right_layers.0.layers.{number}.dense_layer.{position[kind]}.{names[variable]}"
    owner = "right_layers.1" if "part_transition" in parts else "big_trainsition"
    return f"{owner}.transition_layer.{position[layer]}.{names[variable]}"


@pytest.mark.parametrize(
    "file, layers, fusion", [("14x18", 3, "full"), ("notransition_13x11", 2, "last")]
)
def test_partial_dense_block_equals_the_reference(file, layers, fusion):
    fixture = golden.load(GOLDENS / f"csp_dense_block_{file}.npz")
    x = fixture.inputs()["x"].transpose(0, 2, 3, 1)
    worked = 16 + layers * 8
    block = kdb.DenseBlock(layers, growth_rate=8)
    stage = kdb.CrossStage(
        block,
        (16 + worked // 2) // 2,
        fusion,
        part_filters=worked // 2,
        pre_activation=True,
        processed_part="first",
    )
    stage.build(x.shape)
    params = fixture.params()
    assert {_key(v.path) for v in stage.weights} == set(params)
    for variable in stage.weights:
        value = params[_key(variable.path)]
        variable.assign(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)
    y = keras.ops.convert_to_numpy(stage(x))
    if fusion == "full":
        y = keras.ops.convert_to_numpy(keras.ops.average_pool(y, 2))
    fixture.check("out", y.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("ratio, bypass", [(0.25, 8), (0.5, 16), (0.75, 24)])
def test_fusion_last_passes_the_bypass_on_untouched(ratio, bypass):
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 32)).astype("float32")
    stage = kdb.CrossStage(
        keras.layers.Conv2D(12, 1), fusion="last", part_ratio=ratio, part_filters=10
    )
    y = keras.ops.convert_to_numpy(stage(x))
    assert y.shape == (2, 5, 4, bypass + 10) == stage.compute_output_shape(x.shape)
    np.testing.assert_array_equal(y[..., :bypass], x[..., :bypass])


def test_full_fusion_by_hand():
    """With transitions of identity kernels, untouched statistics and no negative values, full
    fusion is the concatenation."""
    x = np.random.default_rng(0).uniform(size=(1, 3, 3, 8)).astype("float32")
    stage = kdb.CrossStage(keras.layers.Rescaling(2.0))
    stage.build(x.shape)
    stage.part_transition.conv.kernel.assign(np.eye(4).reshape(1, 1, 4, 4))
    stage.transition.conv.kernel.assign(np.eye(8).reshape(1, 1, 8, 8))
    expected = np.concatenate([x[..., :4], 2 * x[..., 4:]], -1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(stage(x)), expected, rtol=1e-4)


def test_fusion_first_has_one_transition():
    stage = kdb.CrossStage(keras.layers.ReLU(), filters=6, fusion="first")
    assert stage(np.ones((1, 2, 2, 4), "float32")).shape == (1, 2, 2, 6)
    assert stage.part_transition is None
    assert stage.transition.conv.kernel.shape == (1, 1, 4, 6)


def test_a_users_block_survives_saving(tmp_path):
    block = keras.Sequential(
        [
            keras.Input((None, None, 4)),
            keras.layers.Conv2D(6, 3, padding="same"),
            keras.layers.ReLU(),
        ]
    )
    model = kdb.as_model(kdb.CrossStage(block, filters=5), (8, 8, 8))
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 8)).astype("float32")
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "m.keras")(x), model(x), atol=1e-6
    )


@keras.saving.register_keras_serializable(package="test")
class Plain(keras.layers.Layer):
    """A layer as users write them, with neither `build` nor `compute_output_shape`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(6, 3, padding="same")

    def call(self, x):
        return keras.ops.relu(self.conv(x))


@pytest.mark.parametrize("block, channels", [(Plain(), 6), (kdb.SPPF(12), 12)])
def test_any_layer_is_a_block(block, channels, tmp_path):
    model = kdb.as_model(kdb.CrossStage(block, fusion="last", part_filters=5), (16, 16, 16))
    assert model.layers[-1].part_transition.conv.kernel.shape == (1, 1, channels, 5)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 16)).astype("float32")
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "m.keras")(x), model(x), atol=1e-6
    )


@keras.saving.register_keras_serializable(package="test")
class Two(keras.layers.Layer):
    """Two maps where a block has one."""

    def call(self, x):
        return x, x


def halving(padding="same"):
    return keras.layers.Conv2D(12, 3, strides=2, padding=padding)


def hourglass():
    """Keeps even sizes alone."""
    return keras.Sequential([keras.layers.MaxPooling2D(2), keras.layers.UpSampling2D(2)])


@pytest.mark.parametrize("sides", [(9, 7), (None, None), (8, None)], ids=str)
@pytest.mark.parametrize(
    "block, received",
    [
        (halving, r"\(Conv2D\), which maps \(None, \w+, \w+, 4\) to \(None, \w+, \w+, 12\)"),
        (lambda: keras.layers.Conv2D(12, 3), "Conv2D"),
        (lambda: keras.layers.MaxPooling2D((1, 2)), "MaxPooling2D"),
        (lambda: keras.Sequential([keras.layers.ReLU(), halving()]), "Sequential"),
        (keras.layers.GlobalAveragePooling2D, r"to \(None, 4\)"),
        (Two, "Two"),
    ],
    ids=["strides", "valid", "pooled width", "nested", "vector", "two maps"],
)
def test_a_block_must_keep_the_size(block, received, sides):
    with pytest.raises(ValueError, match=r'(?s)block.*padding="same".*Received.*' + received):
        kdb.CrossStage(block())(keras.Input((*sides, 8)))


def test_a_block_must_keep_the_size_of_every_input():
    stage = kdb.CrossStage(hourglass())
    assert stage(np.ones((1, 6, 4, 8), "float32")).shape == (1, 6, 4, 8)
    with pytest.raises(ValueError, match=r"maps \(1, 6, 5, 4\) to \(1, 6, 4, 4\)"):
        stage(np.ones((1, 6, 5, 8), "float32"))
    with pytest.raises(ValueError, match=r"maps \(1, 5, 5, 4\) to \(1, 3, 3, 12\)"):
        kdb.CrossStage(halving())(np.ones((1, 5, 5, 8), "float32"))


def test_a_block_made_for_one_size_in_a_dynamic_model():
    """It cannot be tried at another size, which is no fault."""
    image = keras.Input((5, 7, 4))
    block = keras.Model(image, keras.layers.Conv2D(6, 3, padding="same")(image))
    model = kdb.as_model(kdb.CrossStage(block, filters=3), (None, None, 8))
    assert model(np.ones((1, 5, 7, 8), "float32")).shape == (1, 5, 7, 3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_model_with_a_nested_model_is_a_block(policy):
    """Sizes unknown, normalization and dropout that depend on training, as blocks of real nets have
    them."""
    image = keras.Input((None, None, 4))
    inner = keras.Sequential(
        [keras.layers.Conv2D(6, 3, padding="same"), keras.layers.BatchNormalization()]
    )
    block = keras.Model(image, keras.layers.Dropout(0.5, seed=0)(inner(image)))
    model = kdb.as_model(kdb.CrossStage(block, filters=5, dtype=policy), (None, None, 8))
    x = np.random.default_rng(0).normal(size=(2, 9, 6, 8)).astype("float32")
    once, again = (
        keras.ops.convert_to_numpy(keras.ops.cast(model(x), "float32")) for _ in range(2)
    )
    np.testing.assert_allclose(once, again, rtol=0.01, atol=1e-5)
    trained = keras.ops.convert_to_numpy(keras.ops.cast(model(x, training=True), "float32"))
    assert trained.shape == (2, 9, 6, 5) and np.abs(trained - once).max() > 1e-3
    assert np.abs(keras.ops.convert_to_numpy(inner.layers[-1].moving_mean)).max() > 0


@pytest.mark.parametrize(
    "block", [None, [keras.layers.ReLU()], keras.ops.relu, keras.layers.ReLU, "relu"]
)
def test_a_block_must_be_a_layer(block):
    with pytest.raises(
        ValueError, match=r"`block` must be one keras.layers.Layer.*Received: block="
    ):
        kdb.CrossStage(block)


@pytest.mark.parametrize(
    "shape",
    [(None, 8), (None, 6, 8), (None, 2, 6, 6, 8), (None, 6, 6, None), [(None, 6, 6, 8)] * 4],
    ids=str,
)
def test_the_input_must_be_one_map(shape):
    stage = kdb.CrossStage(keras.layers.ReLU())
    for call in (stage.build, stage.compute_output_shape):
        with pytest.raises(ValueError, match=r"(?s)one map \(B, H, W, C\).*Received"):
            call(shape)


def test_the_input_of_a_built_layer_must_stay_such_a_map():
    stage = kdb.CrossStage(keras.layers.ReLU())
    stage.build((None, 6, 6, 8))
    for shape in ((1, 6, 8), (1, 6, 6, 9)):
        with pytest.raises(ValueError, match="incompatible with the layer"):
            stage(np.ones(shape, "float32"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(fusion="middle"), "fusion"),
        (dict(part_ratio=1.0), "part_ratio"),
        (dict(processed_part="left"), "processed_part"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        kdb.CrossStage(keras.layers.ReLU(), **arguments)


def test_one_channel_cannot_be_split():
    with pytest.raises(ValueError, match="one part empty"):
        kdb.CrossStage(keras.layers.ReLU()).build((1, 4, 4, 1))


def test_a_config_with_the_arguments_name_of_before():
    layer = kdb.CrossStage(keras.layers.Conv2D(4, 3, padding="same"), processed_part="first")
    config = layer.get_config()
    config["worked_part"] = config.pop("processed_part")
    assert kdb.CrossStage.from_config(config).processed_part == "first"
