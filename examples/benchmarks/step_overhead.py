"""What a step of `training.train` costs over a bare `train_on_batch`, and whether memory is flat.

    python examples/benchmarks/step_overhead.py --steps 500

Blocks of steps of a real run (pipeline, learning rate, losses, progress, checkpoints) and of
`train_on_batch` on the same model and a batch that is in memory take turns, so that what else the
machine does meets both alike. It prints the ratio of their median times and the process' memory
after each of 12 checkpoints.
"""

import argparse
import pathlib
import resource
import tempfile
import time

import numpy as np

BLOCK = 10


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args(arguments)
    import keras_detblocks as kdb
    from keras_detblocks.training import callbacks, state

    dataset = pictures(4 * options.batch, options.size)
    times, memory = {"train": [], "train_on_batch": []}, []
    end, save = callbacks.Budget.on_train_batch_end, state.Checkpoint.save

    def timed_end(budget, batch, logs=None):
        end(budget, batch, logs)
        if budget.step % BLOCK == 0:
            block(budget, dataset, options, times)

    def noted_save(checkpoint, model, progress):
        save(checkpoint, model, progress)
        memory.append((progress["step"], resident()))

    callbacks.Budget.on_train_batch_end, state.Checkpoint.save = timed_end, noted_save
    with tempfile.TemporaryDirectory() as folder:
        kdb.training.train(
            lambda: kdb.build_detector(
                dataset.class_names, (options.size, options.size), levels=(3, 4), filters=32
            ),
            dataset,
            None,
            pathlib.Path(folder) / "run",
            epochs=options.steps / 4,
            batch_size=options.batch,
            evaluations=6,
        )
    report(times, memory)


def block(budget, dataset, options, times):
    """The end of a block of the run: its time, and as many bare steps. The run's clock stands."""
    now = time.perf_counter()
    if budget.step > 3 * BLOCK and block.since is not None:
        times["train"].append((now - block.since) / BLOCK)
    with budget.paused():
        images, truth = block.batch or batch_of(dataset, options)
        block.batch = images, truth
        started = time.perf_counter()
        for _ in range(BLOCK):
            budget.model.train_on_batch(images, truth)
        if budget.step > 3 * BLOCK:
            times["train_on_batch"].append((time.perf_counter() - started) / BLOCK)
    # A milestone at this very step is no part of the next block.
    block.since = time.perf_counter() if budget.step % (options.steps // 12) >= BLOCK else None


block.since = block.batch = None


def batch_of(dataset, options):
    import keras_detblocks as kdb

    size = (options.size, options.size)
    return next(iter(kdb.data.pipeline(dataset, size, options.batch, training=True)))


def pictures(count, size):
    """A data set of noise with one object each, in memory as the pipeline keeps it."""
    import tensorflow as tf

    from keras_detblocks.data import Dataset, Record

    draw = np.random.default_rng(0)
    box = np.array([[10, 10, 60, 60]], "float32")
    one = np.zeros(1, "int32")
    records = [
        Record(f"{i}.png", size, size, box, one, one.astype(bool), box[:, 0] * 250, i)
        for i in range(count)
    ]
    dataset = Dataset(records, ("thing",), (1,))
    images = draw.integers(0, 255, (count, size, size, 3)).astype("uint8")
    dataset.decoded[(size, size), "letterbox"] = tf.constant(images), np.ones(count, bool)
    return dataset


def resident():
    """Megabytes of this process: what it holds, or where that is not told the most it held."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1024**2
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(times, memory):
    medians = {name: 1000 * float(np.median(values)) for name, values in times.items()}
    ratios = [a / b for a, b in zip(times["train"], times["train_on_batch"])]
    print(
        f"train {medians['train']:.2f} ms per step, train_on_batch {medians['train_on_batch']:.2f} "
        f"ms: {medians['train'] / medians['train_on_batch']:.3f} times; the middle of "
        f"{len(ratios)} pairs of blocks {np.median(ratios):.3f}"
    )
    print("MB after each checkpoint:", ", ".join(f"{step}: {mb:.0f}" for step, mb in memory))


if __name__ == "__main__":
    main()
