"""Checks the values of the data for `fit`: faults are counted in every step and read after the
first, so that checking costs a step nothing."""

import warnings

import keras
import numpy as np
from keras import ops

from ..layers import ImageNormalization

# The largest coordinate of boxes given as shares of the image, rounding included.
_NORMALIZED = 1.01
_DEVIATIONS = 10.0  # images with negative values and none above this were normalized
_SAMPLED = 8  # only every so many rows and columns of the images are looked at


def expects_bytes(backbone):
    """Whether a backbone is known to take pixels from 0 to 255, because it normalizes them
    itself."""
    for layer in backbone._flatten_layers():
        if isinstance(layer, ImageNormalization):
            return max(layer.std) > 2
        if isinstance(layer, keras.layers.Rescaling):
            return float(np.max(layer.scale)) < 0.02
    return False


class Faults(keras.metrics.Metric):
    """Counts values that must be mistakes in the batches since it was reset. `FirstBatch` reads the
    counts; as a metric its result is empty, so that the history does not show it."""

    def __init__(self, num_classes, pixels, name="faults"):
        super().__init__(name=name)
        self.num_classes = num_classes
        self.pixels = pixels
        self.counts = self.add_weight(shape=(len(_MESSAGES),), initializer="zeros", name="counts")

    def update_state(self, images, truth):
        """Adds a batch: images `(B, H, W, C)` and targets of `padded`, which it returns without
        invalid labels and boxes."""
        boxes, labels = truth["boxes"], truth["labels"]
        there = labels >= 0
        # whatever the box of a -1 contains
        boxes = ops.where(ops.expand_dims(there, -1), boxes, 0.0)
        meant = ops.logical_and(
            ops.all(ops.isfinite(boxes), axis=-1), ops.all(boxes[..., 2:] > boxes[..., :2], axis=-1)
        )
        outside = ops.logical_or(labels >= self.num_classes, labels < -1)
        counts = [
            _count(there) * ops.cast(ops.max(boxes) <= _NORMALIZED, "float32"),
            _count(ops.logical_and(there, ops.logical_not(meant))),
            _count(outside),
            self._dim(images) if self.pixels else ops.zeros(()),
            _beyond(ops.shape(images)[1:3], boxes, there),
            1.0 - ops.cast(ops.all(ops.isfinite(_sampled(images))), "float32"),
        ]
        self.counts.assign_add(ops.stack(counts))
        # They count as no object: such a label must not address another class's place, nor NaN or
        # infinity reach the weights.
        refused = ops.logical_or(outside, ops.logical_not(meant))
        return {
            "boxes": ops.where(ops.expand_dims(refused, -1), 0.0, boxes),
            "labels": ops.where(refused, -1, labels),
        }

    def _dim(self, images):
        seen = _sampled(images)
        brightest, darkest = ops.max(seen), ops.min(seen)
        shares = ops.logical_and(brightest > 0.0, brightest <= 1.0)
        deviations = ops.logical_and(darkest < 0.0, brightest < _DEVIATIONS)
        return ops.cast(ops.logical_or(shares, deviations), "float32")

    def result(self):
        return {}

    def message(self, where):
        """The first of the faults counted, as a sentence, or None."""
        # For a `tf.distribute` variable the counts of this process: a sum over several would wait
        # for all of them.
        parts = getattr(self.counts.value, "values", None) or [self.counts]
        counts = sum(ops.convert_to_numpy(part) for part in parts)
        for text, count in zip(_MESSAGES, counts):
            if count:
                return text.format(last=self.num_classes - 1, count=int(count), where=where)
        return None


def _sampled(images):
    return ops.cast(images[:, ::_SAMPLED, ::_SAMPLED], "float32")


def _count(flags):
    return ops.sum(ops.cast(flags, "float32"))


def _beyond(sides, boxes, there):
    """The number of boxes outside their image, if these are half of them or more: a few may be left
    over from a random crop."""
    height, width = (ops.cast(side, "float32") for side in sides)
    left, top, right, bottom = (boxes[..., i] for i in range(4))
    off = [left >= width, top >= height, right <= 0.0, bottom <= 0.0]
    off = ops.logical_and(there, ops.any(ops.stack(off), axis=0))
    return _count(off) * ops.cast(2.0 * _count(off) >= _count(there), "float32")


# In the order of `Faults.counts`.
_MESSAGES = (
    "All boxes of a batch lie between 0 and 1, and boxes are in pixels of the input: multiply them "
    "by its width and height. Received: {count} such boxes in {where}.",
    "Boxes are x_min, y_min, x_max, y_max in pixels of the input, with x_min < x_max and y_min < "
    "y_max: from corner and size make x, y, x + width, y + height, and give empty boxes the label "
    "-1. Received: {count} others in {where}.",
    "Labels are class numbers from 0 to {last}, counted from 0 without a background, or -1 where "
    "there is no object. Received: {count} others in {where}.",
    "The model normalizes pixels of 0 to 255 itself: multiply the images by 255, or leave out what "
    "divided them. Received: images between 0 and 1, or normalized ones, in {where}.",
    "Half of the boxes or more lie outside of their images, and boxes are in pixels of the input: "
    "scale them as the images were. Received: {count} such boxes in {where}.",
    "Pixels must be finite numbers. Received: NaN or infinity in {where}.",
)


class FirstBatch(keras.callbacks.Callback):
    """Ends a `fit` whose first batch of training or validation holds values that must be mistakes,
    and warns once at the end of an epoch that does."""

    def __init__(self):
        super().__init__()
        self._ahead = {"train", "test"}
        self._told = False

    def on_train_batch_end(self, batch, logs=None):
        self._look("train")

    def on_test_batch_end(self, batch, logs=None):
        self._look("test")

    def on_test_begin(self, logs=None):
        if "train" not in self._ahead:  # counts of this epoch; validation starts over
            self._warn()

    def on_epoch_end(self, epoch, logs=None):
        self._warn()

    def _look(self, what):
        if what in self._ahead:
            self._ahead.remove(what)
            message = self.model.faults.message("the first batch")
            if message:
                raise ValueError(message)

    def _warn(self):
        message = None if self._told else self.model.faults.message("one epoch")
        if message:
            self._told = True
            warnings.warn(message, stacklevel=2)


def with_first_batch(callbacks, model):
    """The `callbacks` for `fit`, with a `FirstBatch` among them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        if not any(isinstance(each, FirstBatch) for each in callbacks.callbacks):
            first = FirstBatch()
            first.set_model(model)
            callbacks.callbacks.append(first)
        return callbacks
    listed = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    return [FirstBatch(), *filter(None, listed)]
