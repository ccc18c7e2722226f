"""A layer made of layers: its flags, where the table of cases does not reach."""

import keras
import numpy as np

import keras_detblocks as kdb
from keras_detblocks.layers.block import set_trainable_parts, trainable_parts


def stage():
    block = keras.Sequential(
        [keras.layers.Conv2D(4, 3, padding="same"), keras.layers.BatchNormalization()], name="block"
    )
    return kdb.CrossStage(block, name="stage")


def test_a_layer_of_the_users_within():
    """Single layers of the block that a `CrossStage` is given, by names or by their order."""
    layer = stage()
    layer.build((2, 6, 6, 8))
    layer.block.layers[1].trainable = False
    assert list(trainable_parts(layer).values()) == [False]
    again = kdb.CrossStage.from_config(layer.get_config())
    again.build((2, 6, 6, 8))
    assert [w.trainable for w in again.weights] == [w.trainable for w in layer.weights]
    assert not again.block.layers[1].trainable and again.block.layers[0].trainable


def test_parts_of_one_name_are_told_apart():
    class Pair(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.both = [keras.layers.Dense(2, name="dense") for _ in range(2)]

        def build(self, shape):
            for layer in self.both:
                layer.build(shape)

    pair, other = Pair(), Pair()
    for each in (pair, other):
        each.build((1, 2))
    pair.both[1].trainable = False
    assert trainable_parts(pair) == {"dense:2": False}
    set_trainable_parts(other, trainable_parts(pair))
    assert [layer.trainable for layer in other.both] == [True, False]


def test_a_flag_that_is_set_before_building_replaces_those_of_the_config():
    layer = kdb.FPN(8, levels=(3,), normalization="batch")
    layer.build({"P3": (1, 8, 8, 4)})
    layer.laterals["P3"].trainable = False
    again = kdb.FPN.from_config(layer.get_config())
    again.trainable = False
    again.build({"P3": (1, 8, 8, 4)})
    assert not any(w.trainable for w in again.weights)


def test_frozen_normalizations_keep_their_statistics_after_a_file(tmp_path):
    layer = kdb.ConvNormAct(4, name="unit")
    model = kdb.as_model(layer, (6, 6, 3))
    layer.norm.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before = np.array(loaded.get_layer("unit").norm.moving_mean)
    loaded(np.random.default_rng(0).normal(size=(2, 6, 6, 3)), training=True)
    np.testing.assert_array_equal(loaded.get_layer("unit").norm.moving_mean, before)
    assert [w.path.rpartition("/")[2] for w in loaded.trainable_weights] == ["kernel"]
