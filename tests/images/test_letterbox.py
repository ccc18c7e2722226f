"""Letterboxing against literal numbers, and boxes there and back."""

import numpy as np
import pytest

from keras_detblocks import data


@pytest.mark.parametrize(
    ("original", "size", "resized"),
    [
        ((480, 640), (256, 320), (240, 320)),  # the width decides
        ((640, 480), (256, 320), (256, 192)),  # the height decides
        ((50, 100), (200, 200), (100, 200)),  # enlarged
        ((64, 64), (64, 64), (64, 64)),  # untouched
        ((1, 5000), (64, 64), (1, 64)),  # at least one pixel
        ((333, 517), (320, 320), (206, 320)),  # 206.1
    ],
)
def test_sizes_and_round_trip(original, size, resized):
    image = np.full((*original, 3), 200, "uint8")
    canvas, fitted = data.letterbox(image, size)
    assert canvas.shape == (*size, 3) and canvas.dtype == np.uint8
    assert fitted.resized == resized
    assert (canvas[: resized[0], : resized[1]] == 200).all()
    assert (canvas[resized[0] :] == 114).all() and (canvas[:, resized[1] :] == 114).all()
    height, width = original
    whole = [[0, 0, width, height]]
    np.testing.assert_allclose(
        fitted.to_letterboxed(whole), [[0, 0, resized[1], resized[0]]], rtol=1e-6
    )
    boxes = np.array([[0.1, 0.2, 0.9, 0.7]]) * [width, height, width, height]
    np.testing.assert_allclose(fitted.to_original(fitted.to_letterboxed(boxes)), boxes, rtol=1e-5)


def test_boxes_on_the_padding_are_clipped():
    _, fitted = data.letterbox(np.zeros((100, 200, 3), "uint8"), 64)
    np.testing.assert_allclose(fitted.to_original([[32, 16, 70, 64]]), [[100, 50, 200, 100]])


def test_painted_rectangle_stays_under_its_box():
    image = np.zeros((240, 320, 3), "uint8")
    image[60:180, 80:240] = 255
    canvas, fitted = data.letterbox(image, (128, 160))
    x0, y0, x1, y1 = fitted.to_letterboxed([80, 60, 240, 180]).astype(int)
    assert (x0, y0, x1, y1) == (40, 30, 120, 90)
    assert canvas[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].min() > 250
    assert canvas[: y0 - 1, :160].max() < 5
