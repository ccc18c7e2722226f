"""Random flips, turns, scales, crops, colors, mosaic and mixup of a batch, together with its boxes,
in few TensorFlow operations.

Everything geometric is one resampling: a window of each image, mirrored or turned, is drawn into
the canvas (`tf.image.crop_and_resize` over the whole batch). Everything about color is one 3x3
matrix per image. Mosaic is YOLOv4's (https://arxiv.org/abs/2004.10934), mixup that of
https://arxiv.org/abs/1902.04103: the objects of both images count in full.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..checks import check_flag, check_number, check_numbers, look_up, refused, set_fields
from ..images.letterbox import FILL

_LUMA = np.array([0.299, 0.587, 0.114], "float32")
# RGB to YIQ: hue is a rotation of the last two coordinates (https://en.wikipedia.org/wiki/YIQ)
_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], "float32"
)


@dataclass(frozen=True)
class Augment:
    """A random change of each image of a batch, for `data.pipeline(..., augment=Augment())`.

    The defaults suit photographs taken upright. For a microscope or a satellite:
    `Augment(vertical_flip=0.5, rotate90=True)`, all eight symmetries. For digits or text, which
    must not be mirrored: `Augment(horizontal_flip=0.0)`.

    Attributes:
        horizontal_flip, vertical_flip: probability of mirroring.
        rotate90: turn half of the images by 90 degrees (transposed; with both flips all eight
            symmetries are equally likely). Canvases need not be square: objects keep their size,
            and whatever does not fit is cut off.
        scale: (least, most): objects grow by a factor in between, drawn log-uniformly; a larger
            image is cropped, a smaller one surrounded by gray.
        translate: further shift, as a share of the canvas.
        color: (brightness, contrast, saturation, hue): largest changes; brightness as a share of
            255, contrast and saturation as a share of their values, hue as a share of the color
            circle.
        mosaic: probability that a batch is made of mosaics: the canvas shows where four images
            meet.
        mixup: probability that a batch's images are blended in pairs, with the boxes of both.
        min_visible: boxes with less than this share of their area left in the canvas are dropped.

    Called with `(images (B, H, W, 3) uint8 or float 0..255, boxes (B, M, 4), labels (B, M), seed
    (2,) integers)`; returns images float32 of the same shape, boxes and labels. M doubles where
    mosaic or mixup may happen. The same seed gives the same result.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    rotate90: bool = False
    scale: tuple = (0.8, 1.3)
    translate: float = 0.1
    color: tuple = (0.1, 0.2, 0.2, 0.02)
    mosaic: float = 0.0
    mixup: float = 0.0
    min_visible: float = 0.3

    def __post_init__(self):
        given = {name: check(getattr(self, name), name) for name, check in _CHECKS.items()}
        set_fields(self, given)
        if self.scale[0] > self.scale[1]:
            raise ValueError(
                "`scale` must be (least, largest); (1, 1) leaves sizes alone. Received: "
                f"scale={self.scale}"
            )

    def __call__(self, images, boxes, labels, seed):
        import tensorflow as tf

        size, count = (images.shape[1], images.shape[2]), _count(boxes)
        seed = tf.cast(seed, "int32")
        draw = tf.random.stateless_uniform((tf.shape(images)[0], 12), seed)
        chance = tf.random.stateless_uniform((2,), seed + 1)
        if self.mosaic:
            images, boxes, labels = tf.cond(
                chance[0] < self.mosaic,
                lambda: self._crop(*_mosaic(images, boxes, labels), draw, size, 2 * count),
                lambda: self._crop(images, boxes, labels, draw, size, 2 * count),
            )
        else:
            images, boxes, labels = self._crop(
                images, boxes, labels, draw, size, 2 * count if self.mixup else count
            )
        if any(self.color):
            images = recolor(images, draw[:, 8:], self.color)
        if self.mixup:
            before = (images, boxes, labels)
            images, boxes, labels = tf.cond(
                chance[1] < self.mixup, lambda: _mixup(*before, seed), lambda: before
            )
        return images, boxes, labels

    def _crop(self, images, boxes, labels, draw, size, count):
        """Draws a window of each image, mirrored, turned, scaled, into a canvas of the size; at
        most `count` boxes are kept."""
        import tensorflow as tf

        canvas = tf.constant(size, "float32")
        turned = (draw[:, 0] < 0.5) if self.rotate90 else None
        flipped = tf.stack([draw[:, 1] < self.vertical_flip, draw[:, 2] < self.horizontal_flip], 1)
        low, high = np.log(self.scale).astype("float32")
        zoom = tf.exp(low + (high - low) * draw[:, 3:4])
        extent = tf.cast(tf.shape(images)[1:3], "float32")
        if self.rotate90:
            # (B, 2) height, width of the turned image
            extent = tf.where(turned[:, None], extent[::-1], extent)
            boxes = tf.where(turned[:, None, None], tf.gather(boxes, [1, 0, 3, 2], axis=2), boxes)
        window = canvas / zoom
        corner = draw[:, 4:6] * (extent - window) + self.translate * (2 * draw[:, 6:8] - 1) * window
        images = _sample(images, corner, window, extent, turned, flipped, size)
        boxes = _move(boxes, corner[:, ::-1], zoom, flipped[:, ::-1], canvas[::-1])
        return images, *_keep_visible(boxes, labels, canvas[::-1], self.min_visible, count)


_share = partial(check_number, least=0, most=1)
_CHECKS = {
    **dict.fromkeys(("horizontal_flip", "vertical_flip", "mosaic", "mixup", "min_visible"), _share),
    "rotate90": check_flag,
    "scale": partial(check_numbers, count=2, above=0),
    "translate": partial(check_number, least=0),
    "color": partial(check_numbers, count=4, least=0),
}


def _sample(images, corner, window, extent, turned, flipped, size):
    """Resamples windows (corner and window (B, 2): y, x and height, width in pixels of the turned
    image) to the size.

    `turned` (B,) says which images are transposed; None if none are.
    """
    import tensorflow as tf

    # crop_and_resize takes the coordinates of the first and the last pixel's center, as shares of
    # the image's last index.
    first = (corner + window / tf.constant(size, "float32") / 2 - 0.5) / (extent - 1)
    last = (corner + window - window / tf.constant(size, "float32") / 2 - 0.5) / (extent - 1)
    first, last = tf.where(flipped, last, first), tf.where(flipped, first, last)
    windows = tf.concat([first, last], 1)
    if turned is None:
        return tf.image.crop_and_resize(
            images, windows, tf.range(tf.shape(images)[0]), size, extrapolation_value=FILL
        )
    straight, across = (tf.cast(tf.where(mask)[:, 0], "int32") for mask in (~turned, turned))
    upright = tf.image.crop_and_resize(
        images, tf.gather(windows, straight), straight, size, extrapolation_value=FILL
    )
    # X and y change places: the result is transposed.
    lying = tf.gather(tf.gather(windows, across), [1, 0, 3, 2], axis=1)
    lying = tf.image.crop_and_resize(images, lying, across, size[::-1], extrapolation_value=FILL)
    result = tf.dynamic_stitch([straight, across], [upright, tf.transpose(lying, (0, 2, 1, 3))])
    return tf.ensure_shape(result, (images.shape[0], *size, 3))


def _move(boxes, corner, zoom, flipped, canvas):
    """Boxes (B, M, 4) of the turned image -> of the canvas; corner, flipped and canvas in the order
    x, y."""
    import tensorflow as tf

    low, high = ((boxes[..., k : k + 2] - corner[:, None]) * zoom[:, None] for k in (0, 2))
    mirrored = flipped[:, None]
    low, high = tf.where(mirrored, canvas - high, low), tf.where(mirrored, canvas - low, high)
    return tf.concat([low, high], 2)


def _keep_visible(boxes, labels, canvas, min_visible, count):
    """Clips boxes to the canvas, drops those with too little left, and packs the rest into `count`
    places."""
    import tensorflow as tf

    clipped = tf.clip_by_value(boxes, 0.0, tf.tile(canvas, [2]))
    sides = clipped[..., 2:] - clipped[..., :2]
    visible, whole = tf.reduce_prod(sides, -1), tf.reduce_prod(boxes[..., 2:] - boxes[..., :2], -1)
    keep = (labels >= 0) & (visible >= min_visible * whole) & (tf.reduce_min(sides, -1) >= 1)
    return _pack(tf.where(keep[..., None], clipped, 0.0), tf.where(keep, labels, -1), count)


def _pack(boxes, labels, count):
    """Moves the valid boxes to the front, in their order, and cuts or pads to `count`."""
    import tensorflow as tf

    order = tf.argsort(tf.cast(labels < 0, "int32"), stable=True, axis=1)[:, :count]
    boxes, labels = tf.gather(boxes, order, batch_dims=1), tf.gather(labels, order, batch_dims=1)
    more = _at_least_zero(count - _count(labels))
    return tf.pad(boxes, ((0, 0), (0, more), (0, 0))), tf.pad(
        labels, ((0, 0), (0, more)), constant_values=-1
    )


def _count(objects):
    """The number of places for objects, as a plain int if the graph knows it."""
    import tensorflow as tf

    return objects.shape[1] if objects.shape[1] is not None else tf.shape(objects)[1]


def _at_least_zero(count):
    import tensorflow as tf

    return max(0, count) if isinstance(count, int) else tf.maximum(0, count)


def _mosaic(images, boxes, labels):
    """Four images of the batch side by side: (B, 2H, 2W, 3), boxes (B, 4M, 4), labels (B, 4M)."""
    import tensorflow as tf

    height, width = images.shape[1], images.shape[2]
    parts = [(tf.roll(images, k, 0), tf.roll(boxes, k, 0), tf.roll(labels, k, 0)) for k in range(4)]
    rows = [tf.concat([parts[k][0], parts[k + 1][0]], 2) for k in (0, 2)]
    places = [(0, 0), (width, 0), (0, height), (width, height)]
    boxes = [part[1] + tf.constant([x, y, x, y], "float32") for part, (x, y) in zip(parts, places)]
    return tf.concat(rows, 1), tf.concat(boxes, 1), tf.concat([part[2] for part in parts], 1)


def _mixup(images, boxes, labels, seed):
    """Each image blended with its neighbor in the batch, 35 to 65 %, with the boxes of both."""
    import tensorflow as tf

    share = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed + 2, 0.35, 0.65)
    mixed = share * images + (1 - share) * tf.roll(images, 1, 0)
    boxes, labels = (tf.concat([t, tf.roll(t, 1, 0)], 1) for t in (boxes, labels))
    return mixed, *_pack(boxes, labels, _count(labels) // 2)


def _color_change(draw, color):
    """A matrix (B, 3, 3) and an offset (B, 1, 3) per image; pixels are rows: changed = pixel @
    matrix + offset."""
    import tensorflow as tf

    brightness, contrast, saturation, hue = tf.unstack(
        (2 * draw - 1) * tf.constant(color, "float32"), axis=1
    )
    angle = 2 * np.pi * hue
    cos, sin, one, zero = tf.cos(angle), tf.sin(angle), tf.ones_like(angle), tf.zeros_like(angle)
    turn = tf.reshape(tf.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], 1), (-1, 3, 3))
    turn = np.linalg.inv(_YIQ).astype("float32") @ turn @ _YIQ
    gray = np.tile(_LUMA, (3, 1))
    saturation = (1 + saturation)[:, None, None]
    contrast = (1 + contrast)[:, None, None]
    matrix = contrast * (saturation * np.eye(3, dtype="float32") + (1 - saturation) * gray) @ turn
    offset = 255 * brightness[:, None, None] + 128 * (1 - contrast)
    return tf.linalg.matrix_transpose(matrix), tf.broadcast_to(offset, (tf.shape(draw)[0], 1, 3))


def recolor(images, draw, color):
    """Changes the colors of images `(B, H, W, 3)`, 0 to 255.

    Args:
        images: float32.
        draw: `(B, 4)`, 0 to 1, for brightness, contrast, saturation and hue; 0.5 changes nothing.
        color: the range of each, as in `Augment(color=)`.
    """
    import tensorflow as tf

    matrix, offset = _color_change(draw, color)
    # A product with a 3x3 matrix is slow; with up to 16 neighbors as one row and a block-diagonal
    # matrix it is 2.5 times faster.
    group = math.gcd(images.shape[2], 16)
    blocks = tf.reshape(
        tf.einsum("gh,bij->bgihj", tf.eye(group), matrix), (-1, 3 * group, 3 * group)
    )
    rows = tf.reshape(images, (tf.shape(images)[0], -1, 3 * group))
    changed = tf.clip_by_value(tf.matmul(rows, blocks) + tf.tile(offset, (1, 1, group)), 0.0, 255.0)
    return tf.ensure_shape(tf.reshape(changed, tf.shape(images)), images.shape)


AUGMENTATIONS = {
    "none": None,
    "color": Augment(horizontal_flip=0.0, scale=(1.0, 1.0), translate=0.0),
    "flip": Augment(),
    "dihedral": Augment(vertical_flip=0.5, rotate90=True),
    "mosaic": Augment(mosaic=0.5, scale=(0.6, 1.4)),
}
"""Augmentations by the names that the command line and `data.pipeline` take."""


def augmentation(augment):
    """A function of a batch, from itself or from a name of `AUGMENTATIONS`; `None` for none."""
    if isinstance(augment, str):
        return look_up(AUGMENTATIONS, augment, "augmentation")
    if augment is not None and not callable(augment):
        known = ", ".join(AUGMENTATIONS)
        raise refused(augment, "augment", f"a function such as `data.Augment()`, or one of {known}")
    return augment
