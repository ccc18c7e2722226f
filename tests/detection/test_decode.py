import keras
import numpy as np
import pytest

from keras_detblocks.detection.decode import candidates, decode, level_names, non_max_suppression


def _greedy(boxes, scores, labels, iou_threshold, agnostic):
    """Textbook greedy suppression in NumPy: indices kept, best first."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if scores[i] <= 0:
            continue
        for j in kept:
            low, high = (
                np.maximum(boxes[i, :2], boxes[j, :2]),
                np.minimum(boxes[i, 2:], boxes[j, 2:]),
            )
            inter = np.prod(np.maximum(high - low, 0))
            union = (
                np.prod(boxes[i, 2:] - boxes[i, :2]) + np.prod(boxes[j, 2:] - boxes[j, :2]) - inter
            )
            if (agnostic or labels[i] == labels[j]) and inter / union > iou_threshold:
                break
        else:
            kept.append(i)
    return kept


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_suppression_equals_the_greedy_oracle(seed, agnostic):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (2, 80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (2, 80, 2))], axis=-1).astype(
        "float32"
    )
    scores = rng.uniform(0, 1, (2, 80, 3)).astype("float32")
    found = candidates(boxes, scores, 120, (100, 100), agnostic, score_threshold=0.2)
    out = {k: np.asarray(v) for k, v in non_max_suppression(found, 0.5, max_detections=200).items()}
    for b in range(2):
        top = np.argsort(-scores[b].ravel(), kind="stable")[:120]
        flat = np.where(scores[b].ravel()[top] > 0.2, scores[b].ravel()[top], 0)
        kept = _greedy(boxes[b][top // 3].astype("float64"), flat, top % 3, 0.5, agnostic)
        assert out["count"][b] == len(kept)
        np.testing.assert_allclose(out["boxes"][b, : len(kept)], boxes[b][top[kept] // 3])
        np.testing.assert_array_equal(out["labels"][b, : len(kept)], top[kept] % 3)
        assert (out["labels"][b, len(kept) :] == -1).all() and not out["scores"][
            b, len(kept) :
        ].any()


def test_max_detections_cuts_the_worst():
    boxes = np.array([[[0, 0, 4, 4], [10, 10, 14, 14], [20, 20, 24, 24]]], "float32")
    scores = np.array([[[0.2], [0.9], [0.5]]], "float32")
    out = non_max_suppression(candidates(boxes, scores, 10, (32, 32)), 0.5, max_detections=2)
    np.testing.assert_allclose(out["scores"], [[0.9, 0.5]], rtol=1e-6)
    assert int(out["count"][0]) == 2


def test_decode_clips_to_the_image_and_orders_levels():
    outputs = {
        "P4_logits": np.zeros((1, 1, 1, 2), "float32"),
        "P4_distances": np.full((1, 1, 1, 4), 100.0, "float32"),
        "P3_logits": np.full((1, 2, 2, 2), 100.0, "float32"),
        "P3_distances": np.full((1, 2, 2, 4), 0.25, "float32"),
    }
    boxes, scores = decode(outputs, (16, 16))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(boxes)[0, 0], [2, 2, 6, 6])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(boxes)[0, -1], [0, 0, 16, 16])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(scores)[0, :, 0], [1, 1, 1, 1, 0.5])


def test_other_names_than_those_of_levels_are_refused():
    assert level_names({"P12_logits": 0, "P4_logits": 0, "P4_distances": 0}) == ["P4", "P12"]
    with pytest.raises(ValueError, match="'P3'.*Received: 'C5'"):
        level_names({"C5_logits": 0})
