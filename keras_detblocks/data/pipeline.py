"""Turns a `Dataset` into a `tf.data` pipeline of letterboxed, augmented, padded batches.

Each image is decoded and letterboxed once and kept as uint8 if all of them fit the memory budget;
otherwise files are read each time. The work left per batch is cheap: a gather, the augmentation, a
cast.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..checks import check_flag, check_int, check_number, check_pair
from ..images.files import ImageError
from ..images.letterbox import FILL, MOST_SIDE, Letterbox
from ..images.read import read_letterboxed
from .augment import augmentation
from .balance import repeat_factors
from .dataset import check_dataset

MOST_BATCH = 2**16  # images in a batch
MEMORY_BUDGET = 2 * 1024**3  # bytes of letterboxed images kept in memory
AHEAD = 1024**3  # bytes of batches that are made at once


def pipeline(
    dataset,
    image_size,
    batch_size,
    training=False,
    augment=None,
    seed=0,
    skip=0,
    memory_budget=MEMORY_BUDGET,
    shard=(0, 1),
    resize="letterbox",
    repeat_threshold=None,
):
    """Batches for a detector's `fit`, `evaluate` or `predict`.

    Args:
        dataset: a `Dataset`.
        image_size: (height, width) in pixels, or one number for a square.
        batch_size: images in a batch.
        training: whether to shuffle anew in each pass and repeat without end, dropping the last
            partial batch (a set smaller than a batch is repeated to fill it). Otherwise there is
            one pass in the order of `records`, whose last batch may be partial.
        augment: a name of `AUGMENTATIONS`, such as "flip", or a function of one batch in TensorFlow
            operations, such as `Augment(...)`: `(images uint8 or float (B, H, W, 3), boxes (B, M,
            4), labels (B, M), seed (2,))` -> images, boxes, labels.
        seed: decides the order and the augmentation.
        skip: batches to leave out at the start, so that a resumed run sees what it would have seen.
        memory_budget: keep the letterboxed images in memory, with the data set, if they fit in this
            many bytes (reading them takes twice as much for a moment).
        shard: `(index, count)` of processes that train together: each batch is this process' equal
            part of the batch of `batch_size` images that one process would make.
        resize: `"letterbox"` keeps the proportions of pictures, `"stretch"` fills the canvas; a
            detector has its own in `detector.resize`.
        repeat_threshold: in training, pictures with classes that occur in a smaller share of them
            are shown more often, by `repeat_factors`; `None` shows all equally often.

    Returns:
        A `tf.data.Dataset` of `(images float32 (B, H, W, 3) 0..255, {"boxes": float32 (B, M, 4)
        xyxy in pixels of the letterboxed image, "labels": int32 (B, M), -1 where padded})`; crowds
        are left out. M suits the batch: the data set's largest number of objects up to 32, else the
        next power of two. An image file that cannot be decoded is dropped in training, and
        otherwise becomes a gray image without boxes; one warning before the first batch says so. If
        files are read each time, it is only discovered then: the image is gray and without boxes in
        training too, with a warning per reading. `dataset.unread` holds the path and reason of
        each.
    """
    import tensorflow as tf

    batch_size = check_int(batch_size, "batch_size", most=MOST_BATCH)
    if image_size is None:
        raise ValueError(
            "`image_size` must be (height, width), which a detector of dynamic size does not tell. "
            "Received: image_size=None"
        )
    size = check_pair(image_size, "image_size", MOST_SIDE)
    check_dataset(dataset)
    augment = augmentation(augment)
    training, seed = check_flag(training, "training"), check_int(seed, "seed", least=0)
    skip = check_int(skip, "skip", least=0)
    memory_budget = check_number(memory_budget, "memory_budget", least=0)
    index, count = _checked_shard(shard)
    repeat_threshold = check_number(
        repeat_threshold, "repeat_threshold", above=0, most=1, optional=True
    )
    chosen, images_of = _images(dataset, size, resize, training, memory_budget)
    objects_of = _objects(dataset.records, size, resize)

    def batch(indices, seeds):
        mine = _part(indices, index, count)
        images, readable = images_of(mine)
        boxes, labels = objects_of(mine, readable, among=indices)
        if training and augment is not None:  # each part has its own seeds
            images, boxes, labels = augment(images, boxes, labels, seeds + index)
        return tf.cast(images, "float32"), {"boxes": boxes, "labels": labels}

    indices = _indices(dataset, chosen, training, seed, repeat_threshold)
    batches = _with_seeds(indices.batch(batch_size, drop_remainder=training), seed).skip(skip)
    at_a_time = _at_a_time(batch_size // count, size)
    batches = batches.map(batch, num_parallel_calls=at_a_time, deterministic=True).prefetch(2)
    return without_autotuning(batches)


def _images(dataset, size, resize, training, memory_budget):
    """Returns `(chosen, images_of)`: the indices of the pictures to show, and a function from
    indices to images and whether they could be read; from memory if all of them fit there."""
    count = len(dataset.records)
    if count * size[0] * size[1] * 3 > memory_budget:
        return np.arange(count, dtype="int32"), _read_from(dataset, size, resize)
    canvases, readable = _decoded(dataset, size, resize)
    _report_unreadable(dataset, readable, training)
    chosen = np.nonzero(readable)[0] if training else np.arange(count)
    if len(chosen) == 0:
        raise ImageError(
            f"pipeline: expected readable images in {dataset.source}; none of {count} could be "
            f"decoded."
        )
    return chosen.astype("int32"), _from_memory(canvases, readable)


def _checked_shard(shard):
    pair = check_pair(shard, "shard", least=0)
    if pair[0] >= pair[1]:
        raise ValueError(f"`shard` must be (index, count of processes). Received: shard={shard}")
    return pair


def without_autotuning(batches):
    """A `tf.data.Dataset` whose numbers of threads and of prefetched batches are not tuned.

    Whoever drops an iterator may wait for its autotuning thread, which sleeps for up to a minute:
    it looks whether it is canceled before that is set (TensorFlow 2.21).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def _at_a_time(count, size):
    """How many batches are made at once: one per core, if memory allows."""
    bytes_of_one = 4 * 3 * count * size[0] * size[1]
    return min(os.cpu_count() or 1, max(2, AHEAD // bytes_of_one))


def _part(indices, index, count):
    """The equal part of a batch's indices that one of `count` processes takes."""
    if count == 1:
        return indices
    size = indices.shape[0] // count
    return indices[index * size : (index + 1) * size]


def _indices(dataset, chosen, training, seed, repeat_threshold):
    """A `tf.data.Dataset` of the indices `chosen`: in training without end, each as often as it is
    to be shown."""
    import tensorflow as tf

    if training and repeat_threshold is not None:
        times = repeat_factors(dataset, repeat_threshold)[chosen]
        if (times > 1).any():
            return _repeated(chosen, times, seed)
    indices = tf.data.Dataset.from_tensor_slices(chosen)
    if training:
        indices = indices.shuffle(len(chosen), seed=seed, reshuffle_each_iteration=True).repeat()
    return indices


def _with_seeds(batches, seed):
    """A `tf.data.Dataset` of (indices (B,), seeds (2,))."""
    import tensorflow as tf

    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(
        2, drop_remainder=True
    )
    return tf.data.Dataset.zip(batches, seeds)


def _repeated(chosen, times, seed):
    """Endless passes over indices, each repeated as many `times`; for a fraction, each pass draws
    anew whether the index comes once more."""
    import tensorflow as tf

    copies = np.ceil(times).astype(int)
    last = np.cumsum(copies) - 1
    shares = np.ones(last[-1] + 1)
    shares[last] = times - copies + 1
    indices = tf.data.Dataset.from_tensor_slices((np.repeat(chosen, copies), shares))
    indices = indices.shuffle(len(shares), seed=seed, reshuffle_each_iteration=True).repeat()
    draws = tf.data.Dataset.random(seed=seed + 1, rerandomize_each_iteration=True)

    def comes(index_and_share, draw):
        key = tf.stack([draw, tf.constant(seed, draw.dtype)])
        return tf.random.stateless_uniform((), key, dtype="float64") < index_and_share[1]

    drawn = tf.data.Dataset.zip(indices, draws).filter(comes)
    return drawn.map(lambda index_and_share, _: index_and_share[0])


def _objects(records, size, resize):
    """Returns a function `(indices (B,), readable (B,), among) -> boxes (B, M, 4), labels (B, M)`
    in TensorFlow. The largest number of objects of the indices `among` decides on M: processes that
    train together need the same.

    The set's objects are stored one after the other: padded, one picture with thousands of them
    would make all the others as large.
    """
    import tensorflow as tf

    counts = np.array([int((~r.crowd).sum()) for r in records], "int64")
    starts = np.concatenate([[0], np.cumsum(counts)])
    boxes, labels = (
        np.zeros((max(starts[-1], 1), 4), "float32"),
        np.zeros(max(starts[-1], 1), "int32"),
    )
    for r, start, end in zip(records, starts, starts[1:]):
        fitted = Letterbox.fit((r.height, r.width), size, resize)
        boxes[start:end] = fitted.to_letterboxed(r.boxes[~r.crowd])
        labels[start:end] = r.labels[~r.crowd]
    widths = _widths(int(counts.max(initial=1)))
    with tf.device("CPU:0"):
        starts, counts = tf.constant(starts[:-1], "int32"), tf.constant(counts, "int32")
        boxes, labels = tf.constant(boxes), tf.constant(labels)

    def objects_of(indices, readable, among):
        count = tf.where(readable, tf.gather(counts, indices), 0)
        most = tf.reduce_max(tf.gather(counts, among))
        width = tf.reduce_min(tf.boolean_mask(widths, widths >= most))
        places = tf.range(width)[None]
        valid = places < count[:, None]
        at = tf.where(valid, tf.gather(starts, indices)[:, None] + places, 0)
        batch_boxes = tf.where(valid[..., None], tf.gather(boxes, at), 0.0)
        batch_labels = tf.where(valid, tf.gather(labels, at), -1)
        static = widths[0] if len(widths) == 1 else None
        return tf.ensure_shape(batch_boxes, (None, static, 4)), tf.ensure_shape(
            batch_labels, (None, static)
        )

    return objects_of


def _widths(most):
    """The numbers of places that a batch may have: few, so that few shapes are compiled."""
    widths = [32]
    while widths[-1] < most:
        widths.append(2 * widths[-1])
    return np.minimum(widths, max(most, 1)).astype("int32")


def _decode(record, size, dataset, resize):
    """The letterboxed image (H, W, 3) uint8, or None if it cannot be read."""
    try:
        return read_letterboxed(record.path, size, dataset.levels, resize=resize)[0]
    except ImageError as error:
        dataset.unread[record.path] = str(error)
        return None


def _decode_all(dataset, size, resize):
    """All images (N, H, W, 3) uint8, gray if unreadable, and readable (N,) bool."""
    records = dataset.records
    canvases = np.full((len(records), *size, 3), FILL, "uint8")
    readable = np.ones(len(records), bool)

    def fill(i):
        canvas = _decode(records[i], size, dataset, resize)
        readable[i] = canvas is not None
        if canvas is not None:
            canvases[i] = canvas

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(len(records))))
    return canvases, readable


def _report_unreadable(dataset, readable, training):
    bad = [dataset.records[i].path for i in np.nonzero(~readable)[0]]
    if bad:
        what = "skipped" if training else "taken as gray"
        warnings.warn(
            f"{len(bad)} of {len(readable)} images could not be decoded and are {what}: "
            f"{', '.join(bad[:3])}",
            stacklevel=3,
        )


def _decoded(dataset, size, resize):
    """`(images (N, H, W, 3) uint8 tensor, readable (N,) bool)`, kept with the data set for the next
    pipeline of the same size."""
    import tensorflow as tf

    if (size, resize) not in dataset.decoded:
        canvases, readable = _decode_all(dataset, size, resize)
        dataset.decoded.clear()
        with tf.device("CPU:0"):
            dataset.decoded[size, resize] = tf.constant(canvases), readable
    return dataset.decoded[size, resize]


def _from_memory(canvases, readable):
    """Returns a function from indices to images and whether they could be read."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        readable = tf.constant(readable)
    return lambda indices: (tf.gather(canvases, indices), tf.gather(readable, indices))


def _read_from(dataset, size, resize):
    """The same as `_from_memory`, but reads the files of each batch anew; the threads of `map`
    share the work."""
    import tensorflow as tf

    gray = np.full((*size, 3), FILL, "uint8")

    def read(index):
        record = dataset.records[index]
        canvas = _decode(record, size, dataset, resize)
        if canvas is None:
            what = "could not be decoded and is taken as gray, without objects"
            warnings.warn(f"{record.path} {what}", stacklevel=2)
        return gray if canvas is None else canvas, np.bool_(canvas is not None)

    def read_one(index):
        canvas, readable = tf.numpy_function(read, [index], ["uint8", "bool"])
        return tf.ensure_shape(canvas, (*size, 3)), tf.ensure_shape(readable, ())

    signature = (tf.TensorSpec((*size, 3), "uint8"), tf.TensorSpec((), "bool"))
    return lambda indices: tf.map_fn(read_one, indices, fn_output_signature=signature)
