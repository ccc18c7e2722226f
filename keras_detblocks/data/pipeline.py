"""From a `Dataset` to a `tf.data` pipeline of letterboxed, augmented, padded batches.

Each image is decoded and letterboxed once and kept as uint8 where all of them fit the memory
budget; otherwise files are read each time. What remains per batch is cheap: a gather, the
augmentation, a cast.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from ..images.files import ImageError
from ..images.letterbox import FILL, Letterbox, letterbox

MEMORY_BUDGET = 2 * 1024**3  # bytes of letterboxed images kept in memory


def pipeline(
    dataset,
    image_size,
    batch_size,
    training=False,
    augment=None,
    seed=0,
    skip=0,
    memory_budget=MEMORY_BUDGET,
):
    """Batches for a detector's `fit`, `evaluate` or `predict`.

    Args:
        dataset: a `Dataset`.
        image_size: (height, width) in pixels, or one number for a square.
        batch_size: images in a batch.
        training: shuffled anew in each pass and repeated without end, last partial batch dropped (a
            set smaller than a batch is repeated to fill it). Otherwise one pass in the order of
            `records`, last batch partial.
        augment: a function of one batch in TensorFlow operations, such as `Augment(...)`: `(images
            uint8 or float (B, H, W, 3), boxes (B, M, 4), labels (B, M), seed (2,))` -> images,
            boxes, labels.
        seed: of the order and of the augmentation.
        skip: batches to leave out at the start, so that a resumed run sees what it would have seen.
        memory_budget: keep the letterboxed images in memory, with the data set, where they fit in
            this many bytes (twice as much is taken for a moment while they are read).

    Returns:
        A `tf.data.Dataset` of `(images float32 (B, H, W, 3) 0..255, {"boxes": float32 (B, M, 4)
        xyxy in pixels of the letterboxed image, "labels": int32 (B, M), -1 where padded})`; crowds
        are left out. An image file that cannot be decoded is dropped in training, and is a grey
        image without boxes otherwise; one warning before the first batch tells. Where files
        are read each time it is found out then: grey in training too, with a warning per reading.
    """
    import tensorflow as tf

    if image_size is None:
        raise ValueError(
            "pipeline: expected image_size=(height, width); received None. A detector of dynamic "
            "size needs one here."
        )
    size = (
        (int(image_size),) * 2
        if np.ndim(image_size) == 0
        else tuple(int(side) for side in image_size)
    )
    records = dataset.records
    if len(records) * size[0] * size[1] * 3 <= memory_budget:
        canvases, readable = _decoded(dataset, size)
        _report_unreadable(records, readable, training)
        chosen = np.nonzero(readable)[0] if training else np.arange(len(records))
        images_of = partial(tf.gather, canvases)
    else:
        chosen, images_of, readable = (
            np.arange(len(records)),
            _read_from(records, size),
            np.ones(len(records), bool),
        )
    if len(chosen) == 0:
        raise ImageError(
            f"pipeline: expected readable images in {dataset.source}; none of {len(records)} "
            f"could be decoded."
        )
    boxes, labels = _padded(records, size, dataset.max_boxes)
    labels[~readable] = -1
    with tf.device("CPU:0"):
        boxes, labels = tf.constant(boxes), tf.constant(labels)

    def batch(indices, seeds):
        images, b, y = images_of(indices), tf.gather(boxes, indices), tf.gather(labels, indices)
        if training and augment is not None:
            images, b, y = augment(images, b, y, seeds)
        return tf.cast(images, "float32"), {"boxes": b, "labels": y}

    batches = _index_batches(chosen, batch_size, training, seed).skip(skip)
    return batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _index_batches(chosen, batch_size, training, seed):
    """A `tf.data.Dataset` of (indices (B,), seeds (2,))."""
    import tensorflow as tf

    indices = tf.data.Dataset.from_tensor_slices(chosen.astype("int32"))
    if training:
        indices = indices.shuffle(len(chosen), seed=seed, reshuffle_each_iteration=True).repeat()
    batches = indices.batch(batch_size, drop_remainder=training)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(
        2, drop_remainder=True
    )
    return tf.data.Dataset.zip(batches, seeds)


def _padded(records, size, count):
    """Boxes (N, M, 4) in letterboxed pixels and labels (N, M), -1 where padded; crowds left out."""
    boxes = np.zeros((len(records), count, 4), "float32")
    labels = np.full((len(records), count), -1, "int32")
    for i, r in enumerate(records):
        kept = Letterbox.fit((r.height, r.width), size).to_letterboxed(r.boxes[~r.crowd])
        boxes[i, : len(kept)] = kept
        labels[i, : len(kept)] = r.labels[~r.crowd]
    return boxes, labels


def _decode(path, size):
    """The letterboxed image (H, W, 3) uint8, or None where it cannot be read."""
    try:
        return letterbox(read_image(path), size)[0]
    except ImageError:
        return None


def _decode_all(records, size):
    """All images (N, H, W, 3) uint8, grey where unreadable, and readable (N,) bool."""
    canvases = np.full((len(records), *size, 3), FILL, "uint8")
    readable = np.ones(len(records), bool)

    def fill(i):
        canvas = _decode(records[i].path, size)
        readable[i] = canvas is not None
        if canvas is not None:
            canvases[i] = canvas

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(len(records))))
    return canvases, readable


def _report_unreadable(records, readable, training):
    bad = [records[i].path for i in np.nonzero(~readable)[0]]
    if bad:
        what = "skipped" if training else "taken as grey"
        warnings.warn(
            f"{len(bad)} of {len(records)} images could not be decoded and are {what}: "
            f"{', '.join(bad[:3])}",
            stacklevel=3,
        )


def _decoded(dataset, size):
    """`(images (N, H, W, 3) uint8 tensor, readable (N,) bool)`, kept with the data set for the next
    pipeline of the same size."""
    import tensorflow as tf

    if size not in dataset.decoded:
        canvases, readable = _decode_all(dataset.records, size)
        dataset.decoded.clear()
        with tf.device("CPU:0"):
            dataset.decoded[size] = tf.constant(canvases), readable
    return dataset.decoded[size]


def _read_from(records, size):
    """Reads the files of a batch anew; the threads of `map` share the work."""
    import tensorflow as tf

    grey = np.full((*size, 3), FILL, "uint8")

    def read(index):
        canvas = _decode(records[index].path, size)
        if canvas is None:
            warnings.warn(
                f"{records[index].path} could not be decoded and is taken as grey", stacklevel=2
            )
        return grey if canvas is None else canvas

    def read_one(index):
        return tf.ensure_shape(tf.numpy_function(read, [index], "uint8"), (*size, 3))

    return lambda indices: tf.map_fn(
        read_one, indices, fn_output_signature=tf.TensorSpec((*size, 3), "uint8")
    )
