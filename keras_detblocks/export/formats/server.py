"""A detector's SavedModel for a server, which takes pictures as arrays or as the bytes of their
files."""

import tensorflow as tf

from ...images.letterbox import FILL
from ..detections import image_size_of, with_threshold
from ..graph import freeze


def server_functions(raw, detector, shift=0.0, score_threshold=None):
    """The signatures of a detector's SavedModel.

    Args:
        raw: signature of the detector's raw outputs.
        detector: the `Detector`.
        shift, score_threshold: for trials, as in `detections`.

    Returns:
        `{"serving_default": ..., "encoded": ..., "encoded_above": ...}`: TensorFlow functions; the
        last two only if the size is known.
    """
    function, _ = freeze(with_threshold(raw, detector, shift), unfused=True)
    found = function.get_concrete_function()  # one copy of the weights for all signatures
    threshold = detector.score_threshold if score_threshold is None else score_threshold
    shape, dtype = next(iter(raw.inputs.values()))

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name="image")], autograph=False)
    def serve(image):
        return found(image, tf.constant(float(threshold)))

    functions = {"serving_default": serve}
    size = image_size_of(raw)
    if None not in size:
        functions |= _encoded(found, detector, size, shape[0], float(threshold))
    return functions


def _encoded(found, detector, size, batch, threshold):
    """The signatures for bytes of files. Signatures have no optional inputs, so there is one with
    the threshold and one without it."""
    names = tf.constant([*detector.class_names, ""])
    files = tf.TensorSpec((batch,), "string", name="image_bytes")
    kinds = (tf.TensorSpec((*size, 3)), tf.TensorSpec((4,)), tf.TensorSpec((4,)))

    def fit(encoded):
        return fitted_picture(encoded, size, detector.resize == "stretch")

    def call(image_bytes, score_threshold):
        canvases, factors, limits = tf.map_fn(fit, image_bytes, fn_output_signature=kinds)
        outputs = found(canvases, score_threshold)
        boxes = tf.clip_by_value(outputs["boxes"] / factors[:, None], 0.0, limits[:, None])
        # The last name, which is empty, belongs to label -1: no detection.
        labels = tf.where(outputs["labels"] < 0, len(detector.class_names), outputs["labels"])
        return {**outputs, "boxes": boxes, "names": tf.gather(names, labels)}

    @tf.function(input_signature=[files], autograph=False)
    def encoded(image_bytes):
        return call(image_bytes, tf.constant(threshold))

    least = tf.TensorSpec((), name="score_threshold")
    above = tf.function(call, input_signature=[files, least], autograph=False)
    return {"encoded": encoded, "encoded_above": above}


def fitted_picture(encoded, size, stretch):
    """Decodes one picture and fits it into the canvas, as `images.letterbox` does; returns
    `(canvas, factors of x, y, x, y, width and height twice)`."""
    picture = tf.ensure_shape(_decoded(encoded), (None, None, 3))
    original = tf.cast(tf.shape(picture)[:2], "float32")
    scale = tf.constant(size, "float32") / original
    if not stretch:
        scale = tf.reduce_min(scale)
    resized = tf.clip_by_value(tf.cast(tf.round(original * scale), "int32"), 1, size)
    # Antialiased, as Pillow's bilinear filter is.
    small = tf.image.resize(picture, resized, antialias=True)
    small = tf.clip_by_value(tf.round(small), 0.0, 255.0)
    rest = tf.constant(size) - resized
    canvas = tf.pad(small, [[0, rest[0]], [0, rest[1]], [0, 0]], constant_values=float(FILL))
    factors = tf.cast(resized, "float32") / original
    corner = original[::-1]
    return (
        tf.ensure_shape(canvas, (*size, 3)),
        tf.tile(factors[::-1], [2]),
        tf.tile(corner, [2]),
    )


def _decoded(encoded):
    """The RGB pixels of a file; transparent parts of a PNG become white, as everywhere else."""

    def png():
        picture = tf.cast(tf.io.decode_png(encoded, channels=4), "float32")
        opaque = picture[..., 3:] / 255.0
        return tf.cast(tf.round(picture[..., :3] * opaque + 255.0 * (1.0 - opaque)), "uint8")

    return tf.case(
        [
            (
                tf.io.is_jpeg(encoded),
                lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
            ),
            (tf.strings.substr(encoded, 0, 4) == b"\x89PNG", png),
        ],
        default=lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
