"""COCO AP: both backends against numbers worked out by hand, and against each other to the last
digit."""

import importlib.util

import numpy as np
import pytest

from keras_detblocks import data
from keras_detblocks.training.coco_ap import (
    BACKENDS,
    _backend,
    _found_objects,
    _indexed,
    _true_objects,
    coco_ap,
)

INSTALLED = [name for name in BACKENDS if importlib.util.find_spec(name)]
both = pytest.mark.parametrize("backend", INSTALLED)


def _record(boxes, labels, crowd=None, image_id=0):
    boxes = np.asarray(boxes, "float32").reshape(-1, 4)
    crowd = np.zeros(len(boxes), bool) if crowd is None else np.asarray(crowd, bool)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return data.Record(
        "none.png", 200, 200, boxes, np.asarray(labels, "int32"), crowd, areas, image_id
    )


def _found(boxes, scores, labels):
    return {
        "boxes": np.reshape(boxes, (-1, 4)),
        "scores": np.array(scores),
        "labels": np.array(labels, int),
    }


NOTHING = _found([], [], [])


@both
def test_perfect_missed_and_undefined(backend):
    dataset = data.Dataset(
        [_record([[10, 10, 30, 30], [50, 50, 100, 110]], [0, 1])], ("a", "b", "c"), (1, 2, 3)
    )
    ap = coco_ap(
        dataset, [_found([[10, 10, 30, 30], [50, 50, 100, 110]], [0.9, 0.8], [0, 1])], backend
    )
    assert list(ap.numbers) == [
        *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
        *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
    ]
    assert ap.numbers == pytest.approx(
        dict.fromkeys(ap.numbers, 1.0) | {"AP_large": -1.0, "AR_large": -1.0}
    )
    assert ap.per_class["c"]["AP"] == -1 and ap.per_class["a"]["AP"] == pytest.approx(1)
    assert coco_ap(dataset, [NOTHING], backend).ap == 0
    assert "AP50 1.000" in str(ap)


@both
def test_by_hand(backend):
    """One class, two objects, three detections.

    Ordered by score: a hit of overlap exactly 0.8 (80 of 100 rows), a miss, a hit of overlap 1. At
    thresholds to 0.80 the precision is 1 up to recall 0.5 and 2/3 up to recall 1: (51 + 50 * 2/3) /
    101 over the 101 recall levels. At 0.85 to 0.95 only the last detection is right, third of
    three: recall 0.5 at precision 1/3: 51 * 1/3 / 101.
    """
    dataset = data.Dataset(
        [_record([[0, 0, 100, 100]], [0]), _record([[20, 20, 60, 60]], [0])], ("a",), (1,)
    )
    found = [
        _found([[0, 0, 100, 80], [150, 150, 190, 190]], [0.9, 0.8], [0, 0]),
        _found([[20, 20, 60, 60]], [0.7], [0]),
    ]
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 3 / 101
    ap = coco_ap(dataset, found, backend)
    assert ap.numbers["AP50"] == pytest.approx(low, abs=1e-9)
    assert ap.numbers["AP75"] == pytest.approx(low, abs=1e-9)
    assert ap.ap == pytest.approx((7 * low + 3 * high) / 10, abs=1e-9)
    assert ap.numbers["AR_1"] == pytest.approx((7 * 1 + 3 * 0.5) / 10, abs=1e-9)
    assert ap.numbers["AP_large"] == pytest.approx(0.7 * 1.0, abs=1e-9)


@both
def test_crowds_are_neither_right_nor_wrong(backend):
    record = _record([[10, 10, 30, 30], [100, 100, 200, 200]], [0, 0], crowd=[False, True])
    dataset = data.Dataset([record], ("a",), (1,))
    on_crowd = [[100, 100, 120, 120], [150, 150, 170, 170]]
    ap = coco_ap(
        dataset, [_found([*on_crowd, [10, 10, 30, 30]], [0.9, 0.8, 0.7], [0, 0, 0])], backend
    )
    assert ap.ap == pytest.approx(1)
    plain = data.Dataset([_record([[10, 10, 30, 30]], [0])], ("a",), (1,))
    ap = coco_ap(
        plain, [_found([*on_crowd, [10, 10, 30, 30]], [0.9, 0.8, 0.7], [0, 0, 0])], backend
    )
    assert ap.ap == pytest.approx(1 / 3)


@both
def test_area_of_the_outline_counts(backend):
    """A box of 40 x 40 whose outline covers 900 px is a small object to COCO."""
    record = _record([[10, 10, 50, 50]], [0])
    record.areas[:] = 900
    ap = coco_ap(
        data.Dataset([record], ("a",), (1,)), [_found([[10, 10, 50, 50]], [0.9], [0])], backend
    )
    assert ap.numbers["AP_small"] == pytest.approx(1) and ap.numbers["AP_medium"] == -1


@both
def test_padding_is_left_out(backend):
    dataset = data.Dataset([_record([[10, 10, 30, 30]], [0])], ("a",), (1,))
    found = _found([[0, 0, 9, 9], [10, 10, 30, 30]], [0.99, 0.5], [-1, 0])
    assert coco_ap(dataset, [found], backend).ap == pytest.approx(1)


@pytest.mark.skipif(len(INSTALLED) < 2, reason="needs both backends")
def test_backends_agree():
    rng = np.random.default_rng(0)
    records, detections = [], []
    for i in range(40):
        n, m = rng.integers(0, 8), rng.integers(0, 12)
        corner = rng.uniform(0, 120, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(4, 120, (n, 2))], 1)
        labels = rng.integers(0, 3, n)
        records.append(_record(boxes, labels, rng.random(n) < 0.1, i))
        guesses = np.concatenate(
            [boxes + rng.normal(0, 4, boxes.shape), rng.uniform(0, 90, (m, 4)) + [0, 0, 95, 95]]
        )
        detections.append(
            _found(guesses, rng.random(n + m), np.concatenate([labels, rng.integers(0, 3, m)]))
        )
    dataset = data.Dataset(records, ("a", "b", "c"), (1, 2, 3))
    one, other = (coco_ap(dataset, detections, backend) for backend in INSTALLED)
    assert 0.05 < one.ap < 0.95
    assert one.numbers == pytest.approx(other.numbers, abs=1e-12)
    for name in "abc":
        assert one.per_class[name] == pytest.approx(other.per_class[name], abs=1e-12)


@both
def test_agrees_with_the_backends_own_summary(backend, capsys):
    """The twelve numbers as the reference code prints them, in its order."""
    rng = np.random.default_rng(1)
    boxes = rng.uniform(0, 90, (30, 4)) + [0, 0, 95, 95]
    dataset = data.Dataset([_record(b, [0]) for b in boxes], ("a",), (1,))
    detections = [_found(b + rng.normal(0, 3, 4), [rng.random()], [0]) for b in boxes]
    coco_class, eval_class = _backend(backend)
    evaluation = eval_class(
        _indexed(coco_class, dataset, _true_objects(dataset)),
        _indexed(coco_class, dataset, _found_objects(dataset, detections)),
        "bbox",
    )
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    assert list(coco_ap(dataset, detections, backend).numbers.values()) == pytest.approx(
        list(evaluation.stats[:12]), abs=1e-12
    )


def test_errors(monkeypatch):
    dataset = data.Dataset([_record([[10, 10, 30, 30]], [0])], ("a",), (1,))
    with pytest.raises(ValueError, match="each of the 1 records; received 0"):
        coco_ap(dataset, [])
    with pytest.raises(ValueError, match="as many boxes as scores"):
        coco_ap(dataset, [_found([[0, 0, 1, 1]], [], [])])
    with pytest.raises(ValueError, match="labels below 1"):
        coco_ap(dataset, [_found([[0, 0, 1, 1]], [0.5], [4])])
    with pytest.raises(ValueError, match="`backend` must be .* or None"):
        coco_ap(dataset, [NOTHING], "coco")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"keras_detblocks\[train\]"):
        coco_ap(dataset, [NOTHING])
