"""Matching and average precision, against pycocotools and by numbers worked out by hand."""

import contextlib
import io
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_detblocks import data, evaluation
from keras_detblocks.evaluation import average, match
from keras_detblocks.training import coco_ap

BENCHMARK = Path(__file__).parents[2] / "examples" / "benchmarks" / "evaluation.py"
made_up = runpy.run_path(str(BENCHMARK))["made_up"]


def cocoapi(records, detections, classes):
    """The twelve numbers as pycocotools prints them, by the records' own ids, and its `eval`."""
    annotations, results = [], []
    for record, found in zip(records, detections):
        for box, label, crowd, area in zip(
            record.boxes.tolist(), record.labels.tolist(), record.crowd, record.areas.tolist()
        ):
            x0, y0, x1, y1 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record.image_id,
                    "category_id": label,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
        boxes = np.asarray(found["boxes"], "float32").tolist()
        for (x0, y0, x1, y1), score, label in zip(boxes, found["scores"], found["labels"]):
            row = {"image_id": record.image_id, "category_id": int(label), "score": float(score)}
            results.append({**row, "bbox": [x0, y0, x1 - x0, y1 - y0]})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": r.image_id, "width": r.width, "height": r.height} for r in records],
            "categories": [{"id": k} for k in range(classes)],
            "annotations": annotations,
        }
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


@pytest.fixture(scope="module")
def crowded():
    """Sixty pictures with crowds, equal scores and objects of all areas, in a shuffled order."""
    dataset, found = made_up(60, 3, objects=9, detections=30, crowd=0.1)
    order = np.random.default_rng(1).permutation(60)
    records = [dataset.records[i] for i in order]
    return replace(dataset, records=records), [found[i] for i in order]


def test_all_numbers_are_cocoapis(crowded):
    dataset, found = crowded
    oracle = cocoapi(dataset.records, found, 3)
    ours = evaluation.measure(dataset, found, resamples=2)
    assert 0.2 < ours.numbers["AP"] < 0.8
    assert list(ours.numbers.values()) == pytest.approx(oracle.stats, abs=1e-12)
    precision = oracle.eval["precision"][:, :, :, 0, -1].transpose(0, 2, 1)
    np.testing.assert_allclose(ours.precision_over_recall, precision, atol=1e-12)
    np.testing.assert_allclose(ours.class_ap, precision.mean(2).T, atol=1e-12)
    assert coco_ap(dataset, found).numbers == pytest.approx(ours.numbers, abs=1e-12)


def test_ap_does_not_depend_on_the_order_of_pictures_nor_on_float64(crowded):
    """Equal scores sort by the pictures' ids, and boxes count in float32, as cocoapi had them."""
    dataset, found = crowded
    wide = [{**f, "boxes": np.asarray(f["boxes"], "float64")} for f in found]
    oracle = cocoapi(dataset.records, found, 3).stats
    for order in (range(60), range(59, -1, -1)):
        shuffled = replace(dataset, records=[dataset.records[i] for i in order])
        numbers = coco_ap(shuffled, [wide[i] for i in order]).numbers
        assert list(numbers.values()) == pytest.approx(oracle, abs=1e-9)


def test_an_overlap_of_exactly_a_threshold_counts():
    """A box of 0.8 of the object, in float64 digits that float32 does not have."""
    boxes = np.array([[10.3, 20.7, 110.3, 70.7]])
    record = data.Record(
        "a.png",
        200,
        200,
        boxes.astype("float32"),
        np.zeros(1, "int32"),
        np.zeros(1, bool),
        np.full(1, 5000, "float32"),
        "name",
    )
    found = {"boxes": [[10.3, 20.7, 110.3, 60.7]], "scores": [0.9], "labels": [0]}
    ap = coco_ap(data.Dataset([record], ("a",), (1,)), [found])
    assert ap.ap == pytest.approx(0.7)


def test_weights_are_pictures_drawn_more_than_once(crowded):
    """A resample without matching again gives what the repeated pictures give."""
    dataset, found = crowded
    drawn = np.random.default_rng(2).integers(0, 4, 60)
    again = [i for i in range(60) for _ in range(drawn[i])]
    records = [replace(dataset.records[i], image_id=n) for n, i in enumerate(again)]
    # Scores that differ: among equal ones the order of repeated pictures would decide.
    found = [
        {**f, "scores": np.linspace(0.1, 0.9, 9999)[i::60][: len(f["scores"])]}
        for i, f in enumerate(found)
    ]
    repeated = evaluation.measure(
        replace(dataset, records=records), [found[i] for i in again], resamples=2
    )
    plain = replace(
        dataset, records=[replace(r, image_id=i) for i, r in enumerate(dataset.records)]
    )
    once = evaluation.measure(plain, found, resamples=2)
    for weights in (drawn[None].astype("float64"), drawn[None].astype("float32")):
        numbers, _ = average.coco_numbers(once.pairs, once.found, once.truth, 3, weights)
        got = {name: value[0] for name, value in numbers.items()}
        assert got == pytest.approx(
            repeated.numbers, abs=0.01 if weights.dtype == "float32" else 1e-3
        )


def test_interval_narrows_with_more_pictures():
    widths = []
    for pictures in (20, 320):
        dataset, found = made_up(pictures, 2, objects=5, detections=10)
        low, high = evaluation.measure(dataset, found, resamples=200).intervals["AP"]
        assert low < high
        widths.append(high - low)
    assert 2.5 < widths[0] / widths[1] < 6.5  # 4 in the limit


def test_pairs_are_found_in_parts_too(crowded, monkeypatch):
    result = evaluation.measure(*crowded, resamples=2)
    monkeypatch.setattr(match, "_PAIRS_AT_ONCE", 37)
    parts = match.overlaps(result.found, result.truth, 60)
    np.testing.assert_array_equal(parts.found, result.pairs.found)
    np.testing.assert_array_equal(parts.iou, result.pairs.iou)
