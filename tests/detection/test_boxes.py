import keras
import numpy as np
import pytest

from keras_detblocks.detection import boxes as B


def test_iou_matrix_of_hand_worked_boxes():
    a = np.array([[0, 0, 10, 10], [5, 5, 15, 15]], "float32")
    b = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [5, 0, 15, 10]], "float32")
    expected = [[1, 0, 50 / 150], [25 / 175, 0, 50 / 150]]
    np.testing.assert_allclose(B.iou_matrix(a, b), expected, rtol=1e-6)


def test_inverted_and_empty_boxes_have_no_overlap():
    box = np.array([[10, 10, 0, 0], [3, 3, 3, 3]], "float32")
    assert not np.asarray(B.iou_matrix(box, box)).any()


def test_giou_of_apart_boxes_counts_the_gap():
    a, b = np.array([0, 0, 1, 1], "float32"), np.array([2, 0, 3, 1], "float32")
    assert float(B.giou(a, b)) == pytest.approx(-(3 - 2) / 3)
    assert float(B.giou(a, a)) == pytest.approx(1.0)


def test_ciou_by_its_formula():
    a, b = np.array([0, 0, 4, 2], "float32"), np.array([1, 0, 3, 4], "float32")
    iou = 4 / (8 + 8 - 4)
    v = 4 / np.pi**2 * (np.arctan(4 / 2) - np.arctan(2 / 4)) ** 2
    expected = iou - (0**2 + 1**2) / (4**2 + 4**2) - v * v / (1 - iou + v)
    assert float(B.ciou(a, b)) == pytest.approx(expected, rel=1e-5)


def test_points_of_ceil_halved_and_other_maps():
    points, strides = B.level_points([(2, 3), (1, 1)], (15, 20), [3, 4])
    np.testing.assert_array_equal(points[:3], [[4, 4], [12, 4], [20, 4]])
    np.testing.assert_array_equal(strides[0], [8, 8])
    # 15 and 20 pixels make 1 and 2 cells of stride 16: one cell in x is none of these, so it spans
    # the image.
    np.testing.assert_array_equal(points[-1], [10, 8])
    np.testing.assert_array_equal(strides[-1], [20, 16])


def test_distances_to_boxes_is_the_inverse_of_measuring():
    points, strides = np.array([[12, 20]], "float32"), np.array([[8, 8]], "float32")
    box = B.distances_to_boxes(np.array([[1, 2, 0.5, 0.25]], "float32"), points, strides)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(box), [[4, 4, 16, 22]])
