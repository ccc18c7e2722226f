"""Measures a training step of RegNetY-800MF, batch 16 at 224: ours, the same net in plain `tf.nn`
operators, and timm on PyTorch.

    python examples/benchmarks/regnet_step.py

A step is forward, gradients and a plain gradient-descent update. The steps take turns, so that
other work on the machine affects all of them equally; it prints medians, and the median of the
ratios to the plain step of the same turn. Takes about a minute; `--smoke` is one tiny step each.

PyTorch is not a dependency of this package: without it the last row is left out. To get it, in a
separate environment:

    pip install . torch timm
"""

import argparse
import os
import time

# Before TensorFlow: without oneDNN the plain net has no gradient on CPU.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
import tensorflow as tf

import keras_detblocks as kdb
from keras_detblocks.backbones.regnet import VARIANTS

RATE = 1e-4
SMALL = kdb.AnyNetSpec((1, 1), (16, 24), (1, 1), (8, 8), se_ratio=0.25, stem_width=8)


def loss_of(labels, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def step_of(forward, variables, images, labels):
    """A training step as a TensorFlow function without arguments."""

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = loss_of(labels, forward(images))
        for variable, gradient in zip(variables, tape.gradient(loss, variables)):
            variable.assign_sub(RATE * gradient)
        return loss

    return lambda: float(step())


def ours(spec, images, labels):
    model = kdb.AnyNet(
        spec, input_shape=images.shape[1:], classifier_activation=None, include_preprocessing=False
    )
    return step_of(
        lambda x: model(x, training=True),
        [v.value for v in model.trainable_variables],
        images,
        labels,
    )


class Plain:
    """The net of an `AnyNetSpec` made only of `tf.nn` operators and variables, which are named as
    in our model."""

    def __init__(self, spec, classes=1000):
        self.spec, self.classes, self.made = spec, classes, {}

    @property
    def variables(self):
        return [variable for variable in self.made.values() if variable.trainable]

    def variable(self, name, value, trainable=True):
        if name not in self.made:
            self.made[name] = tf.Variable(value, trainable=trainable, name=name)
        return self.made[name]

    def conv(self, x, name, filters, kernel=1, stride=1, groups=1):
        shape = (kernel, kernel, x.shape[-1] // groups, filters)
        deviation = (2.0 / (kernel * kernel * filters)) ** 0.5
        weights = self.variable(f"{name}/kernel", lambda: tf.random.normal(shape, stddev=deviation))
        if kernel == 3 and stride == 2:
            x = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return tf.nn.conv2d(x, weights, stride, "VALID" if stride == 2 or kernel == 1 else "SAME")

    def unit(self, x, name, filters, kernel=1, stride=1, groups=1, relu=True):
        x = self.conv(x, f"{name}_conv", filters, kernel, stride, groups)
        gamma = self.variable(f"{name}_bn/gamma", lambda: tf.ones(filters))
        beta = self.variable(f"{name}_bn/beta", lambda: tf.zeros(filters))
        x, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-5)
        for kind, new in (("mean", mean), ("variance", variance)):
            moving = self.variable(
                f"{name}_bn/moving_{kind}", lambda: tf.zeros(filters), trainable=False
            )
            moving.assign(0.9 * moving + 0.1 * new)
        return tf.nn.relu(x) if relu else x

    def squeeze(self, x, name, width):
        s = tf.reduce_mean(x, (1, 2), keepdims=True)
        for layer, filters, activation in (
            ("fc1", width, tf.nn.relu),
            ("fc2", x.shape[-1], tf.nn.sigmoid),
        ):
            s = self.conv(s, f"{name}/{layer}", filters)
            s = activation(
                tf.nn.bias_add(s, self.variable(f"{name}/{layer}/bias", tf.zeros((filters,))))
            )
        return x * s

    def block(self, x, name, width, inner, groups, se_width, stride):
        shortcut = (
            x if stride == 1 else self.unit(x, f"{name}_downsample", width, 1, stride, relu=False)
        )
        y = self.unit(x, f"{name}_conv1", inner)
        y = self.unit(y, f"{name}_conv2", inner, 3, stride, groups)
        if se_width:
            y = self.squeeze(y, f"{name}_se", se_width)
        return tf.nn.relu(shortcut + self.unit(y, f"{name}_conv3", width, relu=False))

    def __call__(self, x):
        spec = self.spec
        x = self.unit(x, "stem", spec.stem_width, 3, 2)
        for stage, depth in enumerate(spec.depths):
            width, inner, group_width = (
                spec.widths[stage],
                spec.inner_widths[stage],
                spec.group_widths[stage],
            )
            for number in range(depth):
                name, se_width = f"s{stage + 1}_b{number + 1}", round(spec.se_ratio * x.shape[-1])
                x = self.block(
                    x, name, width, inner, inner // group_width, se_width, 1 if number else 2
                )
        x = tf.reduce_mean(x, (1, 2))
        kernel = self.variable(
            "predictions/kernel", lambda: tf.random.normal((x.shape[-1], self.classes), stddev=0.01)
        )
        return x @ kernel + self.variable("predictions/bias", tf.zeros((self.classes,)))


def plain(spec, images, labels):
    net = Plain(spec)
    net(images[:1])  # makes the variables
    return step_of(net, net.variables, images, labels)


def on_pytorch(images, labels):
    """The step of timm's `regnety_008` in channels-last order, or None without PyTorch."""
    try:
        import timm
        import torch
    except ImportError:
        print(
            "timm on PyTorch is left out: `pip install . torch timm` in a separate environment "
            "adds it."
        )
        return None

    torch.set_num_threads(
        tf.config.threading.get_intra_op_parallelism_threads() or torch.get_num_threads()
    )
    model = timm.create_model("regnety_008").train().to(memory_format=torch.channels_last)
    x = torch.from_numpy(images.numpy().transpose(0, 3, 1, 2).copy()).to(
        memory_format=torch.channels_last
    )
    target = torch.from_numpy(labels.numpy()).long()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def take_turns(steps, repeats):
    """The milliseconds of each call, by name, after two calls to warm up; the steps run one after
    the other, `repeats` times."""
    times = {name: [] for name in steps}
    for turn in range(repeats + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn > 1:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--smoke", action="store_true", help="batch 2 at 32, one step, ours of two blocks"
    )
    parser.add_argument("--repeats", type=int, default=15, help="steps of each")
    options = parser.parse_args(arguments)
    batch, side, repeats = (2, 32, 1) if options.smoke else (16, 224, options.repeats)
    images = tf.random.stateless_normal((batch, side, side, 3), (0, 1))
    labels = tf.range(batch) * 7
    spec = SMALL if options.smoke else VARIANTS["regnety_008"].to_anynet()
    steps = {"plain tf.nn": plain(spec, images, labels), "ours": ours(spec, images, labels)}
    if step := on_pytorch(images, labels):
        steps["timm, PyTorch"] = step
    times = take_turns(steps, repeats)
    print(
        f"training step, batch {batch} at {side}x{side}, median of {repeats} (least), over plain "
        f"tf.nn in the same turn"
    )
    ratios = {
        name: float(np.median(np.divide(t, times["plain tf.nn"]))) for name, t in times.items()
    }
    for name, t in times.items():
        print(f"{name:16}{np.median(t):9.0f} ms ({min(t):.0f}){ratios[name]:8.3f}")
    return ratios


if __name__ == "__main__":
    main()
