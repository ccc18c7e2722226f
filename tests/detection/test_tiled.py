"""Tile by tile each object is found once, whole, wherever the tiles' sides fall."""

import numpy as np
import pytest
from perfect import Perfect, paint

from keras_detblocks.detection.tiled import detect_in_tiles


def _grid(width, height, side, step):
    boxes = [
        (x, y, x + side, y + side)
        for y in range(3, height - side, step)
        for x in range(5, width - side, step)
    ]
    return boxes, [i % 3 for i in range(len(boxes))]


def _find(tiles):
    return [Perfect.find(tile) for tile in tiles]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "side", "step", "tile", "overlap"),
    [
        ((2472, 2299), 35, 97, 640, 0.2),
        ((300, 200), 20, 33, (64, 96), 0.35),
        ((90, 80), 9, 20, 640, 0),
    ],
)
def test_each_object_once(size, side, step, tile, overlap):
    """The first: a picture of 2299x2472 with 575 objects of 35 px."""
    boxes, labels = _grid(*size, side, step)
    picture = paint((size[1], size[0]), boxes, labels)
    found = detect_in_tiles(_find, picture, tile, overlap, 0.6)
    assert sorted(map(tuple, found["boxes"].astype(int).tolist())) == sorted(boxes)
    assert (np.diff(found["scores"]) <= 0).all()
    by_place = dict(zip(boxes, labels))
    for box, label in zip(found["boxes"].astype(int).tolist(), found["labels"]):
        assert by_place[tuple(box)] == label


def test_nothing_to_find():
    found = detect_in_tiles(_find, np.zeros((300, 300, 3), "uint8"), 128, 0.2, 0.6)
    assert found["boxes"].shape == (0, 4) and len(found["labels"]) == 0


def test_an_object_larger_than_the_overlap_is_not_lost():
    picture = paint((100, 300), [(50, 10, 250, 90)], [0])
    found = detect_in_tiles(_find, picture, 128, 0.2, 0.6)
    assert len(found["boxes"]) >= 1
