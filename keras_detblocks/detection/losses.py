"""Losses of an anchor-free detector, per image, so that any number of replicas agree."""

import keras
from keras import ops

from .assign import task_aligned
from .boxes import ciou, distances_to_boxes, giou

BOX_LOSSES = {"giou": giou, "ciou": ciou}
CLASSIFICATION_LOSSES = ("quality_focal", "varifocal", "focal")


def quality_focal_loss(logits, targets, beta=2.0):
    """Quality focal loss (https://arxiv.org/abs/2006.04388), elementwise: `|target - p| ** beta *
    cross_entropy`.

    `targets` from 0 to 1 are the desired scores (an IoU, for the object's class), in the shape of
    `logits`.
    """
    return ops.abs(targets - ops.sigmoid(logits)) ** beta * _cross_entropy(logits, targets)


def varifocal_loss(logits, targets, alpha=0.75, gamma=2.0):
    """Varifocal loss (https://arxiv.org/abs/2008.13367), elementwise: positives count by their
    quality, negatives by their score.

    `targets` are the desired scores (an IoU, for the object's class), 0 for the background, in the
    shape of `logits`.
    """
    weights = ops.where(targets > 0.0, targets, alpha * ops.sigmoid(logits) ** gamma)
    return ops.stop_gradient(weights) * _cross_entropy(logits, targets)


def focal_loss(logits, targets, alpha=0.25, gamma=2.0):
    """Focal loss (https://arxiv.org/abs/1708.02002), elementwise, for targets of 0 and 1."""
    p = ops.sigmoid(logits)
    p_true = ops.where(targets > 0.5, p, 1.0 - p)
    return (
        ops.where(targets > 0.5, alpha, 1.0 - alpha)
        * (1.0 - p_true) ** gamma
        * _cross_entropy(logits, targets)
    )


def _cross_entropy(logits, targets):
    return ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def detection_losses(
    logits, distances, points, strides, truth, box_loss="giou", classification_loss="quality_focal"
):
    """Computes the losses per image, and the weights to divide them by.

    Args:
        logits: `(B, N, C)`. distances: `(B, N, 4)`, in strides. points, strides: `(N, 2)`.
        truth: `{"boxes": (B, M, 4), "labels": (B, M)}`, labels -1 where padded; images without
            objects are allowed.
        box_loss: `"giou"` or `"ciou"`. classification_loss: `"quality_focal"`, `"varifocal"` or
            `"focal"`.

    Returns:
        `(classification, box, weight)`, each `(B,)`: sums over the points of each image, and the
        sum of the qualities of its positive points. A batch's loss is the sum of the losses over
        the sum of the weights of the whole (global) batch.
    """
    boxes = distances_to_boxes(distances, points, strides)
    found = task_aligned(
        ops.stop_gradient(ops.sigmoid(logits)),
        ops.stop_gradient(boxes),
        points,
        strides,
        truth["boxes"],
        truth["labels"],
    )
    one_hot = ops.one_hot(found["labels"], logits.shape[-1], dtype=logits.dtype)  # zeros for -1
    quality = ops.stop_gradient(found["quality"])
    if classification_loss == "focal":
        classification = focal_loss(logits, one_hot)
    else:
        loss = {"varifocal": varifocal_loss, "quality_focal": quality_focal_loss}[
            classification_loss
        ]
        classification = loss(logits, one_hot * ops.expand_dims(quality, -1))
    positive = ops.cast(found["labels"] >= 0, logits.dtype)
    weight = positive if classification_loss == "focal" else quality
    box = (1.0 - BOX_LOSSES[box_loss](boxes, found["boxes"])) * weight
    # Background points have an arbitrary target box; where() removes its gradient, while a product
    # with 0 would keep its NaN.
    box = ops.where(positive > 0, box, 0.0)
    return ops.sum(classification, axis=(1, 2)), ops.sum(box, axis=1), ops.sum(weight, axis=1)


@keras.saving.register_keras_serializable(package="keras_detblocks")
class PerImageLoss(keras.losses.Loss):
    """Averages losses that are already given per image; Keras then scales them for the replicas of
    a strategy."""

    def call(self, y_true, y_pred):
        return y_pred


def over_replicas(value):
    """The sum of a scalar tensor over the replicas of the running `tf.distribute` strategy; the
    tensor itself outside one."""
    if keras.backend.backend() != "tensorflow":
        return value
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
