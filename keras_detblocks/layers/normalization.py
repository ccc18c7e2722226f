"""Normalization of images (in the graph, so that every exported file takes raw pixels) and of
features."""

import keras
import numpy as np
from keras import ops

from ..checks import check_choice, check_flags, check_int, check_number
from .folding import is_folded, statistics_are_kept
from .lean import Lean

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, for pixels of 0 to 255
IMAGENET_STD = (58.395, 57.12, 57.375)
# For nets trained from scratch: one number for all channels leaves no operator in exported files,
# and the gray margin of a letterboxed picture becomes zero.
PLAIN_MEAN, PLAIN_STD = 114.0, 58.0
NORMALIZATIONS = ("batch", "group", None)


@keras.saving.register_keras_serializable(package="keras_detblocks")
class ImageNormalization(keras.layers.Layer):
    """Maps raw pixels to `(image - mean) / std`, per channel.

    Args:
        mean, std: a number, or one per channel, in the units of the pixels (RGB, 0 to 255). The
            default is ImageNet's. For images without three channels the defaults become their
            averages over the channels.
        evaluation: a dict of plain values on how the weights are evaluated; it travels with the
            model and is not used here.

    Input and output shape `(B, H, W, C)`; integer images are cast to the compute dtype first.

    Raises:
        ValueError: if a number is not finite, a `std` not positive, or the channels do not match.

    >>> layer = ImageNormalization(mean=127.5, std=127.5)
    >>> float(layer(keras.ops.full((1, 1, 1, 3), 255.0))[0, 0, 0, 0])
    1.0
    """

    def __init__(self, mean=IMAGENET_MEAN, std=IMAGENET_STD, evaluation=None, **kwargs):
        # bfloat16 cannot hold integers above 256 exactly.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.mean = _numbers(mean, "mean")
        self.std = _numbers(std, "std", above=0)
        self.evaluation = evaluation

    def build(self, input_shape):
        self._channel_values(self.mean, input_shape[-1])
        self._channel_values(self.std, input_shape[-1])

    def call(self, images):
        images = ops.cast(images, "float32")
        channels = images.shape[-1]
        scale = [1.0 / s for s in self._channel_values(self.std, channels)]
        shift = [-m * s for m, s in zip(self._channel_values(self.mean, channels), scale)]
        return ops.cast(
            images * ops.array(scale, "float32") + ops.array(shift, "float32"), self.compute_dtype
        )

    def compute_output_shape(self, input_shape):
        return input_shape

    def _channel_values(self, values, channels):
        if len(values) in (1, channels):
            return values * channels if len(values) == 1 else values
        if values in (IMAGENET_MEAN, IMAGENET_STD):
            return (sum(values) / len(values),) * channels
        raise ValueError(
            f"Layer {self.name!r}: {len(values)} values for an image of {channels} channels; give "
            f"one per channel, or one number for all. Received: mean={self.mean}, std={self.std}"
        )

    def get_config(self):
        return {
            **super().get_config(),
            "mean": self.mean,
            "std": self.std,
            "evaluation": self.evaluation,
        }


def _numbers(value, name, **limits):
    """One number, or one per channel."""
    values = value.ravel() if isinstance(value, np.ndarray) else value
    values = values if isinstance(values, (tuple, list, np.ndarray)) else (value,)
    return tuple(check_number(each, name, **limits) for each in values)


@keras.saving.register_keras_serializable(package="keras_detblocks")
class BatchNormalization(Lean, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that trains with TensorFlow's fused operator: two to three
    times faster on CPU.

    Arguments (`axis`, `momentum`, `epsilon`, ...), variables and inference are the base class's. In
    training the moving variance uses the unbiased batch variance, as in PyTorch and cuDNN, over all
    replicas if statistics are synchronized. Masks, other precisions and other backends are left to
    the base class. In a `Detector` one that is frozen, or whose statistics are kept, is computed
    within the convolution before it.

    >>> tuple(BatchNormalization()(keras.ops.ones((2, 4, 4, 3)), training=True).shape)
    (2, 4, 4, 3)
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, *args, **kwargs):
        super().__init__(
            check_int(axis, "axis", least=None),
            check_number(momentum, "momentum", least=0, most=1),
            check_number(epsilon, "epsilon", least=0),
            *args,
            **check_flags(kwargs, "center", "scale", "renorm", "synchronized"),
        )

    def call(self, inputs, training=None, mask=None):
        if is_folded(self):
            return inputs
        training = training and not statistics_are_kept()
        if not (training and self.trainable and mask is None and self._fusible(inputs)):
            return super().call(inputs, training=training, mask=mask)
        if self.synchronized:
            return self._over_replicas(inputs)
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma if self.scale else tf.ones_like(self.moving_mean),
            offset=self.beta if self.center else tf.zeros_like(self.moving_mean),
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
            is_training=True,
        )
        self._move(mean, variance)
        return outputs

    def _move(self, mean, variance):
        """Updates the moving statistics with those of a batch."""
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1.0 - self.momentum))
        self.moving_variance.assign(
            self.moving_variance * self.momentum + variance * (1.0 - self.momentum)
        )

    def _over_replicas(self, inputs):
        """Does the work of the fused operator for the batch of all replicas."""
        import tensorflow as tf

        mean, variance = keras.ops.moments(inputs, (0, 1, 2), synchronized=True)
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], inputs.dtype)
        context = tf.distribute.get_replica_context()
        if context is not None:
            count = context.all_reduce(tf.distribute.ReduceOp.SUM, count)
        self._move(mean, variance * count / tf.maximum(count - 1.0, 1.0))
        return keras.ops.batch_normalization(
            inputs,
            mean,
            variance,
            axis=-1,
            offset=self.beta if self.center else None,
            scale=self.gamma if self.scale else None,
            epsilon=self.epsilon,
        )

    def _fusible(self, inputs):
        return (
            keras.backend.backend() == "tensorflow"
            and not getattr(self, "renorm", False)  # in Keras from 3.14 on
            and self.axis in (-1, 3)
            and len(inputs.shape) == 4
            and keras.backend.standardize_dtype(inputs.dtype) == "float32"
        )


def batch_norms(layer):
    """All batch normalizations of a layer or model."""
    return [
        each
        for each in layer._flatten_layers()
        if isinstance(each, keras.layers.BatchNormalization)
    ]


def normalization_layer(
    normalization, *, epsilon=1e-5, momentum=0.9, groups=32, name=None, dtype=None
):
    """Returns the Keras layer for a kind of feature normalization.

    Args:
        normalization: `"batch"` or `"group"`.
        epsilon: added to the variance. The default is PyTorch's, not Keras' 1e-3: pretrained
            weights depend on it.
        momentum: of batch normalization, in Keras' sense (0.9 is 0.1 in PyTorch).
        groups: of group normalization.
        name, dtype: of the layer.

    Raises:
        ValueError: if `normalization` is unknown, or a number out of range.
    """
    epsilon = check_number(epsilon, "epsilon", above=0)
    groups = check_int(groups, "groups")
    if check_choice(normalization, "normalization", ("batch", "group")) == "batch":
        return BatchNormalization(epsilon=epsilon, momentum=momentum, name=name, dtype=dtype)
    return keras.layers.GroupNormalization(groups=groups, epsilon=epsilon, name=name, dtype=dtype)


def check_group_width(filters, normalization, norm_groups, name="filters"):
    """Raises a `ValueError` unless the groups of a group normalization divide the channels."""
    if normalization == "group" and filters % norm_groups:
        raise ValueError(
            f"Group normalization has {norm_groups} groups: `{name}` must be divisible by "
            f"{norm_groups}, or give other `norm_groups`. Received: {name}={filters}"
        )


def check_norm_options(block, epsilon, momentum, norm_groups):
    """Checks the options of a block's normalization and sets them on it."""
    block.epsilon = check_number(epsilon, "epsilon", above=0)
    block.momentum = check_number(momentum, "momentum", least=0, most=1)
    block.norm_groups = check_int(norm_groups, "norm_groups")


def norm_options(block):
    """The options that `check_norm_options` set, as arguments of a `ConvNormAct` and as part of a
    config."""
    return {key: getattr(block, key) for key in ("epsilon", "momentum", "norm_groups")}
