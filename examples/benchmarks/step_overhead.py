"""What a step of `training.train` costs over a bare `train_on_batch`, and whether memory is flat.

    python examples/benchmarks/step_overhead.py --steps 500
    python examples/benchmarks/step_overhead.py --steps 120 --size 320 --block 3

Blocks of steps of a real run (pipeline, learning rate, losses, progress, checkpoints), of
`train_on_batch` on a batch that is in memory, and of `train_on_batch` on the batches of the same
pipeline take turns on one model, so that what else the machine does meets all alike. It prints the
ratios, the run to each, and the process' memory after each of 12 checkpoints. The run over the
second is the loop's own cost, the second over the first that of the pipeline, where it computes on
the cores of the step. Below 320 px the detector is a small one, of two levels.
"""

import argparse
import pathlib
import resource
import tempfile
import time

import numpy as np

KINDS = ("train", "train_on_batch", "train_on_batch with pipeline")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--block", type=int, default=10)
    parser.add_argument("--augment", choices=("none", "flip", "dihedral", "mosaic"), default="flip")
    options = parser.parse_args(arguments)
    import keras_detblocks as kdb
    from keras_detblocks.training import callbacks, state

    dataset = pictures(4 * options.batch, options.size)
    turns, memory = Turns(dataset, options), []
    end, save = callbacks.Milestones.on_train_batch_end, state.Checkpoint.save

    def timed_end(milestones, batch, logs=None):
        end(milestones, batch, logs)  # the last of the callbacks
        if milestones.run.budget.step % options.block == 0:
            turns.take(milestones.model, milestones.run.budget)

    def noted_save(checkpoint, model, progress):
        save(checkpoint, model, progress)
        memory.append((progress["step"], resident()))

    callbacks.Milestones.on_train_batch_end, state.Checkpoint.save = timed_end, noted_save
    small = {"levels": (3, 4), "filters": 32} if options.size < 320 else {}
    with tempfile.TemporaryDirectory() as folder:
        kdb.training.train(
            lambda: kdb.build_detector(dataset.class_names, (options.size, options.size), **small),
            dataset,
            None,
            pathlib.Path(folder) / "run",
            epochs=options.steps / 4,
            batch_size=options.batch,
            evaluations=6,
            augment=kdb.data.AUGMENTATIONS[options.augment],
        )
    report(turns.times, memory)


class Turns:
    """The end of a block of the run: its time, and as many steps of the other kinds. The run's
    clock stands."""

    def __init__(self, dataset, options):
        self.options = options
        self.times = {name: [] for name in KINDS}
        self._dataset, self._batch, self._batches, self._since = dataset, None, None, None

    def take(self, model, budget):
        now = time.perf_counter()
        first, last = budget.step - self.options.block, budget.step
        milestone = first * 12 // self.options.steps != last * 12 // self.options.steps
        warm = self._since is not None and not milestone  # which is no part of a step
        took = [(now - (self._since or now)) / self.options.block]
        with budget.paused():
            if self._batch is None:
                self._batches = iter(batches_of(self._dataset, self.options))
                self._batch = next(self._batches)
            took.append(self._block(lambda: model.train_on_batch(*self._batch)))
            took.append(self._block(lambda: model.train_on_batch(*next(self._batches))))
        if warm:
            for name, seconds in zip(KINDS, took):
                self.times[name].append(seconds)
        self._since = None if budget.step < 20 else time.perf_counter()

    def _block(self, step):
        started = time.perf_counter()
        for _ in range(self.options.block):
            step()
        took = time.perf_counter() - started
        time.sleep(0.1)  # what the pipelines prefetch is no part of the next block
        return took / self.options.block


def batches_of(dataset, options):
    import keras_detblocks as kdb

    size = (options.size, options.size)
    augment = kdb.data.AUGMENTATIONS[options.augment]
    return kdb.data.pipeline(dataset, size, options.batch, training=True, augment=augment)


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
    for name, values in times.items():
        ratios = [a / b for a, b in zip(times["train"], values)]
        print(
            f"{name}: {1000 * np.median(values):.2f} ms per step; train is {np.median(ratios):.3f} "
            f"times that (the middle of {len(ratios)} pairs of blocks)"
        )
    print("MB after each checkpoint:", ", ".join(f"{step}: {mb:.0f}" for step, mb in memory))


if __name__ == "__main__":
    main()
