"""Normalization folded into the first convolution: the same numbers, and what is left of it."""

import keras
import numpy as np
import pytest

import keras_detblocks as kdb
from keras_detblocks.export.check.outputs import keras_outputs
from keras_detblocks.export.graph import freeze, sample_inputs, signature_of

ONE = {"mean": 114.0, "std": 58.0}
SIZE = (17, 22, 3)


def net(normalization, conv, size=SIZE):
    image = keras.Input(size, name="image")
    x = image
    for layer in normalization:
        x = layer(x)
    x = conv(x)
    x = keras.layers.BatchNormalization(moving_variance_initializer="ones")(x)
    return keras.Model(image, keras.layers.Activation("relu")(x))


def keras_normalization():
    layer = keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[9.0, 16.0, 25.0])
    return [keras.layers.Rescaling(1 / 2.0, offset=3.0), layer]


def conv(kernel=3, strides=2, padding="symmetric", **kwargs):
    return kdb.Conv2D(4, kernel, strides, padding, **kwargs)


CASES = {
    "one mean": ([kdb.ImageNormalization(**ONE)], conv(), {}),
    "one mean, no batch norm's constants in reach": (
        [kdb.ImageNormalization(**ONE)],
        conv(activation="relu"),
        {},
    ),
    "one mean with bias, stride 1": ([kdb.ImageNormalization(**ONE)], conv(5, 1), {}),
    "one mean, 1x1": ([kdb.ImageNormalization(**ONE)], conv(1, 1, use_bias=False), {}),
    "one mean, valid": ([kdb.ImageNormalization(**ONE)], conv(3, 2, "valid"), {}),
    "three means, valid": ([kdb.ImageNormalization()], conv(3, 2, "valid"), {}),
    "one mean, dilated": (
        [kdb.ImageNormalization(**ONE)],
        conv(3, 1, dilation_rate=2),
        {},
    ),
    "one mean, same at stride 2": (
        [kdb.ImageNormalization(**ONE)],
        conv(3, 2, "same"),
        {},
    ),
    "no mean": ([kdb.ImageNormalization(0.0, 255.0)], conv(3, 2, "same"), {}),
    "three means": ([kdb.ImageNormalization()], conv(), {"AddV2": 1}),
    "Keras' own layers": (keras_normalization(), conv(), {"AddV2": 1}),
    "a unit": ([kdb.ImageNormalization(**ONE)], kdb.ConvNormAct(4, 3, 2), {}),
}


def before_the_convolution(graph_def):
    """How often each operator lies between the picture and the first convolution."""
    nodes = {node.name: node for node in graph_def.node}
    conv = next(node for node in graph_def.node if node.op == "Conv2D")
    ahead, counts = [conv.input[0]], {}
    for name in ahead:
        node = nodes[name.split(":")[0]]
        if node.op in ("Mul", "Add", "AddV2", "Sub", "RealDiv"):
            counts[node.op] = counts.get(node.op, 0) + 1
        ahead += [each for each in node.input if each not in ahead]
    return counts


def randomized(model):
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if not variable.path.startswith("normalization"):
            variable.assign(rng.uniform(0.2, 1.0, variable.shape))
    return model


def folded_equals_keras(model, image_size=None):
    signature = signature_of(model, image_size, batch_size=None if image_size else 1)
    function, graph_def = freeze(signature)
    for seed in range(2):
        arrays = sample_inputs(signature, seed)
        want = keras_outputs(signature, arrays)["output"]
        got = function(arrays["image"])["output"].numpy()
        np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())
    return before_the_convolution(graph_def)


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_stay_and_the_operators_go(case):
    normalization, convolution, left = CASES[case]
    assert folded_equals_keras(randomized(net(normalization, convolution))) == left


@pytest.mark.parametrize("normalization", [kdb.ImageNormalization(**ONE), kdb.ImageNormalization()])
def test_sides_may_be_dynamic(normalization):
    left = folded_equals_keras(
        randomized(net([normalization], conv(), (None, None, 3))), (None, None)
    )
    assert left == ({} if normalization.mean == (114.0,) else {"AddV2": 1})


def test_what_else_reads_the_picture_keeps_it_normalized():
    image = keras.Input(SIZE, name="image")
    x = kdb.ImageNormalization(**ONE)(image)
    y = keras.layers.Concatenate()([kdb.Conv2D(3, 3)(x), x])
    folded_equals_keras(randomized(keras.Model(image, kdb.Conv2D(4, 3)(y))))


@pytest.mark.slow
def test_a_detector_from_scratch_has_nothing_before_its_first_convolution():
    """But one addition in int8, which is faster there than a padding with the mean."""
    detector = kdb.build_detector(["a"], (64, 64), levels=(3, 4))
    assert before_the_convolution(freeze(signature_of(detector))[1]) == {}
    assert before_the_convolution(freeze(signature_of(detector), pairs=True)[1]) == {"AddV2": 1}


PAIRED = {
    "3x3": (conv(), (17, 22, 3), 3),
    "3x3, same, pads right": (conv(3, 2, "same"), (16, 24, 3), 3),
    "7x7": (conv(7), (20, 18, 3), 7),
    "6x6 with Keras' padding": (conv(6, 2, "same"), (20, 18, 3), 6),
    "2x2, nothing padded": (conv(2, 2, "valid"), (8, 10, 3), 2),
    "one channel, other strides": (conv((3, 5), (1, 2)), (9, 14, 1), 3),
    "no normalization": (conv(use_bias=True), (17, 22, 3), 3),
    "odd width": (conv(), (16, 21, 3), None),
    "stride 1": (conv(3, 1), (16, 22, 3), None),
    "dilated": (conv(3, 1, dilation_rate=2), (16, 22, 3), None),
    "many channels": (conv(), (16, 22, 8), None),
    "last column unread": (conv(3, 2, "valid"), (17, 22, 3), 3),
}


@pytest.mark.parametrize("case", PAIRED)
def test_first_convolutions_read_pixels_in_pairs(case):
    """The int8 stem is faster so; the numbers are those of the plain one."""
    convolution, size, rows = PAIRED[case]
    normalization = [] if case == "no normalization" else [kdb.ImageNormalization(**ONE)]
    signature = signature_of(randomized(net(normalization, convolution, size)))
    function, graph_def = freeze(signature, pairs=True)
    arrays = sample_inputs(signature)
    want = keras_outputs(signature, arrays)["output"]
    got = function(*arrays.values())["output"].numpy()
    np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())
    shapes = [
        node.attr["value"].tensor.tensor_shape.dim
        for node in graph_def.node
        if node.name.endswith("/pairs/kernel")
    ]
    assert [(s[0].size, s[2].size) for s in shapes] == ([(rows, 2 * size[2])] if rows else [])
