"""Milliseconds of a training step of the default detector on a CPU: as it is, with all batch
normalizations frozen, and with the convolutions in bfloat16 as well.

    python examples/benchmarks/detector_step.py

The three take turns in one process, on one batch of random pictures, without pipeline and
augmentation. Processors without AMX or AVX-512 BF16 gain nothing from bfloat16.
"""

import argparse
import contextlib
import statistics
import time

import numpy as np

import keras_detblocks as kdb
from keras_detblocks.training.recipe import training_steps

KINDS = {  # row: (frozen parts, precision)
    "all learn": ((), "float32"),
    "batch normalizations frozen": (("batch_norm",), "float32"),
    "and convolutions in bfloat16": (("batch_norm",), "bfloat16_conv"),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="of a turn")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        steps = {name: step(stack, options, *kind) for name, kind in KINDS.items()}
        times = {name: [] for name in steps}
        for turn in range(options.turns + 1):
            for name, run in steps.items():
                taken = [timed(run) for _ in range(options.steps)]
                times[name] += taken if turn else []  # the first ones compile
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"{options.batch} pictures of {options.size}x{options.size}, {kdb.export.cpu_features()}")
    for name, median in medians.items():
        print(f"{name:30}{median:8.0f} ms  {median / medians['all learn']:.2f}")
    return medians


def step(stack, options, frozen, precision):
    """A function that makes one training step."""
    import tensorflow as tf

    detector = kdb.build_detector(["a", "b", "c"], (options.size, options.size))
    kdb.start_weights(detector)
    detector.freeze(*frozen)
    kdb.training.compile_detector(detector)
    detector.optimizer.build(detector.trainable_variables)
    detector.make_train_function()
    stack.enter_context(training_steps(detector, precision))
    batches = iter(tf.data.Dataset.from_tensors(batch(options.batch, options.size)).repeat())
    return lambda: detector.train_function(batches)


def batch(count, size, objects=15, most=32):
    """Random pictures with their objects."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.7 * size, (count, most, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.06, 0.25, corners.shape) * size], -1)
    labels = np.where(np.arange(most) < objects, rng.integers(0, 3, (count, most)), -1)
    images = rng.uniform(0, 255, (count, size, size, 3)).astype("float32")
    return images, {"boxes": boxes.astype("float32"), "labels": labels.astype("int32")}


def timed(run):
    """Milliseconds."""
    since = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - since)


if __name__ == "__main__":
    main()
