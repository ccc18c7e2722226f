"""The tf.data pipeline: order, shuffling, padding, letterboxing, unreadable files, both ways of
holding images."""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_detblocks import data

SIZES = [(40, 30), (30, 40), (40, 40), (64, 16), (40, 30), (80, 80), (33, 47)]


@pytest.fixture
def dataset(tmp_path):
    """Seven images, image i of color i, with i % 3 boxes and one crowd."""
    records = []
    for i, (width, height) in enumerate(SIZES):
        Image.new("RGB", (width, height), (10 * i, 0, 0)).save(tmp_path / f"{i}.png")
        boxes = [(2, 2, 12, 14)] * (i % 3) + [(0, 0, 9, 9)]
        labels, crowd = [*range(i % 3), 0], [False] * (i % 3) + [True]
        entry = {"image": tmp_path / f"{i}.png", "boxes": boxes, "labels": labels, "crowd": crowd}
        records.append(entry)
    return data.from_records(records, ("x", "y"), source="made up")


@pytest.mark.parametrize("budget", [10**9, 0])
def test_in_order_with_a_partial_last_batch(dataset, budget):
    batches = list(data.pipeline(dataset, (32, 48), 3, memory_budget=budget))
    assert [len(images) for images, _ in batches] == [3, 3, 1]
    images = np.concatenate([x for x, _ in batches])
    assert images.dtype == np.float32 and images.shape == (7, 32, 48, 3)
    np.testing.assert_array_equal(images[:, 2, 2, 0], [0, 10, 20, 30, 40, 50, 60])
    boxes, labels = (np.concatenate([y[k] for _, y in batches]) for k in ("boxes", "labels"))
    assert boxes.shape == (7, 2, 4) and boxes.dtype == np.float32
    np.testing.assert_array_equal(
        labels, [[-1, -1], [0, -1], [0, 1], [-1, -1], [0, -1], [0, 1], [-1, -1]]
    )
    for record, canvas_boxes in zip(dataset.records, boxes):
        _, fitted = data.letterbox(data.read_image(record.path), (32, 48))
        expected = fitted.to_letterboxed(record.boxes[~record.crowd])
        np.testing.assert_allclose(canvas_boxes[: len(expected)], expected, rtol=1e-6)


@pytest.mark.parametrize("budget", [10**9, 0])
def test_training_shuffles_anew_and_repeats(dataset, budget):
    def passes(seed):
        batches = data.pipeline(
            dataset, 32, 3, training=True, seed=seed, memory_budget=budget
        ).take(7)
        return np.concatenate([x[:, 2, 2, 0] for x, _ in batches]).astype(int).tolist()

    seen = passes(0)  # 21 images: three passes, batches running across their borders
    thirds = [seen[0:7], seen[7:14], seen[14:21]]
    assert all(sorted(third) == [0, 10, 20, 30, 40, 50, 60] for third in thirds)
    assert thirds[0] != thirds[1] != thirds[2]
    assert passes(0) == seen and passes(1) != seen


@pytest.mark.slow
def test_pictures_of_rare_classes_come_more_often(dataset):
    """x is on 4 of 7 pictures, y on 2 and never without it."""

    def seen(**options):
        batches = data.pipeline(dataset, 32, 3, training=True, repeat_threshold=1.0, **options)
        return np.concatenate([x[:, 2, 2, 0] for x, _ in batches.take(150)]).astype(int) // 10

    factors = data.repeat_factors(dataset, 1.0)
    with_x, with_both = (7 / 4) ** 0.5, (7 / 2) ** 0.5
    np.testing.assert_allclose(factors, [1, with_x, with_both, 1, with_x, with_both, 1])
    np.testing.assert_array_equal(data.repeat_factors(dataset, 0.2), 1)
    shown = seen()
    wanted = 450 * factors / factors.sum()
    np.testing.assert_allclose(np.bincount(shown, minlength=7), wanted, rtol=0.12)
    np.testing.assert_array_equal(seen(), shown)  # and from the middle on, and in parts
    np.testing.assert_array_equal(seen(skip=100)[:150], shown[300:])
    assert (seen(seed=1) != shown).any()
    first, second = (seen(shard=(i, 3)) for i in range(2))
    np.testing.assert_array_equal(np.stack([first, second], -1), shown.reshape(150, 3)[:, :2])


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan"), "often", True])
def test_a_share_that_none_is(dataset, share):
    with pytest.raises(ValueError, match="repeat_threshold"):
        data.pipeline(dataset, 32, 3, training=True, repeat_threshold=share)


def test_resumed_run_sees_what_it_would_have_seen(dataset):
    """The order and the seeds of the augmentation too."""

    def augment(images, boxes, labels, seed):
        return images + tf.cast(seed[0] % 100, "uint8"), boxes, labels

    whole = [
        x.numpy() for x, _ in data.pipeline(dataset, 32, 3, training=True, augment=augment).take(6)
    ]
    rest = [
        x.numpy()
        for x, _ in data.pipeline(dataset, 32, 3, training=True, augment=augment, skip=4).take(2)
    ]
    np.testing.assert_array_equal(whole[4:], rest)


def test_the_parts_of_processes_make_up_the_batches_of_one(dataset):
    def batches(shard):
        made = data.pipeline(dataset, 32, 4, training=True, seed=3, shard=shard)
        return [(x, y["boxes"], y["labels"]) for x, y in made.take(3).as_numpy_iterator()]

    whole, parts = batches((0, 1)), [batches((index, 2)) for index in range(2)]
    for one, first, second in zip(whole, *parts):
        assert len(first[0]) == len(second[0]) == 2
        for a, b, c in zip(one, first, second):
            np.testing.assert_array_equal(a, np.concatenate([b, c]))


def test_processes_augment_with_seeds_of_their_own(dataset):
    def seeds(shard):
        def augment(images, boxes, labels, seed):
            return images, boxes, tf.zeros_like(labels) + tf.cast(seed[0] % 1000, "int32")

        made = data.pipeline(dataset, 32, 4, training=True, augment=augment, shard=shard)
        return [int(y["labels"][0, 0]) for _, y in made.take(3)]

    assert seeds((0, 2)) != seeds((1, 2)) and seeds((0, 2)) == seeds((0, 1))


def test_decoded_once_for_each_size(dataset):
    first = next(iter(data.pipeline(dataset, 32, 7)))[0]
    for record in dataset.records:
        os.remove(record.path)
    np.testing.assert_array_equal(next(iter(data.pipeline(dataset, (32, 32), 7)))[0], first)
    assert list(dataset.decoded) == [((32, 32), "letterbox")] and dataset.take(2).decoded == {}
    with pytest.warns(UserWarning, match="7 of 7"):
        data.pipeline(dataset, 48, 7)
    assert list(dataset.decoded) == [((48, 48), "letterbox")]


def test_set_smaller_than_a_batch_fills_it(dataset):
    images, _ = next(iter(data.pipeline(dataset.take(2), 32, 5, training=True)))
    assert images.shape[0] == 5


def test_augment_sees_the_batch_in_training_only(dataset):
    def augment(images, boxes, labels, seed):
        assert images.shape[1:] == (32, 32, 3) and boxes.shape[1:] == (2, 4) and seed.shape == (2,)
        return images * 0, boxes + 1, labels

    images, truth = next(iter(data.pipeline(dataset, 32, 3, training=True, augment=augment)))
    assert np.max(images) == 0 and np.min(truth["boxes"]) == 1
    images, _ = next(iter(data.pipeline(dataset, 32, 3, augment=augment)))
    assert np.max(images) > 0


@pytest.mark.parametrize("budget", [10**9, 0])
def test_file_that_turns_unreadable(dataset, budget):
    """The end mark is there, so that loading does not notice; decoding must not crash."""
    path = dataset.records[1].path
    with open(path, "wb") as file:
        file.write(b"\x89PNG broken IEND")
    with pytest.warns(UserWarning, match="could not be decoded"):
        images = np.concatenate([x for x, _ in data.pipeline(dataset, 32, 3, memory_budget=budget)])
    assert len(images) == 7 and (images[1] == 114).all()
    if budget:
        with pytest.warns(UserWarning, match="1 of 7 images"):
            batches = data.pipeline(dataset, 32, 3, training=True, memory_budget=budget).take(4)
        assert 114 not in np.concatenate([x[:, 2, 2, 0] for x, _ in batches])


def test_nothing_readable(dataset):
    for record in dataset.records:
        with open(record.path, "wb") as file:
            file.write(b"IEND")
    with pytest.warns(UserWarning), pytest.raises(data.ImageError, match="none of 7"):
        data.pipeline(dataset, 32, 3, training=True)


@pytest.mark.parametrize("augment", ["none", "mosaic"])
def test_objects_are_padded_by_the_batch_not_by_the_set(tmp_path, augment):
    """One picture of 3,000 objects among 400: its batch is as wide, the others are not."""
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    boxes = np.tile(np.array([[1, 1, 9, 9]], "float32"), (3000, 1))

    def record(count):
        kind = (boxes[:count], np.zeros(count, "int32"), np.zeros(count, bool), np.ones(count))
        return data.Record(str(tmp_path / "a.png"), 64, 64, *kind, count)

    records = [record(3000 if i == 5 else i % 4) for i in range(400)]
    dataset = data.Dataset(records, ("x",), (0,))
    widths = [y["labels"].shape[1] for _, y in data.pipeline(dataset, 32, 4).take(6)]
    assert widths == [32, 3000, 32, 32, 32, 32]
    change = data.AUGMENTATIONS[augment]
    batches = data.pipeline(dataset, 32, 4, training=True, augment=change, seed=1).take(6)
    for images, truth in batches:
        assert images.shape == (4, 32, 32, 3)
        assert truth["boxes"].shape == (*truth["labels"].shape, 4)
        assert truth["labels"].shape[1] in (32, 64, 3000, 6000)


def test_pictures_that_vanish_lose_their_objects(dataset):
    """Read each time: gray pictures that kept their objects would teach wrong things."""
    batches = data.pipeline(dataset, 32, 7, training=True, memory_budget=0)
    assert (next(iter(batches))[1]["labels"].numpy() >= 0).sum() == 6
    for record in dataset.records:
        os.remove(record.path)
    with pytest.warns(UserWarning, match="without objects"):
        images, truth = next(iter(data.pipeline(dataset, 32, 7, training=True, memory_budget=0)))
    assert (images.numpy() == 114).all() and (truth["labels"].numpy() == -1).all()
    assert set(dataset.unread) == {record.path for record in dataset.records}
