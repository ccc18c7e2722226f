"""Windows cover every pixel with the overlap asked for; what two of them show is one object."""

import numpy as np
import pytest

from keras_detblocks.images.tiles import cut_by_window, merged, windows


@pytest.mark.parametrize("size", [(2299, 2472), (640, 640), (641, 100), (7, 5000)])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
def test_windows_cover_everything_and_overlap(size, overlap):
    width, height = size
    found = windows(width, height, (320, 640), overlap)
    covered = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in found:
        assert (x1 - x0, y1 - y0) == (min(640, width), min(320, height))
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    for starts, side in ((np.unique(found[:, 0]), 640), (np.unique(found[:, 1]), 320)):
        assert (np.diff(starts) <= round(side * (1 - overlap)) + 1).all()


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": (1, 2, 3)}, {"size": 64, "overlap": 0.95}])
def test_sizes_out_of_range(wrong):
    with pytest.raises(ValueError, match="`size` must be|`overlap` must be"):
        windows(100, 100, **wrong)


def test_boxes_that_the_window_cuts():
    boxes = np.array([[0, 0, 9, 9], [90, 20, 100, 30], [40, 95, 55, 100], [40, 40, 50, 50]])
    cut, reach = cut_by_window(boxes, (0, 0, 100, 100), (150, 100))
    np.testing.assert_array_equal(cut, [False, True, False, False])  # the picture ends below
    assert reach[1] == 10


def test_an_object_in_two_windows_is_kept_once():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [5, 0, 10, 10], [5, 0, 10, 10.0]])
    scores, tiles = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 0, 1, 0])
    labels = np.array([0, 0, 0, 1])
    np.testing.assert_array_equal(merged(boxes, scores, labels, tiles), [0, 3])
    # within one window a small object may lie in a large one
    np.testing.assert_array_equal(merged(boxes, scores, labels, np.zeros(4)), [0, 2, 3])
    assert len(merged(np.zeros((0, 4)), np.zeros(0), np.zeros(0), np.zeros(0))) == 0
