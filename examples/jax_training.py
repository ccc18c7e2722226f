"""Training on JAX for the examples that need a GPU for minutes: data, augmentation, Muon and
averages in one jitted step.

Pictures are stored on the device; a step takes a batch at random, changes it, and updates the
weights. Muon is `kdb.ConvMuon`, with the matrices of all kernels stacked: hundreds of small
products become a few.
"""

import math
import os
import re
from dataclasses import dataclass

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np
from jax import numpy as jnp

from keras_detblocks.detection.decode import flatten
from keras_detblocks.detection.losses import detection_losses
from keras_detblocks.images.letterbox import Letterbox, letterbox
from keras_detblocks.images.read import read_image
from keras_detblocks.optimizers import conv_groups
from keras_detblocks.training.coco_ap import coco_ap
from keras_detblocks.training.recipe import PREDICTORS

GRAY = 114.0


@dataclass(frozen=True)
class Change:
    """Random changes of a batch on the GPU; the defaults are for pretraining."""

    scale: tuple = (0.5, 1.5)
    horizontal_flip: bool = True
    vertical_flip: bool = True
    turn: bool = True
    colors: bool = True  # channels in another order, sometimes gray
    gain: float = 0.25
    mosaic: bool = False  # whether there are pictures of four; the step's controls say how many


def changed(key, images, boxes, labels, change, mosaics=0.0):
    """A batch randomly mirrored, turned, scaled, shifted and recolored; a share `mosaics` of it
    consists of pictures made of four."""
    batch, size = images.shape[0], images.shape[1]
    keys = jax.random.split(key, 9)
    images = images.astype("float32")
    larger = jnp.ones((batch, 1))
    if change.mosaic:
        mosaic_keys = jax.random.split(jax.random.fold_in(key, 1), 3)
        four = jax.random.bernoulli(mosaic_keys[0], mosaics, (batch,))
        images, boxes, labels = mosaic(mosaic_keys[1], four, images, boxes, labels)
        enlarged = jax.random.uniform(mosaic_keys[2], (batch, 1), minval=1.0, maxval=2.0)
        larger = jnp.where(four[:, None], enlarged, larger)

    def coin(k, p=0.5):
        return jax.random.bernoulli(keys[k], p, (batch,))

    if change.horizontal_flip:
        images, boxes = mirrored(coin(0), images, boxes, 0)
    if change.vertical_flip:
        images, boxes = mirrored(coin(1), images, boxes, 1)
    if change.turn:
        turn = coin(2)
        images = chosen(turn, images.transpose(0, 2, 1, 3), images)
        boxes = chosen(turn, boxes[..., jnp.array([1, 0, 3, 2])], boxes)
    low, high = np.log(change.scale)
    zoom = larger * jnp.exp(jax.random.uniform(keys[3], (batch, 1), minval=low, maxval=high))
    shift = jax.random.uniform(keys[4], (batch, 2), minval=-0.1, maxval=1.1) * size * (1 - zoom)

    def resample(image, zoom, shift):
        return jax.image.scale_and_translate(
            image - GRAY, image.shape, (0, 1), jnp.repeat(zoom, 2), shift[::-1], "linear"
        )

    images = jax.vmap(resample)(images, zoom, shift) + GRAY
    boxes = boxes * zoom[:, :, None] + jnp.tile(shift, (1, 2))[:, None]
    clipped = jnp.clip(boxes, 0, size)
    sides, whole = clipped[..., 2:] - clipped[..., :2], boxes[..., 2:] - boxes[..., :2]
    seen = (sides.prod(-1) >= 0.3 * whole.prod(-1)) & (sides.min(-1) >= 4)
    labels = jnp.where(seen, labels, -1)
    boxes = jnp.where((labels >= 0)[..., None], clipped, 0.0)
    return recolored(keys[5:], images, change), boxes, labels


def mosaic(key, mask, images, boxes, labels):
    """Replaces the pictures of the mask by mosaics with three others of the batch, each at half
    size."""
    batch, size, _, channels = images.shape
    halves = images.reshape(batch, size // 2, 2, size // 2, 2, channels).mean((2, 4))
    orders = [
        jnp.arange(batch),
        *(jax.random.permutation(k, batch) for k in jax.random.split(key, 3)),
    ]
    rows = [jnp.concatenate([halves[orders[i]], halves[orders[i + 1]]], 2) for i in (0, 2)]
    corners = size / 2 * jnp.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32")
    four = [boxes[order] / 2 + jnp.tile(corner, 2) for order, corner in zip(orders, corners)]
    alone = jnp.concatenate([boxes, *(jnp.zeros_like(boxes),) * 3], 1)
    no_labels = jnp.concatenate([labels, *(jnp.full_like(labels, -1),) * 3], 1)
    return (
        chosen(mask, jnp.concatenate(rows, 1), images),
        chosen(mask, jnp.concatenate(four, 1), alone),
        chosen(mask, jnp.concatenate([labels[order] for order in orders], 1), no_labels),
    )


def chosen(mask, a, b):
    """Takes `a` for each picture in the mask, else `b`."""
    return jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)


def mirrored(mask, images, boxes, axis):
    """Mirrors the pictures of the mask, left to right (axis 0) or upside down (axis 1)."""
    size, low, high = images.shape[1], boxes[..., axis], boxes[..., axis + 2]
    other = boxes.at[..., axis].set(size - high).at[..., axis + 2].set(size - low)
    return chosen(mask, jnp.flip(images, 2 - axis), images), chosen(mask, other, boxes)


def recolored(keys, images, change):
    batch = images.shape[0]
    gain = 1 + change.gain * jax.random.uniform(keys[0], (batch, 1, 1, 1), minval=-1, maxval=1)
    offset = 40 * change.gain * jax.random.normal(keys[1], (batch, 1, 1, 3))
    if change.colors:
        orders = jnp.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
        order = orders[jax.random.randint(keys[2], (batch,), 0, 6)]
        images = jnp.take_along_axis(images, order[:, None, None, :], 3)
        gray = jax.random.bernoulli(keys[3], 0.1, (batch, 1, 1, 1))
        images = jnp.where(gray, images.mean(-1, keepdims=True), images)
    return jnp.clip((images - 128) * gain + 128 + offset, 0, 255)


def plain_loss(model, outputs, boxes, labels, size):
    """The detector's own loss, as in `fit`."""

    classes, box, weight = detection_losses(
        *flatten(outputs, (size, size)), {"boxes": boxes, "labels": labels}
    )
    return (classes.sum() + 2.0 * box.sum()) / jnp.maximum(weight.sum(), 1.0)


class Muon:
    """`kdb.ConvMuon` as functions of arrays: `init()` and `apply(weights, gradients, state, rate,
    step)`.

    Kernels take orthogonalized steps, everything else and the head's predictors AdamW's; without
    `kernels` all take AdamW's. `rate` is a number, or a list with one for each variable.
    """

    A, B, C, STEPS, MOMENTUM, RMS = 3.4445, -4.7750, 2.0315, 5, 0.95, 0.2
    BETAS, EPSILON = (0.9, 0.999), 1e-7

    def __init__(self, model, weight_decay=0.02, clip=10.0, kernels=True):
        self.weight_decay, self.clip = weight_decay, clip
        groups = conv_groups(model)
        self.shapes = [tuple(v.shape) for v in model.trainable_variables]
        self.stacks, self.groups = {}, {}
        for i, variable in enumerate(model.trainable_variables):
            if kernels and len(variable.shape) == 4 and not re.search(PREDICTORS, variable.path):
                self.groups[i] = groups.get(variable.path, 1)
                self.stacks.setdefault(self._padded(i), []).append(i)

    def _sides(self, i):
        return math.prod(self.shapes[i][:-1]), self.shapes[i][-1] // self.groups[i]

    def _padded(self, i):
        """The sides that a kernel's matrices are padded to, so that few stacks hold all."""
        low, high = sorted(self._sides(i))
        up = [next((n for n in (16, 64, 192, 576) if n >= side), side) for side in (low, high)]
        return tuple(up)

    def init(self):
        """Returns the momenta, and AdamW's velocities."""
        zeros = [jnp.zeros(shape) for shape in self.shapes]
        return zeros, [z for i, z in enumerate(zeros) if i not in self.groups]

    def apply(self, weights, gradients, state, rate, step):
        momenta, velocities = state
        rates = rate if isinstance(rate, list) else [rate] * len(weights)
        norm = jnp.sqrt(sum((g**2).sum() for g in gradients))
        factor = jnp.minimum(1.0, self.clip / (norm + 1e-12))
        gradients = [g * factor for g in gradients]
        weights = [
            w * (1 - r * self.weight_decay) if w.ndim > 1 else w for w, r in zip(weights, rates)
        ]
        momenta = [
            m + (g - m) * (1 - (self.MOMENTUM if i in self.groups else self.BETAS[0]))
            for i, (m, g) in enumerate(zip(momenta, gradients))
        ]
        updates = self._orthogonal(gradients, momenta)
        bias = jnp.sqrt(1 - self.BETAS[1] ** (step + 1)) / (1 - self.BETAS[0] ** (step + 1))
        plain = [i for i in range(len(weights)) if i not in self.groups]
        velocities = [
            v + (gradients[i] ** 2 - v) * (1 - self.BETAS[1]) for i, v in zip(plain, velocities)
        ]
        for i, v in zip(plain, velocities):
            weights[i] = weights[i] - rates[i] * bias * momenta[i] / (jnp.sqrt(v) + self.EPSILON)
        for i, update in updates.items():
            weights[i] = weights[i] - rates[i] * self.RMS * max(self._sides(i)) ** 0.5 * update
        return weights, (momenta, velocities)

    def _orthogonal(self, gradients, momenta):
        """Returns kernel's number -> its update, in the kernel's shape."""
        updates = {}
        for (low, high), members in self.stacks.items():
            parts = []
            for i in members:
                direction = gradients[i] * (1 - self.MOMENTUM) + momenta[i] * self.MOMENTUM
                rows, columns = self._sides(i)
                x = direction.reshape(rows, self.groups[i], columns).transpose(1, 0, 2)
                x = x if rows <= columns else x.transpose(0, 2, 1)
                parts.append(jnp.pad(x, ((0, 0), (0, low - x.shape[1]), (0, high - x.shape[2]))))
            x = self._newton_schulz(jnp.concatenate(parts))
            at = 0
            for i in members:
                rows, columns = self._sides(i)
                part = x[at : at + self.groups[i], : min(rows, columns), : max(rows, columns)]
                part = part if rows <= columns else part.transpose(0, 2, 1)
                updates[i] = part.transpose(1, 0, 2).reshape(self.shapes[i])
                at += self.groups[i]
        return updates

    def _newton_schulz(self, x):
        x = x / (jnp.sqrt((x**2).sum((1, 2), keepdims=True)) + 1e-7)

        def step(_, x):
            gram = x @ x.transpose(0, 2, 1)
            return self.A * x + (self.B * gram + self.C * gram @ gram) @ x

        return jax.lax.fori_loop(0, self.STEPS, step, x)


class Training:
    """The state of a training on the device and its jitted step.

    Weights and normalization statistics are averaged with a momentum that ramps up, `average * (1
    - exp(-step / tau))`.

    Args:
        model: a `Detector` of static square size.
        batch: pictures per step.
        change: a `Change`.
        loss: of `(model, outputs, boxes, labels, size)`.
        kernels: whether kernels take Muon's steps; else all take AdamW's.

    `step(state, ring, filled, key, controls)` takes a batch of the first `filled` pictures of the
    ring; `controls` are the learning rate, or those of the backbone and of the rest and the share
    of mosaics. It returns the next state and the loss.
    """

    def __init__(
        self, model, batch, change, loss=plain_loss, average=0.998, tau=300.0, kernels=True
    ):
        self.model, self.optimizer = model, Muon(model, kernels=kernels)
        self.reset()
        size = model.image_size[0]
        backbone = {id(v) for v in model.backbone.trainable_variables}
        parts = [0 if id(v) in backbone else 1 for v in model.trainable_variables]

        def step(state, ring, filled, key, controls):
            controls = controls if jnp.ndim(controls) else jnp.stack([controls, controls, 0.0])
            rate = [controls[part] for part in parts]
            key, pick = jax.random.split(key)
            taken = jax.random.randint(pick, (batch,), 0, filled)
            batch_of = (array[taken] for array in ring)
            images, boxes, labels = changed(key, *batch_of, change, controls[2])

            def loss_of(weights):
                outputs, others = model.stateless_call(
                    weights, state["others"], images, training=True
                )
                return loss(model, outputs, boxes, labels, size), others

            (value, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(state["weights"])
            weights, moments = self.optimizer.apply(
                state["weights"], gradients, state["optimizer"], rate, state["step"]
            )
            share = average * (1 - jnp.exp(-state["step"] / tau))
            mean = jax.tree.map(
                lambda m, v: _averaged(m, v, share), state["mean"], (weights, others)
            )
            new = {"weights": weights, "others": others, "optimizer": moments, "mean": mean}
            return {**new, "step": state["step"] + 1}, value

        self.step = jax.jit(step, donate_argnums=0)

    def reset(self):
        """Starts over from the weights that the model has."""
        held = {
            "weights": [v.value for v in self.model.trainable_variables],
            "others": [v.value for v in self.model.non_trainable_variables],
            "optimizer": self.optimizer.init(),
        }
        held["mean"] = (held["weights"], held["others"])
        held = jax.tree.map(lambda array: jnp.array(array, copy=True), held)  # steps donate it
        self.state = {**held, "step": jnp.zeros((), "float32")}

    def assign(self):
        """Puts the averaged weights into the model."""
        weights, others = self.state["mean"]
        for variable, value in zip(self.model.trainable_variables, weights):
            variable.assign(value)
        for variable, value in zip(self.model.non_trainable_variables, others):
            variable.assign(value)


def _averaged(mean, value, share):
    return (
        share * mean + (1 - share) * value if jnp.issubdtype(value.dtype, jnp.floating) else value
    )


def make_predict(model, classes=slice(None)):
    """A jitted function from `(weights, others, images)` to detections, of some of the classes."""

    @jax.jit
    def predict(weights, others, images):
        outputs, _ = model.stateless_call(weights, others, images, training=False)
        some = {k: v[..., classes] if k.endswith("logits") else v for k, v in outputs.items()}
        return model.postprocess(some, model.image_size)

    return predict


def detections(predict, state, images, batch):
    """Returns dicts of `boxes`, `scores` and `labels`, one per picture (in pixels of the net's
    input)."""
    found = []
    for first in range(0, len(images), batch):
        part = images[first : first + batch]
        padded = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), part.dtype)])
        result = {k: np.asarray(v) for k, v in predict(*state["mean"], padded).items()}
        for i in range(len(part)):
            kept = slice(0, int(result["count"][i]))
            found.append({k: result[k][i][kept] for k in ("boxes", "scores", "labels")})
    return found


def as_dataset(boxes, labels, size, class_names):
    """Held-out pictures as a `Dataset`, for COCO AP."""
    from keras_detblocks.data import Dataset, Record

    records = []
    for i, (b, y) in enumerate(zip(boxes, labels)):
        b, y = b[y >= 0], y[y >= 0]
        areas, crowd = (b[:, 2:] - b[:, :2]).prod(1), np.zeros(len(y), bool)
        records.append(Record("", size, size, b, y, crowd, areas, i))
    return Dataset(records, tuple(class_names), tuple(range(1, len(class_names) + 1)))


def trained(training, ring, filled, steps, controls, seed):
    """Trains from the weights that the model has; returns the last loss. `controls` is a function
    of the step: see `Training`."""
    training.reset()
    key = jax.random.key(seed)
    for step in range(steps):
        key, once = jax.random.split(key)
        training.state, loss = training.step(training.state, ring, filled, once, controls(step))
    return float(loss)


def arrays(dataset, size):
    """A data set on the device: letterboxed pictures, boxes and labels padded with -1."""
    images = np.stack([letterbox(read_image(r.path), size)[0] for r in dataset.records])
    boxes = np.zeros((len(images), dataset.max_boxes, 4), "float32")
    labels = np.full(boxes.shape[:2], -1, "int32")
    for i, r in enumerate(dataset.records):
        kept = Letterbox.fit((r.height, r.width), size).to_letterboxed(r.boxes[~r.crowd])
        boxes[i, : len(kept)], labels[i, : len(kept)] = kept, r.labels[~r.crowd]
    return [jax.device_put(array) for array in (images, boxes, labels)]


def judged(predict, state, test, test_set, size, batch=16):
    """COCO AP on a data set, whose `arrays` are `test`."""
    found = detections(predict, state, np.asarray(test[0]), batch)
    for each, r in zip(found, test_set.records):
        each["boxes"] = Letterbox.fit((r.height, r.width), size).to_original(each["boxes"])
    return coco_ap(test_set, found)
