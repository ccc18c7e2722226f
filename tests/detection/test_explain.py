"""What `explain` says of a picture, against what `detect` returns."""

import keras
import numpy as np
import pytest
from toy import toy_batch, toy_detector

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def detector():
    """Untrained, with logits spread so that scores reach from 0 to 1."""
    keras.utils.set_random_seed(0)
    detector = toy_detector()
    kernel, bias = detector.head.classifier.weights
    rng = np.random.default_rng(0)
    kernel.assign(rng.normal(0, 2, kernel.shape))
    bias.assign(np.full(bias.shape, -2.0))
    return detector


@pytest.mark.parametrize("changes", [{}, {"class_agnostic": True}, {"max_detections": 7}])
def test_what_is_kept_is_what_is_detected(detector, changes):
    before = {key: getattr(detector, key) for key in changes}
    picture = np.zeros((90, 120, 3), "uint8")  # letterboxed
    picture[:64, :96] = toy_batch(2)[0][1].astype("uint8")
    try:
        for key, value in changes.items():
            setattr(detector, key, value)
        found = detector.detect(picture, score_threshold=0.0)
        explained = detector.explain(picture)
    finally:
        for key, value in before.items():
            setattr(detector, key, value)
    kept = [row for row in explained.rows if row.fate == "kept"]
    assert len(kept) == len(found["scores"]) > 0
    np.testing.assert_allclose([row.box for row in kept], found["boxes"], atol=1e-2)
    np.testing.assert_allclose([row.score for row in kept], found["scores"], atol=1e-5)
    assert [row.class_name for row in kept] == found["class_names"]
    fates = [row.fate for row in explained.rows]
    assert "suppressed" in fates
    if "max_detections" in changes:
        assert len(kept) == 7 and "beyond the most detections" in fates


def test_reasons_and_places(detector):
    explained = detector.explain(toy_batch(2)[0][1].astype("uint8"), score_threshold=0.05)
    sizes = {"P3": (8, 12), "P4": (4, 6)}  # of 64 x 96 pixels
    for row in explained.rows:
        height, width = sizes[row.level]
        assert 0 <= row.cell[0] < height and 0 <= row.cell[1] < width
        # The point of the cell lies within the box, which its four distances are counted from.
        stride = 64 // height
        x, y = (row.cell[1] + 0.5) * stride, (row.cell[0] + 0.5) * stride
        assert row.point == (x, y)
        x0, y0, x1, y1 = row.box
        assert x0 - 1e-3 <= x <= x1 + 1e-3 and y0 - 1e-3 <= y <= y1 + 1e-3
        if row.fate == "suppressed":
            by = explained.rows[row.by]
            assert by.fate != "suppressed" and by.score >= row.score and by.label == row.label
            assert row.iou > detector.iou_threshold
    levels = explained.levels()
    assert sum(count for count, _ in levels.values()) == len(explained.rows)
    assert f"{len(explained.rows)} candidates" in repr(explained)
    assert str(explained).count("\n") == len(explained.rows)
    assert explained.draw(0.05).size == (768, 512) and explained._repr_png_()[:4] == b"\x89PNG"


def test_the_best_threshold_is_the_default(detector):
    picture = toy_batch(2)[0][1].astype("uint8")
    everything = detector.detect(picture, score_threshold=0.0)["scores"]
    assert (detector.detect(picture)["scores"] == everything[everything >= 0.3]).all()
    best = float(np.median(everything))
    detector.best_score_threshold = best
    try:
        shown = detector.detect(picture)["scores"]
        assert 0 < len(shown) < len(everything) and min(shown) >= best
        assert detector.get_config()["best_score_threshold"] == best
        assert detector.with_classes(["a", "b", "c"]).best_score_threshold is None
        with pytest.raises(ValueError, match="`best_score_threshold` must be"):
            detector.best_score_threshold = 1.5
    finally:
        detector.best_score_threshold = None
