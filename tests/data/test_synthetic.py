"""Synthetic pictures: seeded, labeled where something is seen, of every class, and read by the
reader."""

import sys

import numpy as np
import pytest

from keras_detblocks import data
from keras_detblocks.data import synthetic
from keras_detblocks.data.synthetic import masks, scene, textures


@pytest.fixture(scope="module")
def pictures():
    return [synthetic.draw_scene((3, i), (96, 128)) for i in range(60)]


def test_the_same_seed_draws_the_same(pictures):
    pixels, boxes, labels = synthetic.draw_scene((3, 0), (96, 128))
    assert np.array_equal(pixels, pictures[0][0])
    assert np.array_equal(boxes, pictures[0][1]) and np.array_equal(labels, pictures[0][2])
    assert not np.array_equal(pixels, pictures[1][0])


def test_the_bank_depends_on_no_order():
    """Every process makes the same textures, whatever it has drawn before."""
    for number in (1, 24, 139):
        assert np.array_equal(textures.texture(number), textures.bank()[number])


def test_boxes_and_labels(pictures):
    for pixels, boxes, labels in pictures:
        assert pixels.shape == (96, 128, 3) and pixels.dtype == np.uint8
        assert boxes.shape == (len(labels), 4) and len(labels) <= synthetic.MAX_OBJECTS
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (128, 96)).all()
        assert ((boxes[:, 2:] - boxes[:, :2]) >= scene.LEAST_SIDE).all()
        assert ((labels >= 0) & (labels < len(synthetic.CLASS_NAMES))).all()


def test_pictures_differ_in_what_they_hold(pictures):
    counts = [len(labels) for _, _, labels in pictures]
    sides = np.concatenate([np.sqrt(np.prod(b[:, 2:] - b[:, :2], 1)) for _, b, _ in pictures])
    assert min(counts) <= 3 and max(counts) >= 15
    assert np.quantile(sides, 0.1) < 12 and sides.max() > 50
    assert len({label for _, _, labels in pictures for label in labels}) > 60


@pytest.mark.parametrize("label", range(len(synthetic.CLASS_NAMES)))
def test_every_class_has_a_mask(label):
    """It is cut to the object, and about as large as asked for."""
    for seed, side in ((0, 12), (1, 90)):
        mask = masks.draw_mask(np.random.default_rng(seed), label, side).max(0)
        assert mask.max() > 0.7 and 0.02 < (mask > 0.4).mean() <= 1.0
        inked = [np.nonzero((mask > 0.1).any(axis))[0] for axis in (1, 0)]
        assert all(span[0] == 0 and span[-1] == n - 1 for span, n in zip(inked, mask.shape))
        assert 0.35 * side < np.sqrt(mask.size) < 1.5 * side + 3


def test_an_object_is_where_its_box_says():
    """Painted on a flat ground, what changed has the box of the label."""
    rng, canvas = np.random.default_rng(0), np.full((3, 80, 90), 128.0, "float32")
    owner = np.full((80, 90), -1, "int16")
    mask = masks.draw_mask(rng, synthetic.CLASS_NAMES.index("square"), 30)
    h, w = mask.shape[1:]
    style = scene.Style(((0, np.zeros(3, "float32"), np.zeros(3, "float32")),) * 2, 1, 1, 0, 0, 0)
    whole = scene._paint(rng, canvas, owner, 0, mask, (20, 70, 20 + h, 70 + w), style, (0, 0), 0)
    boxes, labels = scene._labeled([((20, 70, 20 + h, 70 + w), 1, whole)], owner, 80, 90)
    rows, columns = (np.nonzero((canvas != 128).any((0, axis)))[0] for axis in (2, 1))
    assert labels.tolist() == [1]
    expected = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert np.abs(boxes[0] - expected).max() <= 1 and boxes[0][2] == 90  # cut at the edge


def test_hidden_objects_have_no_box():
    owner = np.full((40, 40), -1, "int16")
    owner[:10, :10], owner[20:30, 20:23] = 0, 1
    placed = [((0, 0, 10, 10), 5, 100), ((20, 20, 30, 30), 6, 100)]
    assert scene._labeled(placed, owner, 40, 40)[1].tolist() == [5]


def test_textures_use_the_whole_range():
    bank = textures.bank()
    assert bank.dtype == np.uint8 and bank.shape[1:] == (textures.SIDE,) * 2
    assert (np.ptp(bank.reshape(len(bank), -1), 1) > 200).all()


def test_digits_are_printed_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    masks._scans.cache_clear()
    try:
        assert masks._scans() is None
        label = synthetic.CLASS_NAMES.index("7")
        assert masks.draw_mask(np.random.default_rng(0), label, 30).max() > 0.7
    finally:
        masks._scans.cache_clear()


def test_folder(tmp_path):
    folder = synthetic.write_scenes(tmp_path / "set", 3, 2, image_size=(64, 80), seed=1)
    train, val = data.load(folder, "train"), data.load(folder, "val")
    assert (len(train), len(val)) == (3, 2) and train.class_names == synthetic.CLASS_NAMES
    assert train.skipped.total == 0 and {(r.width, r.height) for r in train.records} == {(80, 64)}
    assert np.allclose(train.records[0].boxes, synthetic.draw_scene((1, 0, 0), (64, 80))[1])
    with pytest.raises(ValueError, match="new or empty folder"):
        synthetic.write_scenes(folder, 1, 1)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="`size` must be an int of at least 64"):
        synthetic.draw_scene(0, 40)
    with pytest.raises(ValueError, match="`train_images` must be an int of at least 1"):
        synthetic.write_scenes(tmp_path / "a", 0, 1)
