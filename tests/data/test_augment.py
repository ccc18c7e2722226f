"""Augmentation: boxes follow painted rectangles, symmetries are exact, colors change as stated, no
box is invented."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from keras_detblocks import data
from keras_detblocks.data.augment import Augment, recolor

STILL = {"horizontal_flip": 0.0, "scale": (1, 1), "translate": 0.0, "color": (0, 0, 0, 0)}


def _painted(count=16, size=(48, 64), seed=0):
    """Images with two bright rectangles, the first in red and the second in green, and their boxes;
    a third place is padding."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, *size, 3), "uint8")
    boxes = np.zeros((count, 3, 4), "float32")
    for i in range(count):
        for k, left in enumerate((2, 34)):
            x0, y0 = left + rng.integers(0, 12), rng.integers(2, 20)
            x1, y1 = x0 + rng.integers(8, 16), y0 + rng.integers(8, 24)
            images[i, y0:y1, x0:x1, k] = 250
            boxes[i, k] = (x0, y0, x1, y1)
    return images, boxes, np.tile(np.array([[0, 1, -1]], "int32"), (count, 1))


def _extent(mask):
    """The box around what is set, by half covered pixels."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def _check_followed(images, boxes, labels, tolerance):
    """Each box is around its painted rectangle; returns how many there are."""
    seen = 0
    for image, image_boxes, image_labels in zip(*(np.asarray(t) for t in (images, boxes, labels))):
        for box, label in zip(image_boxes, image_labels):
            if label >= 0:
                paint = image[..., label] - image[..., 2]  # the surrounding gray is in all channels
                np.testing.assert_allclose(_extent(paint > 125), box, atol=tolerance)
                seen += 1
    return seen


def test_nothing_to_do_changes_nothing():
    images, boxes, labels = _painted()
    same = Augment(**STILL)(images, tf.constant(boxes), tf.constant(labels), [1, 2])
    np.testing.assert_array_equal(same[0], images.astype("float32"))
    np.testing.assert_array_equal(same[1], boxes)
    np.testing.assert_array_equal(same[2], labels)
    assert same[0].dtype == tf.float32


@pytest.mark.parametrize(
    "change",
    [
        {"horizontal_flip": 1.0},
        {"vertical_flip": 1.0},
        {"horizontal_flip": 0.5, "vertical_flip": 0.5},
    ],
)
def test_flips_are_exact(change):
    images, boxes, labels = _painted()
    moved = Augment(**(STILL | change))(images, tf.constant(boxes), tf.constant(labels), [1, 2])
    assert _check_followed(*moved, tolerance=0) == 32
    if change == {"horizontal_flip": 1.0}:
        np.testing.assert_array_equal(moved[0], images[:, :, ::-1].astype("float32"))


def test_eight_symmetries_are_exact_and_equally_likely():
    images, boxes, labels = _painted(count=400, size=(64, 64))
    images[:], boxes[:] = images[:1], boxes[:1]
    augment = Augment(**(STILL | {"horizontal_flip": 0.5, "vertical_flip": 0.5, "rotate90": True}))
    moved = augment(images, tf.constant(boxes), tf.constant(labels), [5, 6])
    assert _check_followed(*moved, tolerance=0) == 800
    one = images[0].astype("float32")
    symmetries = [np.rot90(s, k) for s in (one, one.swapaxes(0, 1)) for k in range(4)]
    counts = [sum(np.array_equal(m, s) for m in moved[0].numpy()) for s in symmetries]
    assert sum(counts) == 400 and min(counts) > 25  # 50 each, four standard deviations of 6.6


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (0.5, 0.9)},
        {"scale": (1.1, 2.0)},
        {"scale": (0.7, 1.4), "translate": 0.3},
        {
            "scale": (0.7, 1.4),
            "translate": 0.1,
            "horizontal_flip": 0.5,
            "vertical_flip": 0.5,
            "rotate90": True,
        },
        {"scale": (0.7, 1.4), "translate": 0.1, "mosaic": 1.0},
    ],
)
def test_boxes_follow_scaled_and_cut_rectangles(change):
    images, boxes, labels = _painted(count=32)
    augment = Augment(**(STILL | {"min_visible": 0.0} | change))
    moved = augment(images, tf.constant(boxes), tf.constant(labels), [3, 4])
    # Several rectangles of one color in an image: every pixel under a box center is painted.
    if augment.mosaic:
        for image, image_boxes, image_labels in zip(*(t.numpy() for t in moved)):
            for box, label in zip(image_boxes, image_labels):
                x, y = ((box[:2] + box[2:]) / 2).astype(int)
                assert label < 0 or image[y, x, label] > 125
        assert (moved[2].numpy() >= 0).sum() > 32
    else:
        assert _check_followed(*moved, tolerance=1.01) > 32
    valid = moved[1].numpy()[moved[2].numpy() >= 0]
    assert valid.min() >= 0 and (valid[:, 2] <= 64).all() and (valid[:, 3] <= 48).all()


def test_too_little_visible_is_dropped():
    """Twice as large, cut at random: a box stays exactly where 60 % of its area is left; the valid
    ones come first."""
    images, boxes, labels = _painted(count=64)
    lenient, strict = (
        Augment(**(STILL | {"scale": (2, 2), "min_visible": share}))(
            images, tf.constant(boxes), tf.constant(labels), [3, 4]
        )
        for share in (0.0, 0.6)
    )
    whole = 4 * ((boxes[:, :2, 2] - boxes[:, :2, 0]) * (boxes[:, :2, 3] - boxes[:, :2, 1]))
    dropped = 0
    for i in range(64):
        left = {}
        for box, label in zip(lenient[1].numpy()[i], lenient[2].numpy()[i]):
            if label >= 0:
                left[label] = (box[2] - box[0]) * (box[3] - box[1]) / whole[i, label]
        kept = [label for label, share in left.items() if share >= 0.6]
        dropped += len(left) - len(kept)
        assert strict[2].numpy()[i].tolist() == kept + [-1] * (3 - len(kept))
    assert dropped > 5


def test_mosaic_and_mixup_double_the_places_and_lose_no_box():
    images, boxes, labels = _painted(count=8)
    for change in ({"mixup": 1.0}, {"mosaic": 0.5}):
        moved = Augment(**(STILL | change))(images, tf.constant(boxes), tf.constant(labels), [1, 2])
        assert moved[1].shape == (8, 6, 4) and moved[2].shape == (8, 6)
    mixed, mixed_boxes, mixed_labels = Augment(**(STILL | {"mixup": 1.0}))(
        images, tf.constant(boxes), tf.constant(labels), [1, 2]
    )
    np.testing.assert_array_equal(mixed_labels, [[0, 1, 0, 1, -1, -1]] * 8)
    for image, image_boxes in zip(mixed.numpy(), mixed_boxes.numpy().astype(int)):
        for k in range(4):
            x0, y0, x1, y1 = image_boxes[k]
            assert image[y0:y1, x0:x1, k % 2].min() > 0.34 * 250


def test_colors_against_colorsys():
    """Hue turns, saturation fades to gray, contrast and brightness scale and shift; one image
    each."""
    rng = np.random.default_rng(0)
    pixel = rng.uniform(60, 200, 3).astype("float32")
    images = tf.constant(np.tile(pixel, (4, 2, 2, 1)))
    draw = tf.constant(
        [[1, 0.5, 0.5, 0.5], [0.5, 1, 0.5, 0.5], [0.5, 0.5, 0, 0.5], [0.5, 0.5, 0.5, 1]]
    )
    changed = recolor(images, draw, (0.1, 0.2, 1.0, 0.05)).numpy()[:, 0, 0]
    np.testing.assert_allclose(changed[0], pixel + 25.5, rtol=1e-4)
    np.testing.assert_allclose(changed[1], (pixel - 128) * 1.2 + 128, rtol=1e-4)
    np.testing.assert_allclose(changed[2], [pixel @ [0.299, 0.587, 0.114]] * 3, rtol=1e-3)
    before, after = (colorsys.rgb_to_yiq(*(p / 255)) for p in (pixel, changed[3]))
    assert after[0] == pytest.approx(before[0], abs=2e-3)
    angle = np.angle(complex(*after[1:]) / complex(*before[1:]))
    assert abs(angle) == pytest.approx(2 * np.pi * 0.05, abs=0.01)
    # the middle of every draw changes nothing
    still = recolor(images, tf.fill((4, 4), 0.5), (0.1, 0.2, 1.0, 0.05))
    np.testing.assert_allclose(still, images, rtol=1e-5)


@pytest.mark.slow
def test_in_the_pipeline(tmp_path):
    """Through tf.data in graph mode, seeded: the same seed gives the same images, another pass
    others; values stay in 0..255."""
    pytest.importorskip("sklearn")
    dataset = data.load(
        data.write_digits(tmp_path / "digits", train_images=8, val_images=1, image_size=96), "train"
    )
    augment = Augment(vertical_flip=0.5, rotate90=True, mosaic=0.5, mixup=0.5)

    def batches(seed):
        return [
            (x.numpy(), y["labels"].numpy())
            for x, y in data.pipeline(dataset, (96, 128), 4, True, augment, seed).take(4)
        ]

    one, again, other = batches(0), batches(0), batches(1)
    assert all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(one, again)
    )
    assert not np.array_equal(one[0][0], other[0][0])
    for x, y in one:
        assert x.shape == (4, 96, 128, 3) and x.min() >= 0 and x.max() <= 255
        assert y.shape[1] == 2 * dataset.max_boxes


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizontal_flip": 50},
        {"min_visible": -1},
        {"scale": (1.3, 0.8)},
        {"scale": (0, 1)},
        {"color": (0.1, 0.2)},
        {"translate": -0.1},
    ],
)
def test_values_out_of_range(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        Augment(**wrong)
