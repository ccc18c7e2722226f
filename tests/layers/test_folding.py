"""A frozen batch normalization is computed within the convolution before it: the same outputs and
gradients, and nothing else is touched."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_detblocks as kdb
from keras_detblocks.layers.folding import (
    foldable_pairs,
    folded,
    normalized,
    statistics_kept,
)

SHAPE = (2, 12, 10, 16)
CONVOLUTIONS = {
    "plain": {"kernel_size": 3},
    "strided": {"kernel_size": 3, "strides": 2},
    "grouped": {"kernel_size": 3, "groups": 4},
    "depthwise": {"kernel_size": 3, "groups": 16},
    "dilated": {"kernel_size": 3, "dilation_rate": 2},
    "pointwise, strided": {"kernel_size": 1, "strides": 2},
    "with a bias": {"kernel_size": 1, "use_bias": True},
}


def random_values(layer, seed=0):
    """Gives a layer weights of all kinds, variances above 0."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        low, high = (0.5, 1.5) if "variance" in variable.path else (-0.2, 0.3)
        variable.assign(rng.uniform(low, high, variable.shape))


@pytest.fixture
def computed(monkeypatch):
    """Names of the convolutions that computed the normalization after them."""
    names, inner = [], kdb.Conv2D.folded_call

    def counted(self, inputs, norm):
        names.append(self.name)
        return inner(self, inputs, norm)

    monkeypatch.setattr(kdb.Conv2D, "folded_call", counted)
    return names


def gradients(function, variables):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = function()
        loss = sum(ops.sum(ops.sin(each)) for each in keras.tree.flatten(outputs))
    return outputs, tape.gradient(loss, [variable.value for variable in variables])


def assert_close(ours, theirs):
    for one, other in zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True):
        one, other = ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        np.testing.assert_allclose(one, other, atol=2e-4 * max(1, np.abs(other).max()))


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_outputs_and_gradients_are_those_of_both(kind, computed):
    conv = kdb.Conv2D(16, **({"use_bias": False} | CONVOLUTIONS[kind]))
    norm = kdb.BatchNormalization(epsilon=1e-2, center=kind != "dilated", scale=kind != "strided")
    x = np.random.default_rng(1).normal(size=SHAPE).astype("float32")
    norm(conv(x))
    random_values(conv), random_values(norm, 1)
    norm.trainable = False
    trained = conv.trainable_variables
    ours = gradients(lambda: normalized(conv, norm, x, training=True), trained)
    assert computed == [conv.name]
    theirs = gradients(lambda: normalized(conv, norm, x, training=False), trained)
    assert computed == [conv.name]
    assert_close(ours, theirs)


def test_kept_statistics_leave_factors_and_shifts_to_learn(computed):
    conv, norm = kdb.Conv2D(16, 3, use_bias=False), kdb.BatchNormalization()
    alone = kdb.BatchNormalization()  # has no convolution before it
    x = np.random.default_rng(1).normal(size=SHAPE).astype("float32")
    alone(norm(conv(x)))
    random_values(conv), random_values(norm, 1), random_values(alone, 2)
    learning = [conv.kernel, norm.gamma, norm.beta, alone.gamma, alone.beta]
    statistics = [norm.moving_mean, norm.moving_variance, alone.moving_mean, alone.moving_variance]
    before = [ops.convert_to_numpy(each).copy() for each in statistics]

    def call(training):
        return alone(normalized(conv, norm, x, training), training=training)

    theirs = gradients(lambda: call(training=False), learning)
    with statistics_kept():
        ours = gradients(lambda: call(training=True), learning)
    assert computed == [conv.name]
    assert_close(ours, theirs)
    assert_close(statistics, before)
    call(training=True)
    assert computed == [conv.name]
    assert not np.allclose(statistics[0], before[0])


def functional(norm=kdb.BatchNormalization, conv=kdb.Conv2D):
    """Five convolutions, each with a frozen normalization; only that of `first` can be folded."""
    x = image = keras.Input(SHAPE[1:])
    x = norm(name="first_bn")(conv(8, 1, name="first")(x))
    shared = conv(8, 3, name="shared")  # is called twice
    x = norm(name="shared_bn1")(shared(norm(name="shared_bn2")(shared(x))))
    both = conv(8, 3, name="both")(x)  # is read by two
    x = norm(name="both_bn")(both) + both
    returned = conv(8, 3, name="returned")(x)
    active = conv(8, 3, activation="relu", name="active")(x)
    outputs = [norm(name="returned_bn")(returned), returned, norm(name="active_bn")(active)]
    model = keras.Model(image, outputs)
    random_values(model)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


def test_only_what_nobody_else_reads_is_folded(computed):
    model = functional()
    assert [conv.name for conv, _ in foldable_pairs(model)] == ["first"]
    x = np.random.default_rng(1).normal(size=SHAPE).astype("float32")
    theirs = gradients(lambda: model(x, training=True), model.trainable_variables)
    assert not computed  # a model of others
    with folded(foldable_pairs(model)):
        ours = gradients(lambda: model(x, training=True), model.trainable_variables)
    assert computed == ["first"]
    assert_close(ours, theirs)
    model.get_layer("first_bn").trainable = True
    assert not list(foldable_pairs(model))


def test_other_layers_are_left_alone():
    class Doubled(kdb.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs, training=training, mask=mask)

    class Rectified(kdb.Conv2D):
        def call(self, inputs):
            return ops.relu(super().call(inputs))

    for others in (
        {"norm": keras.layers.BatchNormalization},
        {"norm": Doubled},
        {"conv": Rectified},
        {"conv": keras.layers.Conv2D},
    ):
        assert not list(foldable_pairs(functional(**others)))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert not list(foldable_pairs(functional()))
    finally:
        keras.config.set_dtype_policy("float32")
