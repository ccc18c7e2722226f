import numpy as np
import pytest

from keras_detblocks.detection.boxes import level_points
from keras_detblocks.detection.losses import (
    detection_losses,
    focal_loss,
    quality_focal_loss,
    varifocal_loss,
)

POINTS, STRIDES = level_points([(4, 4)], (32, 32), [3])


def test_quality_focal_loss_by_its_formula():
    logits, target = np.array([0.3, -2.0], "float32"), np.array([0.8, 0.0], "float32")
    p = 1 / (1 + np.exp(-logits))
    cross_entropy = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    np.testing.assert_allclose(
        quality_focal_loss(logits, target), np.abs(target - p) ** 2 * cross_entropy, rtol=1e-5
    )


def test_focal_loss_by_its_formula():
    logits, target = np.array([0.3, -2.0], "float32"), np.array([1.0, 0.0], "float32")
    p = 1 / (1 + np.exp(-logits))
    expected = [-0.25 * (1 - p[0]) ** 2 * np.log(p[0]), -0.75 * p[1] ** 2 * np.log(1 - p[1])]
    np.testing.assert_allclose(focal_loss(logits, target), expected, rtol=1e-5)


def test_varifocal_loss_by_its_formula():
    logits, target = np.array([0.3, -2.0], "float32"), np.array([0.8, 0.0], "float32")
    p = 1 / (1 + np.exp(-logits))
    expected = [
        -0.8 * (0.8 * np.log(p[0]) + 0.2 * np.log(1 - p[0])),
        -0.75 * p[1] ** 2 * np.log(1 - p[1]),
    ]
    np.testing.assert_allclose(varifocal_loss(logits, target), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["quality_focal", "varifocal", "focal"])
@pytest.mark.parametrize("box_loss", ["giou", "ciou"])
def test_images_without_objects_have_finite_losses_and_no_weight(kind, box_loss):
    rng = np.random.default_rng(0)
    truth = {"boxes": np.zeros((2, 3, 4), "float32"), "labels": np.full((2, 3), -1)}
    truth["boxes"][1, 0], truth["labels"][1, 0] = (2, 2, 20, 20), 1
    classification, box, weight = (
        np.asarray(v)
        for v in detection_losses(
            rng.normal(size=(2, 16, 2)).astype("float32"),
            rng.uniform(0.5, 2, (2, 16, 4)).astype("float32"),
            POINTS,
            STRIDES,
            truth,
            box_loss,
            kind,
        )
    )
    assert np.isfinite(classification).all() and np.isfinite(box).all()
    assert weight[0] == box[0] == 0 and weight[1] > 0 and box[1] > 0


def test_exact_boxes_have_no_box_loss():
    truth = {"boxes": np.array([[[4, 4, 28, 28]]], "float32"), "labels": np.array([[0]])}
    distances = (np.concatenate([POINTS - [4, 4], [28, 28] - POINTS], axis=-1) / 8).astype(
        "float32"
    )[None]
    _, box, weight = detection_losses(
        np.zeros((1, 16, 1), "float32"), distances, POINTS, STRIDES, truth
    )
    assert float(weight[0]) > 1 and abs(float(box[0])) < 1e-4
