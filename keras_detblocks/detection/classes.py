"""The classes of a detector: their names, and their exchange for others."""

import keras
from keras import ops

from ..checks import is_int, plain
from .live import with_live_objects


def checked_classes(class_names=None, num_classes=None):
    """Returns number and names of the classes from either argument; `class_names` alone may also be
    a number.

    Raises:
        ValueError: unless they are one or more different names, and as many as `num_classes`.

    >>> checked_classes(2)
    (2, ('0', '1'))
    """
    class_names, num_classes = plain(class_names), plain(num_classes)
    if is_int(class_names) and num_classes is None:
        num_classes, class_names = class_names, None
    if class_names is None and num_classes is None:
        raise ValueError("Give `num_classes` or `class_names`.")
    listed = isinstance(class_names, (list, tuple)) or hasattr(class_names, "tolist")
    if not (class_names is None or listed) or not (num_classes is None or is_int(num_classes)):
        raise ValueError(
            "`num_classes` is a number, `class_names` a list of names. Received: "
            f"num_classes={num_classes!r}, class_names={class_names!r}"
        )
    names = map(str, range(num_classes) if class_names is None else class_names)
    names = tuple(names)
    if num_classes not in (None, len(names)):
        raise ValueError(f"{num_classes} classes, but {len(names)} class names: {names}")
    if len(set(names)) != len(names) or not names:
        raise ValueError(f"Class names must be at least one and different. Received: {names}")
    return len(names), names


def with_classes(detector, class_names):
    """See `Detector.with_classes`."""
    if not hasattr(detector.head, "classifier"):
        raise ValueError(
            f"The head {type(detector.head).__name__} has no `classifier`, the layer of class "
            f"logits."
        )
    count, names = checked_classes(class_names)
    config = detector.get_config()
    config.pop("run_record", None)  # the new detector starts another run
    config["head"]["config"]["num_classes"] = count
    config |= {"num_classes": count, "class_names": list(names), "best_score_threshold": None}
    config, objects = with_live_objects(config, vars(detector._parts))
    with keras.saving.custom_object_scope(objects):
        other = type(detector).from_config(config)
    _copy_weights(detector, other)
    return other


def _copy_weights(source, target):
    """Gives a detector the weights of one for other classes: outputs for names that both know are
    copied, the others stay as they are."""
    shared = [name for name in source.class_names if name in target.class_names]
    here = [source.class_names.index(name) for name in shared]
    there = [target.class_names.index(name) for name in shared]
    of_classes = {id(variable) for variable in target.head.classifier.weights}
    for variable, known in zip(target.weights, source.weights):
        values = ops.convert_to_numpy(known)
        if id(variable) in of_classes:
            values = ops.convert_to_numpy(variable).copy()
            values[..., there] = ops.convert_to_numpy(known)[..., here]
        variable.assign(values)
