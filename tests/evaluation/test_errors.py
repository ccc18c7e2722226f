"""Thresholds, kinds of errors, confusion and groups, on pictures small enough to count by hand."""

import re

import numpy as np
import pytest

from keras_detblocks import data, evaluation
from keras_detblocks.evaluation.errors import KINDS

CAT, DOG = 0, 1
OBJECT = [20, 20, 60, 60]


def record(boxes, labels, image_id=0, crowd=None, path="none.png"):
    boxes = np.asarray(boxes, "float32").reshape(-1, 4)
    crowd = np.zeros(len(boxes), bool) if crowd is None else np.asarray(crowd)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    labels = np.asarray(labels, "int32")
    return data.Record(path, 200, 200, boxes, labels, crowd, areas, image_id)


def found(*rows):
    """From rows of (box, score, label)."""
    return {
        "boxes": np.array([r[0] for r in rows], "float32").reshape(-1, 4),
        "scores": np.array([r[1] for r in rows]),
        "labels": np.array([r[2] for r in rows], int),
    }


def measured(records, detections, names=("cat", "dog"), **kwargs):
    dataset = data.Dataset(records, names, tuple(range(len(names))), source="by hand")
    return evaluation.measure(dataset, detections, resamples=20, **kwargs)


BESIDE = [40, 20, 80, 60]  # IoU 1/3 with OBJECT
FAR = [120, 120, 160, 160]


@pytest.mark.parametrize(
    "kind, rows, gain",
    [
        ("class", [(OBJECT, 0.9, DOG)], 0.5),  # of the two classes the cat's AP50 goes from 0 to 1
        ("place", [(BESIDE, 0.9, CAT)], 0.5),
        ("both", [(BESIDE, 0.9, DOG)], 0.0),
        ("double", [(OBJECT, 0.9, CAT), ([21, 20, 60, 60], 0.8, CAT)], 0.0),
        ("background", [(FAR, 0.9, CAT), (OBJECT, 0.8, CAT)], 0.25),  # precision 1/2 to 1
        ("missed", [(FAR, 0.9, CAT)], 0.5),
    ],
)
def test_kinds_of_errors(kind, rows, gain):
    """One error of each kind beside a dog that is found."""
    records = [record([OBJECT], [CAT], 0), record([OBJECT], [DOG], 1)]
    result = measured(records, [found(*rows), found((OBJECT, 0.95, DOG))])
    kinds = [KINDS[k] for k in result.errors.kind if k >= 0]
    counts = result.errors.counts(result.judged, result.found, 0.5)
    if kind != "missed":
        assert kinds == [kind] and counts[kind] == 1
    open_ = kind in ("both", "missed")  # the cat is found by no one and aimed at by no one
    assert counts["missed"] == open_
    assert result.errors.gain[kind] == pytest.approx(gain, abs=1e-6)


def test_a_missed_object_costs_what_leaving_it_out_gives():
    records = [record([OBJECT, FAR], [CAT, CAT])]
    result = measured(records, [found((OBJECT, 0.9, CAT))], ("cat",))
    assert result.numbers["AP50"] == pytest.approx(51 / 101)
    assert result.errors.gain["missed"] == pytest.approx(50 / 101)


def test_crowds_are_no_error_of_any_kind():
    records = [record([OBJECT, FAR], [CAT, CAT], crowd=[False, True])]
    result = measured(
        records, [found((OBJECT, 0.9, CAT), (FAR, 0.8, CAT), (FAR, 0.7, CAT))], ("cat",)
    )
    assert (result.errors.kind == -1).all() and result.numbers["AP"] == pytest.approx(1)
    assert result.at(0.5)["wrong"] == 0 and result.confusion.tolist() == [[1, 0], [0, 0]]


def test_the_best_threshold_is_where_f1_is_highest():
    """Two right at 0.9 and 0.6, false ones at 0.4 and 0.3: all from 0.41 to 0.60 is perfect."""
    records = [record([OBJECT, FAR], [CAT, CAT])]
    rows = [(OBJECT, 0.9, CAT), (FAR, 0.6, CAT), ([100, 0, 130, 30], 0.4, CAT), (BESIDE, 0.3, CAT)]
    result = measured(records, [found(*rows)], ("cat",))
    assert 0.41 <= result.best_threshold <= 0.6
    at = result.at(result.best_threshold)
    assert (at["right"], at["wrong"], at["missed"], at["f1"]) == (2, 0, 0, 1.0)
    low = result.at(0.3)
    assert low["precision"] == pytest.approx(0.5) and low["recall"] == 1
    assert result.at(0.61)["recall"] == pytest.approx(0.5)


def test_the_best_threshold_is_none_between_two_that_are_best():
    """F1 is 2/3 from 0.81 to 0.90 and from 0.01 to 0.30, lower between."""
    records = [record([OBJECT, FAR], [CAT, CAT])]
    wrong = [([100, 0, 130, 30], 0.8, CAT), ([150, 0, 180, 30], 0.8, CAT)]
    rows = [(OBJECT, 0.9, CAT), *wrong, (FAR, 0.3, CAT)]
    result = measured(records, [found(*rows)], ("cat",))
    assert result.at(result.best_threshold)["f1"] == pytest.approx(2 / 3)
    assert result.at(0.5)["f1"] == pytest.approx(0.4)


def test_scores_of_exactly_a_threshold_are_shown():
    scores = np.arange(1, 100) / 100
    records = [record([OBJECT], [CAT], i) for i in range(99)]
    result = measured(records, [found((OBJECT, score, CAT)) for score in scores], ("cat",))
    assert [result.at(score)["right"] for score in scores] == list(range(99, 0, -1))


def test_confusion():
    """Rows are true classes, columns what was detected; the last ones background and missed."""
    records = [
        record([OBJECT, FAR], [CAT, DOG], 0),
        record([OBJECT, FAR], [CAT, DOG], 1),
    ]
    first = found((OBJECT, 0.9, DOG), (FAR, 0.9, DOG), ([0, 150, 40, 190], 0.9, CAT))
    second = found((OBJECT, 0.9, CAT), (OBJECT, 0.95, DOG), (BESIDE, 0.2, CAT))
    result = measured(records, [first, second])
    assert result.best_threshold > 0.2
    # The first cat was taken for a dog; the second was found, and the dog on it is background.
    assert result.confusion.tolist() == [[1, 1, 0], [0, 1, 1], [1, 1, 0]]


def test_groups():
    """A small cat that is missed, and two large ones, one of them in a picture with the small one,
    overlapping."""
    small, large = [0, 0, 10, 10], [100, 100, 200, 200]
    records = [
        record([small, large, [100, 100, 200, 160]], [CAT] * 3, 0),
        record([large], [CAT], 1),
    ]
    result = measured(records, [found((large, 0.9, CAT)), found((large, 0.8, CAT))], ("cat",))
    sizes = result.groups["size"]
    assert sizes[0]["low"] == sizes[0]["high"] == 10 and sizes[0]["AP"] == 0
    assert sizes[-1] == {"low": 100, "high": 100, "objects": 2, "AP": pytest.approx(1)}
    assert sum(row["objects"] for row in sizes) == 4
    few, many = result.groups["count"]
    assert few == {"low": 1, "high": 1, "pictures": 1, "objects": 1, "AP": pytest.approx(1)}
    assert many["AP"] < 0.4 and many["objects"] == 3
    free, touching = result.groups["overlap"]
    assert free["recall"] == 0.5 and touching["objects"] == 2 and touching["recall"] == 0.5
    assert touching["low"] == 0.5


def test_scores_of_a_bins_edge_are_in_the_bin_that_begins_there():
    records = [record([OBJECT], [CAT], i) for i in range(9)]
    rows = [found((OBJECT, (i + 1) / 10, CAT)) for i in range(9)]
    assert measured(records, rows, ("cat",)).calibration.count.tolist() == [0] + [1] * 9


def test_calibration():
    records = [record([OBJECT], [CAT], i) for i in range(4)]
    rows = [found((OBJECT if i else FAR, 0.75, CAT)) for i in range(4)]
    result = measured(records, rows, ("cat",)).calibration
    assert result.count[7] == 4 and result.precision[7] == 0.75 and result.error == pytest.approx(0)


@pytest.mark.parametrize(
    "records, names, rows, model, measurable, message",
    [
        ([record([OBJECT], [0])], ("cat",), [found()], ("dog",), False, "no class in common"),
        (
            [record([], [])],
            ("cat",),
            [found((FAR, 0.9, 0))],
            ("cat",),
            False,
            "hold no object in 1",
        ),
        ([record([OBJECT], [0], crowd=[True])], ("cat",), [found()], ("cat",), False, "no object"),
        ([record([OBJECT], [0])], ("cat",), [found()], ("cat",), True, "The model found nothing"),
        (
            [record([OBJECT, FAR], [0, 1])],
            ("cat", "owl"),
            [found((OBJECT, 0.9, 0))],
            ("cat",),
            True,
            r"1 class of the data the model does not know \(owl\): 1 object left out",
        ),
        (
            [record([OBJECT], [0])],
            ("cat",),
            [found((OBJECT, 0.9, 1), (FAR, 0.9, 0))],
            ("owl", "cat"),
            True,
            r"1 class of the model the data do not have \(owl\): 1 detection left out",
        ),
        (
            [record([OBJECT], [1])],
            ("cat", "dog"),
            [found((OBJECT, 0.9, 1))],
            ("cat", "dog"),
            True,
            r"1 class without an object here \(cat\)",
        ),
    ],
)
def test_what_cannot_be_measured_is_told(records, names, rows, model, measurable, message):
    dataset = data.Dataset(records, names, tuple(range(len(names))))
    result = evaluation.measure(dataset, rows, model, resamples=5)
    assert result.measured == measurable
    assert re.search(message, " ".join(result.problems))
    first_line = re.search('<p class="problem">(.*)</p>', result._repr_html_())[1]
    assert re.search(message, first_line)
    if "owl" in model:  # the owl's detection is left out, not a wrong one
        assert result.at(0.5)["wrong"] == 0 and len(result.found) == 1


def test_errors_of_arguments():
    dataset = data.Dataset([record([OBJECT], [0])], ("cat",), (1,))
    with pytest.raises(ValueError, match="each of the 1 records; received 0"):
        evaluation.measure(dataset, [])
    with pytest.raises(ValueError, match="labels below 1"):
        evaluation.measure(dataset, [found((OBJECT, 0.5, 3))])
