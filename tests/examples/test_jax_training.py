"""What the examples on JAX share: their Muon is the package's, boxes move with the pixels; and a
GPU benchmark leaves out what is not installed."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from toy import tiny_detector

from keras_detblocks import ConvMuon, conv_groups
from keras_detblocks.training.recipe import PREDICTORS

jax = pytest.importorskip("jax")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def examples_are_found(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(EXAMPLES / "benchmarks"))


@pytest.mark.slow
def test_muon_with_stacked_matrices_is_the_packages():
    from jax_training import Muon

    model, rng = tiny_detector(), np.random.default_rng(0)
    options = {"groups": conv_groups(model), "exclude_layers": [PREDICTORS]}
    optimizer = ConvMuon(0.01, weight_decay=0.02, global_clipnorm=10.0, **options)
    variables = model.trainable_variables
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) <= 1])
    muon, weights = Muon(model), [v.numpy() for v in variables]
    apply = jax.jit(muon.apply)
    before, state = list(weights), muon.init()
    for step in range(2):
        gradients = [rng.normal(0, 0.1, w.shape).astype("float32") for w in weights]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        weights, state = apply(weights, gradients, state, 0.01, float(step))
    for variable, ours, old in zip(variables, weights, before):
        np.testing.assert_allclose(ours, variable.numpy(), atol=2e-5, err_msg=variable.path)
        assert np.abs(ours - old).max() > 1e-4


@pytest.mark.slow
def test_boxes_move_with_the_pixels():
    from jax_training import Change, changed

    images, count = np.zeros((8, 64, 64, 3), "uint8"), 0
    images[:, 20:36, 24:48] = 255
    boxes = np.tile(np.array([[24, 20, 48, 36], [0, 0, 0, 0]], "float32"), (8, 1, 1))
    labels = np.tile(np.array([1, -1], "int32"), (8, 1))
    change = Change((0.7, 1.4), colors=False, gain=0.0)
    step = jax.jit(lambda *arrays: changed(*arrays, change))  # compiled at once, not in parts
    moved, boxes, labels = step(jax.random.key(0), images, boxes, labels)
    for image, (box, padding), (label, none) in zip(moved, np.asarray(boxes), np.asarray(labels)):
        ys, xs = np.nonzero(np.asarray(image)[..., 0] > 185)  # half way from gray to white
        if label == 1 and len(ys) and box.min() > 1 and box.max() < 63:
            seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_allclose(box, seen, atol=1.1)
            count += 1
        assert none == -1 and not padding.any()
    assert count >= 4 and len({tuple(box[0]) for box in np.asarray(boxes)}) == 8


@pytest.mark.slow
def test_boxes_of_four_pictures_are_where_their_pixels_are():
    from jax_training import mosaic

    images, rng = np.zeros((4, 32, 32, 3), "float32"), np.random.default_rng(0)
    corners = rng.integers(0, 10, (4, 1, 2)) * 2
    boxes = np.concatenate([corners, corners + 12], -1).astype("float32")
    for i, (x0, y0, x1, y1) in enumerate(boxes[:, 0].astype(int)):
        images[i, y0:y1, x0:x1] = i + 1
    labels, mask = np.arange(4)[:, None], np.array([True, False, True, True])
    four, placed, names = (
        np.asarray(array) for array in mosaic(jax.random.key(0), mask, images, boxes, labels)
    )
    for image, own, members in zip(four, placed, names):
        for (x0, y0, x1, y1), label in zip(own.astype(int), members):
            assert label == -1 or (image[y0:y1, x0:x1] == label + 1).all()
    assert (names[1] == [1, -1, -1, -1]).all() and (four[1] == images[1]).all()
    assert all(len(set(names[:, k])) > 1 for k in (1, 2, 3)) and (names[[0, 2, 3]] >= 0).all()


def test_the_trials_of_a_comparison_share_compiled_steps():
    import compare_learning

    options = compare_learning.parsed(["--bccd", "here", "--out", "there", "--groups", "tuning"])
    found = compare_learning.jobs(options)
    assert {first.optimizer for ((first, _), *_) in found} == {"muon", "adamw"}
    assert all(len({trial.compiled() for trial, _ in job}) == 1 for job in found)
    assert (
        {trial.data for job in found for trial, _ in job}
        == {"bccd"}
        == {name for name, folder in options.sets.items() if folder == Path("here")}
    )
    frozen = next(t for job in found for t, _ in job if t.frozen)
    before, after = (compare_learning.controls_at(frozen, step, 10) for step in (20, 400))
    assert before[0] == 0 < before[1] and after[0] == after[1] > 0 == after[2]


@pytest.mark.slow
def test_a_comparison_without_a_gpu_trains_by_the_package(rectangles, tmp_path, eager):
    import compare_learning

    words = ["--bccd", rectangles, "--out", tmp_path, "--worker", "--smoke", "--seeds", "1"]
    words += ["--groups", "learning", "kept bccd", "--names", "top 6", "from 0.4 on, float32, 1 "]
    compare_learning.work(compare_learning.parsed([*map(str, words)]))
    row, *kept = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert (row["name"], row["seed"], row["assign"]) == ("top 6", 1, [["top", 6]])
    assert row["started"] == ["backbone", "neck", "head"] and 0 <= row["AP"] <= row["AP50"] <= 1
    assert [each["kept"] for each in kept] == [0.4] * len(kept) and kept
    compare_learning.assigned({})


def test_mosaics_end_early():
    import compare_learning
    from learning_trials import Trial

    trial = Trial("learning", "closed", mosaic=1.0, closed=0.5, steps=4)
    change = compare_learning.augmented(trial)
    images = np.full((4, 32, 32, 3), 200, "uint8")
    boxes = np.tile(np.array([[[2, 2, 30, 30]]], "float32"), (4, 1, 1))
    counts = []
    for seed in range(4):
        _, _, labels = change(images, boxes, np.zeros((4, 1), "int32"), (seed, seed))
        counts.append((np.asarray(labels) >= 0).sum())
    assert min(counts[:2]) > 4 >= max(counts[2:])  # objects of four pictures, then of one


def test_still_pictures_stay_as_they_are():
    """The demo's digits: not mirrored, scaled or recolored, on both backends."""
    import compare_learning
    from jax_training import Change, changed
    from learning_trials import Trial

    images = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype("uint8")
    boxes, labels = np.tile(np.array([[[2, 2, 30, 30]]], "float32"), (4, 1, 1)), np.zeros((4, 1))
    trial = Trial("demo", "still", still=True)
    assert compare_learning.augmented(trial) is None
    for mosaic in (1e-9, 1.0):
        change = compare_learning.augmented(dataclasses.replace(trial, mosaic=mosaic))
        pixels, *_ = change(images, boxes, labels, (0, 0))
        assert np.array_equal(np.round(pixels), images) == (mosaic < 1)
    pixels, moved, _ = changed(
        jax.random.key(0), images, boxes, labels, Change(**compare_learning.STILL)
    )
    np.testing.assert_allclose(pixels, images, atol=1e-3)
    np.testing.assert_array_equal(moved, boxes)


def test_trials_freeze_what_they_name():
    from learning_trials import ALL_NORMS, Trial, build

    def frozen(*standing):
        detector = build(Trial("standing", "", size=64, standing=standing), ["a"])
        return len(detector.weights) - len(detector.trainable_weights)

    assert frozen() < frozen("stem") < frozen("backbone.batch_norm") < frozen(*ALL_NORMS)


def test_the_gpu_benchmark_leaves_out_what_is_not_installed(capsys):
    import gpu_step

    rows = gpu_step.main(["--smoke", "--parts", "regnet_torch"])
    if not rows:
        assert "regnet_torch: left out: ModuleNotFoundError" in capsys.readouterr().out
    else:
        assert rows[0]["images_per_s"] >= 0
