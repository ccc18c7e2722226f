import keras
import numpy as np
import pytest

from keras_detblocks.layers import BatchNormalization, ImageNormalization


def _images(*shape):
    return np.random.default_rng(0).normal(1.5, 2.0, shape).astype("float32")


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_fused_batch_norm_equals_keras(options):
    x = _images(4, 5, 6, 3)
    ours, theirs = (
        BatchNormalization(momentum=0.9, **options),
        keras.layers.BatchNormalization(momentum=0.9, **options),
    )
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), atol=1e-5)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, atol=1e-6)
    unbiased = 0.9 + 0.1 * x.reshape(-1, 3).var(axis=0, ddof=1)
    np.testing.assert_allclose(ours.moving_variance, unbiased, rtol=1e-5)
    theirs.moving_variance.assign(ours.moving_variance)
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-6)


def test_fused_batch_norm_gradient_equals_keras():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares TensorFlow gradients")
    x, grads = tf.constant(_images(3, 4, 5, 2)), []
    for layer in (BatchNormalization(), keras.layers.BatchNormalization()):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.sin(layer(x, training=True)))
        grads.append(tape.gradient(loss, [x, layer.gamma.value, layer.beta.value]))
    for ours, theirs in zip(*grads):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_frozen_batch_norm_keeps_its_statistics():
    layer = BatchNormalization()
    layer.build((None, None, None, 3))
    layer.trainable = False
    layer(_images(2, 4, 4, 3), training=True)
    np.testing.assert_array_equal(layer.moving_mean, 0.0)


def test_image_normalization_divides_by_std():
    layer = ImageNormalization(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    np.testing.assert_allclose(
        layer(np.full((1, 1, 1, 3), 50.0, "float32"))[0, 0, 0], [20.0, 7.5, 4.0], rtol=1e-6
    )


def test_image_normalization_averages_the_default_for_other_channels():
    layer = ImageNormalization()
    mean = (123.675 + 116.28 + 103.53) / 3
    np.testing.assert_allclose(layer(np.full((1, 1, 1, 1), mean, "float32")), 0.0, atol=1e-5)


@pytest.mark.parametrize("options", [{"std": (1.0, 0.0, 1.0)}, {"std": -1.0}])
def test_image_normalization_refuses_a_std_that_is_not_positive(options):
    with pytest.raises(ValueError, match="`std` must be a finite number above 0"):
        ImageNormalization(**options)


@pytest.mark.parametrize("value", [None, "imagenet", float("nan"), (1.0, float("inf"), 1.0)])
def test_image_normalization_refuses_what_is_no_number(value):
    for name in ("mean", "std"):
        with pytest.raises(ValueError, match=f"`{name}` must be a finite number"):
            ImageNormalization(**{name: value})


def test_image_normalization_refuses_other_channel_counts():
    with pytest.raises(ValueError, match="2 values for an image of 3 channels"):
        ImageNormalization(mean=(1.0, 2.0), std=(1.0, 2.0))(np.zeros((1, 2, 2, 3), "float32"))


def test_synchronized_statistics_move_as_those_of_one_device():
    """The unbiased variance in both; here one replica has the whole batch."""
    x = np.random.default_rng(0).normal(3.0, 2.0, (2, 3, 4, 5)).astype("float32")
    one, other = BatchNormalization(), BatchNormalization(synchronized=True)
    np.testing.assert_allclose(other(x, training=True), one(x, training=True), atol=1e-4)
    for a, b in zip(one.weights, other.weights):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-4)
