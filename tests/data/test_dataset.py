"""Data sets joined and given another order of classes."""

import numpy as np
import pytest

from keras_detblocks import data


def _dataset(labels, names, ids):
    labels = np.array(labels, "int32")
    boxes = np.tile(np.array([[0, 0, 4, 5]], "float32"), (len(labels), 1))
    record = data.Record(
        "a.png", 8, 8, boxes, labels, np.zeros(len(labels), bool), np.full(len(labels), 20.0), 1
    )
    return data.Dataset([record], names, ids, source="here")


def test_with_classes_goes_by_name():
    dataset = _dataset([0, 1, 0], ("ant", "bee"), (3, 8)).with_classes(["wasp", "bee", "ant"])
    np.testing.assert_array_equal(dataset.records[0].labels, [2, 1, 2])
    assert dataset.class_names == ("wasp", "bee", "ant") and dataset.category_ids == (9, 8, 3)
    unused = _dataset([1], ("ant", "bee"), (3, 8)).with_classes(["bee"])
    np.testing.assert_array_equal(unused.records[0].labels, [0])
    with pytest.raises(data.DatasetError, match="objects of ant"):
        _dataset([0], ("ant", "bee"), (3, 8)).with_classes(["bee"])


def test_merge():
    one, other = _dataset([0], ("ant", "bee"), (3, 8)), _dataset([1], ("ant", "bee"), (3, 8))
    one.skipped.add("x", "first")
    other.skipped.add("x", "second")
    both = data.merge([one, other])
    assert len(both) == 2 and both.skipped.counts == {"x": 2} and one.skipped.total == 1
    with pytest.raises(data.DatasetError, match="expected the same classes"):
        data.merge([one, _dataset([0], ("ant",), (3,))])


def test_account_of_what_was_skipped():
    skipped = data.Skipped()
    for i in range(5):
        skipped.add("box outside", i)
    skipped.add("no image", "z.png")
    assert str(skipped) == "5 x box outside (0; 1; 2; ...)\n1 x no image (z.png)"
    assert skipped.total == 6 and str(data.Skipped()) == ""
