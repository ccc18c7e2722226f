import numpy as np
import pytest

from keras_detblocks.backbones.anynet import AnyNetSpec
from keras_detblocks.design import Classification

SMALL = AnyNetSpec((1, 1), (16, 32), (1, 1), (8, 8), stem_width=8)


@pytest.mark.slow
def test_digits_are_learned():
    """Chance is 0.9; a two-stage net of 13,000 weights gets below a third in a few epochs."""
    pytest.importorskip("sklearn")
    task = Classification(epochs=6, image_size=16)
    outcome = task(SMALL)
    assert outcome["error"] < 0.33 and np.isfinite(outcome["loss"])


def test_digits_splits_are_disjoint_and_whole():
    pytest.importorskip("sklearn")
    (images, labels), (held_out, held_labels) = Classification(image_size=8).arrays
    assert images.shape == (1400, 8, 8, 1) and held_out.shape == (397, 8, 8, 1)
    assert set(labels) == set(held_labels) == set(range(10))
    assert images.min() == 0 and images.max() == 255


@pytest.mark.slow
def test_own_arrays_and_their_settings(eager):
    rng = np.random.default_rng(0)
    splits = tuple(
        (rng.integers(0, 256, (n, 16, 16, 3), dtype="uint8"), np.arange(n) % 3) for n in (12, 6)
    )
    task = Classification(splits, epochs=1, image_size=32, batch_size=4)
    assert task.classes == 3 and task.arrays[0][0].shape == (12, 32, 32, 3)
    assert 0 <= task(SMALL)["error"] <= 1
    other = Classification(((splits[0][0] + 1, splits[0][1]), splits[1]), epochs=1)
    assert task.settings["dataset"] != other.settings["dataset"]
    assert task.settings["epochs"] == 1


def test_divergence_is_no_error_rate(eager):
    """A net that ends in NaN must fail its trial, not count as a bad net."""
    pytest.importorskip("sklearn")
    splits = tuple((np.zeros((n, 8, 8), np.float32), np.arange(n) % 2) for n in (8, 4))
    outcome = Classification(splits, epochs=1, image_size=8, learning_rate=1e38)(SMALL)
    assert not np.isfinite(outcome["error"])


def test_unknown_dataset():
    with pytest.raises(ValueError, match="fashion_mnist"):
        Classification("imagenet")
