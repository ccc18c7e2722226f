"""Checks the form of ground truth for `fit`: once for arrays and when a step is traced, so that
checking costs a step nothing."""

import keras
from keras import ops

WANTED = (
    '{"boxes": (B, M, 4), "labels": (B, M)}, boxes as x_min, y_min, x_max, y_max in pixels of the '
    "input, labels from 0, padded with -1"
)
# Other libraries' names for the two, and other entries of theirs that are not used here.
_RENAMED = {
    "boxes": ("bboxes", "bbox", "gt_bboxes", "gt_boxes", "box"),
    "labels": ("classes", "class", "cls", "label", "gt_labels", "gt_classes", "category_id"),
}
_UNUSED = {
    "torchvision": ("image_id", "area", "iscrowd", "masks", "keypoints"),
    "KerasCV": ("confidence", "num_dets", "num_detections", "segmentation_masks"),
}
_NO_LABEL = -2


def check_data(data):
    """Raises `ValueError` unless a batch for `fit` consists of images and a dict of boxes and
    labels."""
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
    for key, value in y.items():
        _check_numbers(key, value)
    _check_shapes(_shape(y["boxes"]), _shape(y["labels"]))


def check_given(x, y, image_shape):
    """Checks the arguments of `fit`, arrays or a `tf.data.Dataset`, before a step is traced: Keras
    interprets lists differently, and a second trace would leave shapes open.

    Args:
        x, y: as in `fit`. image_shape: of the model's input, `(B, H, W, C)`, `None` where open.
    """
    if hasattr(x, "element_spec"):
        rows = x.element_spec
        if isinstance(rows, dict) or not isinstance(rows, (tuple, list)) or len(rows) == 1:
            return  # `check_data` describes a batch
        x, y = rows[0], rows[1]
    elif y is None and not hasattr(x, "shape"):
        return  # a generator, or a `PyDataset`
    if isinstance(y, dict):
        for key, value in y.items():
            if isinstance(value, (list, tuple)):
                raise ValueError(
                    f"Targets must be {WANTED}, as arrays or tensors: stack them, padded to one "
                    "length with the label -1, or `tf.ragged.stack` them. Received: a "
                    f"{type(value).__name__} as `{key}`"
                )
    check_data((x, y))
    images = next(iter(x.values())) if isinstance(x, dict) else x
    _check_images(_shape(images), image_shape)


def _check_images(shape, wanted):
    fits = shape is None or (
        len(shape) == 4 and all(None in pair or pair[0] == pair[1] for pair in zip(shape, wanted))
    )
    if not fits:
        raise ValueError(
            f"Images must be {_written(wanted)}, batch first and channels last, the size that the "
            f"model was built for. Received: images of shape {_written(shape)}"
        )


def _written(shape):
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


def _shape(x):
    """The shape of an array, a tensor or its spec as a tuple; `None` if the rank is open."""
    shape = getattr(x, "shape", None)
    return None if shape is None or getattr(shape, "rank", 0) is None else tuple(shape)


def _check_numbers(key, value):
    dtype = getattr(value, "dtype", "float32")  # specs of several replicas have none
    dtype = getattr(dtype, "name", None) or keras.backend.standardize_dtype(dtype)
    if not dtype.startswith(("int", "uint", "float", "bfloat")):
        raise ValueError(f"`{key}` must be numbers: {WANTED}. Received: {key} of dtype {dtype}")


def _check_shapes(boxes, labels):
    if boxes is None or labels is None:
        return
    if len(labels) == 3:
        raise ValueError(
            f"`labels` must be class numbers (B, M), not one-hot: take their argmax over the last "
            f"axis, and -1 where there is no object. Received: labels of shape {labels}"
        )
    fits = len(boxes) == 3 and boxes[2] in (4, None) and len(labels) == 2
    if not fits or None not in (boxes[1], labels[1]) and boxes[1] != labels[1]:
        raise ValueError(f"Targets must be {WANTED}. Received the shapes {boxes} and {labels}")


def _kind(y):
    if isinstance(y, (list, tuple)) and y and all(isinstance(each, dict) for each in y):
        return (
            f"a {type(y).__name__} of one dict per image, as torchvision has them: stack their "
            "boxes and labels, padded to one length"
        )
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
    """Converts targets to tensors: float32 boxes `(B, M, 4)` and int32 labels `(B, M)` with M at
    least 1, whether they came padded or as `tf.RaggedTensor`s."""
    boxes, labels = y["boxes"], y["labels"]
    if hasattr(boxes, "to_tensor"):
        boxes = boxes.to_tensor(shape=(None, None, 4))
    if hasattr(labels, "to_tensor"):
        labels = labels.to_tensor(default_value=-1)
    boxes, labels = ops.cast(boxes, "float32"), _whole(labels)
    if not boxes.shape[1]:  # unknown, or no object in the whole batch
        boxes = ops.pad(boxes, [(0, 0), (0, 1), (0, 0)])
        labels = ops.pad(labels, [(0, 0), (0, 1)], constant_values=-1)
    return {"boxes": boxes, "labels": labels}


def _whole(labels):
    """Converts labels to int32; a fraction or NaN becomes a label that no class has."""
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(labels.dtype)):
        labels = ops.where(ops.equal(labels, ops.floor(labels)), labels, _NO_LABEL)
    return ops.cast(labels, "int32")
