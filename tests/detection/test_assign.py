import numpy as np

from keras_detblocks.detection.assign import task_aligned
from keras_detblocks.detection.boxes import level_points

POINTS, STRIDES = level_points([(4, 4)], (32, 32), [3])


def _assign(boxes, truth, labels, scores=None, **options):
    scores = np.full((1, 16, 2), 0.5, "float32") if scores is None else scores
    out = task_aligned(
        scores,
        np.asarray(boxes, "float32")[None],
        POINTS,
        STRIDES,
        np.array([truth], "float32"),
        np.array([labels]),
        **options,
    )
    return {key: np.asarray(value)[0] for key, value in out.items()}


def _predict(box):
    return np.tile(np.array(box, "float32"), (16, 1))


def test_points_inside_the_box_are_positive_and_the_best_has_its_iou():
    truth = [0, 0, 16, 16]
    out = _assign(_predict([0, 0, 16, 8]), [truth], [1])
    inside = [i for i, (x, y) in enumerate(POINTS) if x < 16 and y < 16]
    assert sorted(np.nonzero(out["labels"] == 1)[0]) == inside
    np.testing.assert_allclose(out["quality"][inside], 0.5, rtol=1e-5)
    assert (out["labels"][[i for i in range(16) if i not in inside]] == -1).all()


def test_a_box_smaller_than_a_cell_still_gets_a_point():
    out = _assign(_predict([6, 6, 10, 10]), [[7, 7, 9, 9]], [0])
    assert (out["labels"] == 0).sum() > 0


def test_only_the_top_are_taken():
    boxes = _predict([0, 0, 32, 32])
    boxes[5] = [0, 0, 30, 32]
    boxes[:5] = [0, 0, 20, 20]
    out = _assign(boxes, [[0, 0, 32, 32]], [0], top=10)
    assert (out["labels"] == 0).sum() == 10
    assert (out["labels"][:6] == -1).all()


def test_a_point_in_two_boxes_goes_to_the_larger_overlap():
    out = _assign(_predict([0, 0, 16, 16]), [[0, 0, 16, 16], [0, 0, 32, 32]], [0, 1])
    first = out["labels"][[i for i, (x, y) in enumerate(POINTS) if x < 16 and y < 16]]
    assert (first == 0).all()
    np.testing.assert_array_equal(out["boxes"][0], [0, 0, 16, 16])


def test_the_class_score_decides_between_equal_boxes():
    scores = np.full((1, 16, 2), 0.1, "float32")
    scores[0, 3, 1] = 0.9
    out = _assign(_predict([0, 0, 32, 32]), [[0, 0, 32, 32]], [1], scores=scores, top=1)
    assert list(np.nonzero(out["labels"] >= 0)[0]) == [3]


def test_no_objects_means_all_background():
    out = _assign(_predict([0, 0, 8, 8]), [[0, 0, 0, 0]], [-1])
    assert (out["labels"] == -1).all() and not out["quality"].any()
