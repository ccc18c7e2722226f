"""Milliseconds of a training step of the default detector on a CPU: as runs begin, with batch
normalizations that keep their statistics or are frozen, and with convolutions in bfloat16 as well.

    python examples/benchmarks/detector_step.py

They take turns in one process, on one batch of random pictures, without pipeline and
augmentation. Processors without AMX or AVX-512 BF16 gain nothing from bfloat16.
"""

import argparse
import statistics
import time

import numpy as np

import keras_detblocks as kdb
from keras_detblocks.training.recipe import make_training_step

KINDS = {  # row: (frozen parts, whether statistics are kept, precision)
    "batches' statistics": ((), False, "float32"),
    "statistics kept": ((), True, "float32"),
    "kept, convolutions in bfloat16": ((), True, "bfloat16_conv"),
    "normalizations frozen": (("batch_norm",), False, "float32"),
    "frozen, convolutions in bfloat16": (("batch_norm",), False, "bfloat16_conv"),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="of a turn")
    options = parser.parse_args(arguments)
    steps = {name: step(options, *kind) for name, kind in KINDS.items()}
    times = {name: [] for name in steps}
    for turn in range(options.turns + 1):
        for name, run in steps.items():
            taken = [timed(run) for _ in range(options.steps)]
            times[name] += taken if turn else []  # the first ones compile
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"{options.batch} pictures of {options.size}x{options.size}, {kdb.export.cpu_features()}")
    for name, median in medians.items():
        print(f"{name:34}{median:8.0f} ms  {median / medians[next(iter(KINDS))]:.2f}")
    return medians


def step(options, frozen, kept, precision):
    """A function that makes one training step."""
    import tensorflow as tf

    detector = kdb.build_detector(["a", "b", "c"], (options.size, options.size))
    kdb.start_weights(detector)
    detector.freeze(*frozen)
    kdb.training.compile_detector(detector)
    detector.optimizer.build(detector.trainable_variables)
    make_training_step(detector, precision, kept)
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
