"""Ground truth as `fit` takes it: its form is checked when a step is traced, its values on the
first batch, so that neither costs a step anything."""

import warnings

import keras
import numpy as np
from keras import ops

from ..layers import ImageNormalization

WANTED = (
    '{"boxes": (B, M, 4), "labels": (B, M)}, boxes as x_min, y_min, x_max, y_max in pixels of the '
    "input, labels from 0, padded with -1"
)
# What other libraries call the two, and what they have beside them that is not used here.
_RENAMED = {
    "boxes": ("bboxes", "bbox", "gt_bboxes", "gt_boxes", "box"),
    "labels": ("classes", "class", "cls", "label", "gt_labels", "gt_classes", "category_id"),
}
_UNUSED = {
    "torchvision": ("image_id", "area", "iscrowd", "masks", "keypoints"),
    "KerasCV": ("confidence", "num_dets", "num_detections", "segmentation_masks"),
}
# The largest coordinate of boxes that are shares of the image, rounding included.
_NORMALIZED = 1.01
_SAMPLED = 8  # every so many rows and columns of the images are looked at


def check_data(data):
    """Raises `ValueError` unless a batch of `fit` is images and a dict of boxes and labels."""
    x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(x, dict) and len(x) > 1:
        raise ValueError(
            f"A batch is a pair (images, targets), where targets are {WANTED}. Received: a dict of "
            f"{sorted(map(str, x))}, as KerasCV has it: map it to (x['images'], {{'boxes': "
            "x['bounding_boxes']['boxes'], 'labels': x['bounding_boxes']['classes']})."
        )
    if not isinstance(y, dict):
        raise ValueError(f"Targets must be {WANTED}. Received: {_kind(y)}")
    if set(y) != {"boxes", "labels"}:
        raise ValueError(
            f"Targets must be {WANTED}: {_advice(y)}. Received the keys {sorted(map(str, y))}."
        )
    _check_shapes(tuple(y["boxes"].shape), tuple(y["labels"].shape))


def _check_shapes(boxes, labels):
    if len(labels) == 3:
        raise ValueError(
            f"`labels` must be class numbers (B, M), not one-hot: take their argmax over the last "
            f"axis, and -1 where there is no object. Received: labels of shape {labels}"
        )
    fits = len(boxes) == 3 and boxes[2] in (4, None) and len(labels) == 2
    if not fits or None not in (boxes[1], labels[1]) and boxes[1] != labels[1]:
        raise ValueError(f"Targets must be {WANTED}. Received the shapes {boxes} and {labels}")


def _kind(y):
    return "none" if y is None else f"a {type(y).__name__}"


def _advice(y):
    advice = [
        f"rename `{name}` to `{wanted}`"
        for wanted, names in _RENAMED.items()
        for name in names
        if name in y and wanted not in y
    ]
    if "bounding_boxes" in y:
        advice.append("take the dict in `bounding_boxes` itself")
    known = {name: library for library, names in _UNUSED.items() for name in names}
    for name in set(y) - {"boxes", "labels"}:
        if name in known:
            advice.append(f"leave out {known[name]}'s `{name}`, which is not used")
    return ", ".join(sorted(advice)) or "give these two keys and no other"


def padded(y):
    """Targets as tensors: float32 boxes `(B, M, 4)` and int32 labels `(B, M)` with M of at least 1,
    whether they came padded or as `tf.RaggedTensor`s."""
    boxes, labels = y["boxes"], y["labels"]
    if hasattr(boxes, "to_tensor"):
        boxes = boxes.to_tensor(shape=(None, None, 4))
    if hasattr(labels, "to_tensor"):
        labels = labels.to_tensor(default_value=-1)
    boxes, labels = ops.cast(boxes, "float32"), ops.cast(labels, "int32")
    if not boxes.shape[1]:  # unknown, or none in the whole batch
        boxes = ops.pad(boxes, [(0, 0), (0, 1), (0, 0)])
        labels = ops.pad(labels, [(0, 0), (0, 1)], constant_values=-1)
    return {"boxes": boxes, "labels": labels}


def expects_bytes(backbone):
    """Whether a backbone is known to take pixels of 0 to 255: it normalizes them itself."""
    for layer in backbone._flatten_layers():
        if isinstance(layer, ImageNormalization):
            return max(layer.std) > 2
        if isinstance(layer, keras.layers.Rescaling):
            return float(np.max(layer.scale)) < 0.02
    return False


class Faults(keras.metrics.Metric):
    """Counts, since it was reset, what cannot be meant in the batches that a detector was trained
    on. Its result is empty: it is read by `FirstBatch`, and no number of the history."""

    def __init__(self, num_classes, pixels, name="faults"):
        super().__init__(name=name)
        self.num_classes = num_classes
        self.pixels = pixels
        self.counts = self.add_weight(shape=(len(_MESSAGES),), initializer="zeros", name="counts")

    def update_state(self, images, truth):
        """Adds a batch: images `(B, H, W, C)` and targets of `padded`, which it returns without the
        labels that are none."""
        boxes, labels = truth["boxes"], truth["labels"]
        there = labels >= 0
        ordered = ops.all(boxes[..., 2:] > boxes[..., :2], axis=-1)  # false for NaN too
        largest = ops.max(ops.where(ops.expand_dims(there, -1), boxes, 0.0))
        outside = ops.logical_or(labels >= self.num_classes, labels < -1)
        counts = [
            ops.sum(ops.cast(there, "float32")) * ops.cast(largest <= _NORMALIZED, "float32"),
            ops.sum(ops.cast(ops.logical_and(there, ops.logical_not(ordered)), "float32")),
            ops.sum(ops.cast(outside, "float32")),
            self._dim(images) if self.pixels else ops.zeros(()),
        ]
        self.counts.assign_add(ops.stack(counts))
        # A label beyond the classes counts as no object: it must not end in another one's place.
        return {"boxes": boxes, "labels": ops.where(outside, -1, labels)}

    def _dim(self, images):
        brightest = ops.max(ops.cast(images[:, ::_SAMPLED, ::_SAMPLED], "float32"))
        return ops.cast(ops.logical_and(brightest > 0.0, brightest <= 1.0), "float32")

    def result(self):
        return {}

    def message(self, where):
        """The first of the faults counted, as a sentence, or None."""
        # Of a `tf.distribute` variable what this process counted: a sum over several would wait for
        # all of them.
        parts = getattr(self.counts.value, "values", None) or [self.counts]
        counts = sum(ops.convert_to_numpy(part) for part in parts)
        for text, count in zip(_MESSAGES, counts):
            if count:
                return text.format(last=self.num_classes - 1, count=int(count), where=where)
        return None


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
    "divided them. Received: images between 0 and 1 in {where}.",
)


class FirstBatch(keras.callbacks.Callback):
    """Ends a `fit` whose first batch of training or of validation holds what cannot be meant, and
    warns once at the end of an epoch that does."""

    def __init__(self):
        super().__init__()
        self._ahead = {"train", "test"}
        self._told = False

    def on_train_batch_end(self, batch, logs=None):
        self._look("train")

    def on_test_batch_end(self, batch, logs=None):
        self._look("test")

    def on_test_begin(self, logs=None):
        self._warn()  # validation counts anew

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
    """What `fit` takes as `callbacks`, with a `FirstBatch` among them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        first = FirstBatch()
        first.set_model(model)
        callbacks.callbacks.append(first)
        return callbacks
    listed = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    return [FirstBatch(), *filter(None, listed)]
