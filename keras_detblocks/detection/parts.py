"""The parts of a detector: how they are checked, joined, and stored in a config."""

import keras

from ..checks import finest_first


def joined(backbone, context, neck, head, num_classes):
    """`(image, raw outputs)` of a functional model of these parts, which `Detector` describes.

    Raises:
        ValueError: if they do not fit together.
    """
    if not isinstance(head, keras.layers.Layer):
        raise ValueError(
            "`head` must be a layer such as AnchorFreeHead(num_classes), or None for that one. "
            f"Received: {head!r}"
        )
    if getattr(head, "num_classes", num_classes) != num_classes:
        raise ValueError(
            f"The head has {head.num_classes} classes, the detector {num_classes}; give both the "
            f"same."
        )
    layers = _in_turn(neck)
    if not isinstance(backbone, keras.Model):
        raise ValueError(
            "`backbone` must be a keras.Model from an image to a dict of levels; `build_detector` "
            f"takes names. Received: {backbone!r}"
        )
    image = keras.Input(backbone.input_shape[1:], name="image")
    features = _with_context(_levels(backbone, image), context)
    for layer in layers:
        features = layer(features)
    return image, head(features)


def _in_turn(neck):
    """The layers of a neck, in order."""
    layers = list(neck) if isinstance(neck, (list, tuple)) else [neck]
    layers = [layer for layer in layers if layer is not None]
    others = [layer for layer in layers if not isinstance(layer, keras.layers.Layer)]
    if others:
        raise ValueError(
            "`neck` must be a layer such as FPN(64, levels=(3, 4, 5)), a list of layers, or None; "
            f"`build_detector` takes names. Received: {others[0]!r}"
        )
    return layers


def _levels(backbone, image):
    features = backbone(image)
    if not isinstance(features, dict):
        raise ValueError(
            "The backbone must return a dict of levels: build it with include_top=False, "
            "levels=(3, 4, 5), or wrap it in feature_pyramid. Received an output of type "
            f"{type(features).__name__}."
        )
    return features


def _with_context(features, context):
    if context is None:
        return features
    if not isinstance(context, dict):
        context = {finest_first(features)[-1]: context}
    unknown = set(context) - set(features)
    if unknown:
        raise ValueError(
            f"`context` names levels {sorted(unknown)}; the backbone has {sorted(features)}."
        )
    others = [block for block in context.values() if not isinstance(block, keras.layers.Layer)]
    if others:
        raise ValueError(
            "`context` must be a layer such as SPPF(256), or a dict of layers by level; "
            f"`build_detector` takes names. Received: {others[0]!r}"
        )
    features = {
        level: context[level](x) if level in context else x for level, x in features.items()
    }
    vectors = {level: tuple(x.shape) for level, x in features.items() if len(x.shape) != 4}
    if vectors:
        raise ValueError(
            f"A context block must return a feature map (B, H, W, C). Received: {vectors}"
        )
    return features


def serialize(part):
    """The config of a part: a layer, a list or dict of layers, or `None`."""
    if isinstance(part, (list, tuple)):
        return [serialize(each) for each in part]
    if isinstance(part, dict):
        return {key: serialize(each) for key, each in part.items()}
    return None if part is None else keras.saving.serialize_keras_object(part)


def deserialize(config, custom_objects):
    """The part that `serialize` described."""
    if isinstance(config, list):
        return [deserialize(each, custom_objects) for each in config]
    if isinstance(config, dict) and "class_name" not in config:
        return {key: deserialize(each, custom_objects) for key, each in config.items()}
    if config is None:
        return None
    return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)


def refuse_hdf5(path=None):
    """Refuses Keras' legacy format, which cannot hold the parts of a detector: by its path, or
    while Keras writes it."""
    from keras.src.backend.common import global_state  # there is no public way

    writes = global_state.get_global_attribute("use_legacy_config", False)
    if writes or str(path).endswith((".h5", ".hdf5")):
        raise ValueError(
            "A detector is saved as a .keras file, or its weights alone by "
            f"`save_weights('name.weights.h5')`. Received: {path or 'the legacy HDF5 format'!r}"
        )
