"""COCO AP on data sets of every kind that Keras users have, by a detector that misses nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from perfect import Perfect, paint
from PIL import Image

from keras_detblocks import data
from keras_detblocks.training import ValidationAP, evaluate_ap

SIZE, NAMES = (64, 96), ("circle", "square", "star")


@pytest.fixture(scope="module")
def examples():
    """Seven pictures of the input's size with 0 to 3 objects, padded to 4."""
    rng = np.random.default_rng(0)
    images, boxes, labels = [], np.zeros((7, 4, 4), "float32"), np.full((7, 4), -1, "int32")
    for i in range(7):
        for k in range(i % 4):
            x, y = 24 * k + rng.integers(0, 8), rng.integers(0, 40)
            boxes[i, k] = (x, y, x + rng.integers(8, 15), y + rng.integers(8, 20))
            labels[i, k] = rng.integers(3)
        n = i % 4
        images.append(paint(SIZE, boxes[i, :n].astype(int), labels[i, :n]))
    return np.stack(images).astype("float32"), {"boxes": boxes, "labels": labels}


class _PyDataset(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(3 * index, 3 * index + 3)
        return self.x[part], {key: value[part] for key, value in self.y.items()}


SOURCES = {
    "tf.data, single": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)),
    "tf.data, batches": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(3),
    "PyDataset": _PyDataset,
    "list of batches": lambda x, y: [(x, y)],
}


@pytest.mark.parametrize("kind", SOURCES)
def test_any_source(examples, kind):
    perfect = Perfect(SIZE, NAMES)
    assert evaluate_ap(perfect, SOURCES[kind](*examples), batch_size=2).ap == pytest.approx(1)
    blind = Perfect(SIZE, NAMES)
    blind.find = lambda image: Perfect.find(np.asarray(image) * 0)
    assert evaluate_ap(blind, SOURCES[kind](*examples)).ap == 0


def test_pictures_of_other_sizes_are_scaled_there_and_back():
    """Boxes are in the pixels of each picture, twice as large as the input here."""
    images = np.zeros((2, 2 * SIZE[0], 2 * SIZE[1], 3), "float32")
    images[0, 20:60, 40:100] = images[1, 4:40, 8:48] = 200
    boxes = np.array([[[40, 20, 100, 60]], [[8, 4, 48, 40]]], "float32")
    bright = Perfect(SIZE, NAMES)
    bright.find = lambda image: {  # the blended border is darker than the middle
        "boxes": Perfect.find((np.asarray(image) > 100) * 10)["boxes"],
        "labels": np.zeros(1, int),
        "scores": np.ones(1),
    }
    truth = {"boxes": boxes, "labels": np.zeros((2, 1), int)}
    assert evaluate_ap(bright, [(images, truth)]).numbers["AP75"] == pytest.approx(1)


def test_crowds_and_areas_are_optional(examples):
    x, y = examples
    crowd = np.zeros(y["labels"].shape, bool)
    crowd[3, 1] = True
    assert evaluate_ap(Perfect(SIZE, NAMES), [(x, y | {"crowd": crowd})]).ap == pytest.approx(1)
    areas = np.full(y["labels"].shape, 40000.0)
    numbers = evaluate_ap(Perfect(SIZE, NAMES), [(x, y | {"areas": areas})]).numbers
    assert numbers["AP_large"] == pytest.approx(1) and numbers["AP_small"] == -1


def test_after_each_epoch_of_fit(examples):
    callback = ValidationAP(tf.data.Dataset.from_tensor_slices(examples).batch(4))
    callback.set_model(Perfect(SIZE, NAMES))
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs["val_AP"] == pytest.approx(1)


def test_sources_that_cannot_be_evaluated(examples):
    perfect = Perfect(SIZE, NAMES)
    endless = tf.data.Dataset.from_tensor_slices(examples).repeat()
    x, y = examples
    for source, message in (
        (endless, "repeats without end"),
        ([x], "Expected \\(image"),
        ([], "gave none"),
        ([(x, y | {"labels": y["labels"] + 3})], "labels below 3"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_ap(perfect, source)
    with pytest.raises(ValueError, match="needs `image_size"):
        evaluate_ap(Perfect(None, NAMES), [(x, y)])


def test_more_than_a_hundred_objects(tmp_path):
    """COCO's cap makes perfect detectors look poor; the option lifts it and puts the model back."""
    boxes = [(6 * (k % 15), 6 * (k // 15), 6 * (k % 15) + 4, 6 * (k // 15) + 4) for k in range(150)]
    Image.fromarray(paint(SIZE, boxes, [0] * 150)).save(tmp_path / "a.png")
    record = {"image": tmp_path / "a.png", "boxes": boxes, "labels": ["circle"] * 150}
    dataset = data.from_records([record], NAMES)
    perfect = Perfect(SIZE, NAMES)
    assert 0.5 < evaluate_ap(perfect, dataset).ap < 0.7
    lifted = evaluate_ap(perfect, dataset, max_detections=150)
    assert lifted.ap == pytest.approx(1) and lifted.numbers["AR_150"] == pytest.approx(1)
    assert perfect.max_detections == 100
