"""`fit` takes ground truth in its forms, and refuses what cannot be meant."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from toy import toy_batch, toy_detector

from keras_detblocks.detection.faults import expects_bytes
from keras_detblocks.detection.targets import check_data

X, Y = toy_batch(8)
BOXES, LABELS = Y["boxes"], Y["labels"]


@pytest.fixture(scope="module")
def detector():
    keras.utils.set_random_seed(0)
    model = toy_detector(levels=(4,))
    model.compile(keras.optimizers.SGD(1e-4))
    return model


def fit(model, x, y=None, **kwargs):
    return model.fit(x, y, batch_size=8, verbose=0, **kwargs).history


def corner_and_size():
    return np.concatenate([BOXES[..., :2], BOXES[..., 2:] - BOXES[..., :2]], axis=-1)


@pytest.mark.parametrize(
    "x, y, message",
    [
        (X, {**Y, "boxes": BOXES / 96.0}, "lie between 0 and 1.*multiply them by its width"),
        (X, {**Y, "boxes": corner_and_size()}, "x, y, x . width, y . height.*Received: [0-9]+ oth"),
        (X, {**Y, "boxes": BOXES * np.nan}, "x_min < x_max"),
        (X, {**Y, "labels": LABELS + (LABELS >= 0)}, "class numbers from 0 to 2.*a background"),
        (X, {**Y, "labels": LABELS - (LABELS < 0)}, "or -1 where there is no object"),
        (X, {**Y, "labels": LABELS + 0.5 * (LABELS == 2)}, "class numbers from 0 to 2"),
        (X, {**Y, "boxes": BOXES + [0, 0, 0, np.inf]}, "x_min < x_max"),
        (X, {**Y, "boxes": BOXES * 10.0}, "outside of their images.*scale them as the images were"),
        (X / 255.0, Y, "normalizes pixels of 0 to 255 itself: multiply the images by 255"),
        (X / 58.0 - 2.0, Y, "between 0 and 1, or normalized ones"),
    ],
    ids=[
        *("shares", "corner and size", "nan", "from 1", "-2", "fractions", "inf", "other scale"),
        *("images of 0 to 1", "normalized images"),
    ],
)
def test_values_that_cannot_be_meant(detector, eager, x, y, message):
    with pytest.raises(ValueError, match=message):
        fit(detector, x, y)


def test_validation_data_is_looked_at_too(detector, eager):
    shares = {**Y, "boxes": BOXES / 96.0}
    for look in (
        lambda: fit(detector, X, Y, validation_data=(X, shares)),
        lambda: detector.evaluate(X, shares, batch_size=8, verbose=0),
    ):
        with pytest.raises(ValueError, match="lie between 0 and 1"):
            look()
    with pytest.raises(ValueError, match="NaN or infinity in the first batch"):
        detector.evaluate(X * np.nan, Y, batch_size=8, verbose=0)


def test_what_is_refused_does_not_reach_the_weights(detector, eager):
    """Nor does what stands beside a label of -1: the model is as good as before."""
    boxes = np.where(LABELS[..., None] < 0, np.nan, BOXES)
    expected = detector.evaluate(X, Y, batch_size=8, verbose=0)
    found = detector.evaluate(X, {**Y, "boxes": boxes}, batch_size=8, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="x_min < x_max"):
        fit(detector, X, {**Y, "boxes": np.where(LABELS[..., None] == 1, np.nan, BOXES)})
    assert all(np.isfinite(np.asarray(weight)).all() for weight in detector.weights)


def test_weights_of_images(detector, eager):
    weights = np.arange(8.0)
    loss, *_ = detector.evaluate(X, Y, batch_size=8, sample_weight=weights, verbose=0)
    double, *_ = detector.evaluate(X, Y, batch_size=8, sample_weight=2 * weights, verbose=0)
    assert double == pytest.approx(2 * loss, rel=1e-4)


@pytest.mark.parametrize(
    "x, y, message",
    [
        (X, {"boxes": list(BOXES), "labels": list(LABELS)}, "stack them, padded.*list as `boxes`"),
        (X, [{"boxes": BOXES[0], "labels": LABELS[0]}] * 8, "one dict per image, as torchvision"),
        (X, {**Y, "labels": LABELS >= 0}, "`labels` must be numbers.*of dtype bool"),
        (X, {**Y, "labels": LABELS.astype(str)}, "`labels` must be numbers.*of dtype str"),
        (X[..., :1], Y, "Images must be .any, 64, 96, 3.*Received: images of shape .*, 64, 96, 1"),
        (X.transpose(0, 3, 1, 2), Y, "channels last"),
        (X, {**Y, "boxes": np.concatenate([BOXES, LABELS[..., None]], -1)}, "the shapes .*, 3, 5"),
    ],
)
def test_arrays_and_lists_are_looked_at_before_a_step_is_traced(detector, x, y, message):
    with pytest.raises(ValueError, match=message):
        detector.fit(x, y, verbose=0)
    if not isinstance(y, list) and not isinstance(y["boxes"], list):
        with pytest.raises(ValueError, match=message):
            detector.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(8), verbose=0)


def test_metrics_are_no_business_of_compile():
    with pytest.raises(ValueError, match="ValidationAP"):
        toy_detector().compile("adam", metrics=["accuracy"])


@pytest.mark.parametrize(
    "y, message",
    [
        ({"boxes": BOXES, "classes": LABELS}, "rename `classes` to `labels`"),
        ({"bboxes": BOXES, "cls": LABELS}, "rename `bboxes` to `boxes`, rename `cls` to `labels`"),
        ({**Y, "image_id": LABELS}, "leave out torchvision's `image_id`"),
        ({"bounding_boxes": {"boxes": BOXES, "classes": LABELS}}, "the dict in `bounding_boxes`"),
        ({**Y, "weight": LABELS}, "give these two keys and no other"),
        ({"boxes": BOXES, "labels": np.eye(3)[LABELS]}, "not one-hot: take their argmax"),
        ({"boxes": BOXES[..., 0], "labels": LABELS}, "Received the shapes"),
        ({"boxes": BOXES[..., :3], "labels": LABELS}, "Received the shapes"),
        ({"boxes": BOXES, "labels": LABELS[:, :2]}, "Received the shapes"),
        ((BOXES, LABELS), "Received: a tuple"),
        (BOXES, "Received: a ndarray"),
        (None, "Received: none"),
    ],
)
def test_other_forms_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        check_data((X, y))


def test_data_sets_of_kerascv_are_told_how_to_map(detector):
    rows = {"images": X, "bounding_boxes": {"boxes": BOXES, "classes": LABELS}}
    with pytest.raises(ValueError, match=r"map it to \(x\['images'\]"):
        detector.fit(tf.data.Dataset.from_tensor_slices(rows).batch(8), verbose=0)


def ragged():
    there = LABELS >= 0
    lengths = there.sum(axis=1)
    return {
        "boxes": tf.RaggedTensor.from_row_lengths(BOXES[there], lengths),
        "labels": tf.RaggedTensor.from_row_lengths(LABELS[there], lengths),
    }


@pytest.mark.slow
def test_ragged_targets_are_padded(detector):
    """As arrays and from `tf.data`, where the number of objects is unknown."""
    expected = detector.evaluate(X, Y, batch_size=8, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices((X, ragged())).batch(8)
    np.testing.assert_allclose(detector.evaluate(batches, verbose=0), expected, rtol=1e-4)
    assert np.isfinite(fit(detector, X, ragged())["loss"]).all()


def test_batches_without_any_object(detector, eager):
    none = {"boxes": np.zeros((8, 0, 4)), "labels": np.zeros((8, 0), int)}
    history = fit(detector, X, none)
    assert np.isfinite(history["loss"]).all() and history["box_loss"] == [0.0]
    assert set(history) == {"loss", "classification_loss", "box_loss"}


def test_whole_numbers_of_any_dtype(detector, eager):
    """Boxes of ints, labels of floats, callbacks of the user's own."""
    epochs = []
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda i, logs: epochs.append(i))]
    fit(detector, X, {"boxes": BOXES.astype(int), "labels": LABELS * 1.0}, callbacks=callbacks)
    assert epochs == [0]


def test_which_backbones_are_known_to_take_bytes():
    image = keras.Input((32, 32, 3))

    def through(*layers):
        x = image
        for layer in layers:
            x = layer(x)
        return expects_bytes(keras.Model(image, x))

    assert toy_detector().faults.pixels
    assert through(keras.layers.Rescaling(1 / 127.5, offset=-1))
    assert not through(keras.layers.Conv2D(2, 1))
    assert not through(keras.layers.Rescaling(2.0, offset=-1))


def test_later_batches_are_told_of(detector, eager):
    """The run goes on: one bad row is no reason to lose it."""
    labels = LABELS.copy()
    labels[5, 0] = 7
    with pytest.warns(UserWarning, match="0 to 2.*Received: 1 others in one epoch"):
        detector.fit(X, {**Y, "labels": labels}, batch_size=4, shuffle=False, verbose=0)
