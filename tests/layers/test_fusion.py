import keras
import numpy as np
import pytest

import keras_detblocks as kdb
from keras_detblocks.layers import concatenate


def run(method, weights):
    layer = kdb.WeightedFusion(method)
    maps = [np.full((1, 2, 2, 3), value, "float32") for value in (1.0, 2.0, 4.0)]
    layer.build([m.shape for m in maps])
    if method != "sum":
        layer.edge_weights.assign(weights)
    return float(layer(maps)[0, 0, 0, 0])


def test_formulas():
    weights = [0.5, 1.5, -3.0]
    assert run("sum", weights) == 7
    np.testing.assert_allclose(run("fast", weights), (0.5 * 1 + 1.5 * 2) / (2 + 1e-4), rtol=1e-6)
    e = np.exp(weights)
    np.testing.assert_allclose(run("softmax", weights), (e @ [1, 2, 4]) / e.sum(), rtol=1e-6)


def test_no_positive_weight_stays_finite():
    assert run("fast", [-1.0, -2.0, -0.5]) == 0


def test_cross_channel_pooling_groupings():
    x = np.array([1, 9, 3, 7, 2, 8], "float32").reshape(1, 1, 1, 6)
    np.testing.assert_array_equal(np.ravel(kdb.CrossChannelPooling(2)(x)), [7, 9, 8])
    np.testing.assert_array_equal(np.ravel(kdb.CrossChannelPooling(2, "contiguous")(x)), [9, 7, 8])
    np.testing.assert_array_equal(np.ravel(kdb.CrossChannelPooling(1)(x)), np.ravel(x))


@pytest.mark.parametrize("number", [1, 2, 5, 6, 13])
def test_chained_concatenation(number):
    maps = [np.full((1, 1, 1, 2), i, "float32") for i in range(number)]
    np.testing.assert_array_equal(concatenate(maps), np.concatenate(maps, axis=-1))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.WeightedFusion("mean"), "method"),
        (
            lambda: kdb.WeightedFusion()(
                [keras.ops.ones((1, 2, 2, 3)), keras.ops.ones((1, 2, 2, 4))]
            ),
            "one shape",
        ),
        (
            lambda: kdb.WeightedFusion()(
                [keras.ops.ones((1, 8, 8, 3)), keras.ops.ones((1, 1, 1, 3))]
            ),
            "one shape",
        ),
        (lambda: kdb.CrossChannelPooling(0), "pool_size"),
        (lambda: kdb.CrossChannelPooling(2, "random"), "grouping"),
        (lambda: kdb.CrossChannelPooling(4)(keras.ops.ones((1, 2, 2, 6))), "not divisible"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
