"""The demo's data set: what the recipe states, written whole, and read by the real reader."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_detblocks import data
from keras_detblocks.data import digits

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return data.write_digits(
        tmp_path_factory.mktemp("digits") / "set",
        train_images=24,
        val_images=6,
        image_size=160,
        seed=3,
    )


def test_read_by_the_real_reader(folder):
    assert data.splits(folder) == ("train", "val")
    train, val = data.load(folder, "train"), data.load(folder, "val")
    assert (len(train), len(val)) == (24, 6)
    assert train.class_names == tuple("0123456789")
    assert train.category_ids == tuple(range(1, 11))
    assert train.skipped.total == val.skipped.total == 0
    assert {(r.width, r.height) for r in train.records} == {(160, 160)}


def test_boxes_follow_the_recipe(folder):
    """1 to 6 digits, no larger than a scan's side of 80 px, at least 2 px between boxes, inside the
    image."""
    for record in data.load(folder, "train").records:
        boxes = record.boxes
        assert 1 <= len(boxes) <= 6
        assert (boxes == np.rint(boxes)).all() and boxes.min() >= 0 and boxes.max() <= 160
        assert (boxes[:, 2:] - boxes[:, :2]).max() <= 80
        for i in range(len(boxes)):
            for j in range(i):
                gap = np.maximum(boxes[i, :2] - boxes[j, 2:], boxes[j, :2] - boxes[i, 2:]).max()
                assert gap >= 2


def test_scans_of_the_splits_are_disjoint_and_all_there():
    scans, labels = digits.read_scans(0)
    assert scans.shape == (1797, 8, 8) and scans.min() == 0 and scans.max() == 1
    assert digits.VALIDATION_SCANS == 397 and len(labels) - 397 == 1400


def test_box_is_tight_on_the_ink():
    scan = np.zeros((8, 8), "float32")
    scan[2:6, 3:5] = 1
    alpha = digits.enlarged(scan, 32)  # four times: the ink spans rows 8 to 24 and columns 12 to 20
    assert alpha.shape == pytest.approx((16, 8), abs=2)
    edges = [alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()]
    assert min(edges) > 0.3


def test_reused_redrawn_refused(folder, tmp_path):
    first = folder / "train" / "000001.png"
    before = first.stat().st_mtime_ns
    data.write_digits(folder, train_images=24, val_images=6, image_size=160, seed=3)
    assert first.stat().st_mtime_ns == before
    out = tmp_path / "set"
    same = data.write_digits(out, train_images=2, val_images=1, image_size=160, seed=3)
    assert np.array_equal(
        np.asarray(Image.open(same / "train" / "000002.png")),
        np.asarray(Image.open(folder / "train" / "000002.png")),
    )
    data.write_digits(out, train_images=1, val_images=1, image_size=160, seed=4)
    assert len(list((out / "train").iterdir())) == 1
    assert json.loads((out / "digits.json").read_text())["seed"] == 4
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds something else"):
        data.write_digits(mine)
    assert (mine / "thesis.txt").exists()


@pytest.mark.parametrize("wrong", [{"image_size": 64}, {"train_images": 0}, {"val_images": 0}])
def test_sizes_out_of_range(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be an int of at least"):
        data.write_digits(tmp_path / "x", **wrong)
