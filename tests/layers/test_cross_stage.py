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
    names = {"gamma": "weight", "beta": "bias", "kernel": "weight", "moving_mean": "running_mean", "moving_variance": "running_var"}
    *parts, layer, variable = path.split("/")
    if "layer_" in layer:
        number, kind = layer.removeprefix("layer_").split("_")
        return f"right_layers.0.layers.{number}.dense_layer.{position[kind]}.{names[variable]}"
    owner = "right_layers.1" if "part_transition" in parts else "big_trainsition"
    return f"{owner}.transition_layer.{position[layer]}.{names[variable]}"


@pytest.mark.parametrize("file, layers, fusion", [("14x18", 3, "full"), ("notransition_13x11", 2, "last")])
def test_partial_dense_block_equals_the_reference(file, layers, fusion):
    fixture = golden.load(GOLDENS / f"csp_dense_block_{file}.npz")
    x = fixture.inputs()["x"].transpose(0, 2, 3, 1)
    worked = 16 + layers * 8
    block = kdb.DenseBlock(layers, growth_rate=8)
    stage = kdb.CrossStage(
        block, (16 + worked // 2) // 2, fusion, part_filters=worked // 2, pre_activation=True, worked_part="first"
    )
    stage.build(x.shape)
    kdb.weights.assign._assign(
        {v.path: v for v in stage.weights}, kdb.weights.Layout("reference", _key), fixture.params(), "the golden file", set(), {}
    )
    y = keras.ops.convert_to_numpy(stage(x))
    if fusion == "full":
        y = keras.ops.convert_to_numpy(keras.ops.average_pool(y, 2))
    fixture.check("out", y.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("ratio, bypass", [(0.25, 8), (0.5, 16), (0.75, 24)])
def test_fusion_last_passes_the_bypass_on_untouched(ratio, bypass):
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 32)).astype("float32")
    stage = kdb.CrossStage(keras.layers.Conv2D(12, 1), fusion="last", part_ratio=ratio, part_filters=10)
    y = keras.ops.convert_to_numpy(stage(x))
    assert y.shape == (2, 5, 4, bypass + 10) == stage.compute_output_shape(x.shape)
    np.testing.assert_array_equal(y[..., :bypass], x[..., :bypass])


def test_full_fusion_by_hand():
    """With transitions of identity kernels, untouched statistics and no negative values, full fusion is the concatenation."""
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
    block = keras.Sequential([keras.Input((None, None, 4)), keras.layers.Conv2D(6, 3, padding="same"), keras.layers.ReLU()])
    model = kdb.as_model(kdb.CrossStage(block, filters=5), (8, 8, 8))
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 8)).astype("float32")
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(x), model(x), atol=1e-6)


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
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    "arguments, words",
    [(dict(fusion="middle"), "fusion"), (dict(part_ratio=1.0), "part_ratio"), (dict(worked_part="left"), "worked_part")],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        kdb.CrossStage(keras.layers.ReLU(), **arguments)


def test_one_channel_cannot_be_split():
    with pytest.raises(ValueError, match="one part empty"):
        kdb.CrossStage(keras.layers.ReLU()).build((1, 4, 4, 1))
