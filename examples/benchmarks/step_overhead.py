"""Measures what a step of `training.train` costs compared with a bare `train_on_batch`, and whether
memory stays flat.

    python examples/benchmarks/step_overhead.py
    python examples/benchmarks/step_overhead.py --size 320 --batch 4 --steps 120
    python examples/benchmarks/step_overhead.py --steps 500 --block 5

Short blocks of steps of a real run (pipeline, learning rate, losses, progress), of `train_on_batch`
on a batch that is in memory, and of `train_on_batch` on the batches of the same pipeline take turns
on one model, so that other work on the machine affects all of them equally. It prints the ratio of
a step of the run to one of the others, in time and in processor time, which is more reliable on a
busy machine: the median over the turns with its 95 % interval, and the quartiles; then the process'
memory after each of 12 checkpoints. The ratio to `train_on_batch` on the pipeline's batches is the
loop's own cost; the ratio to a batch in memory includes the pipeline, if it computes on the cores
of the step. Below 320 px the detector is a small one, of two levels.
"""

import argparse
import pathlib
import resource
import tempfile
import time

import numpy as np

BARE, PIPED = KINDS = ("train_on_batch", "train_on_batch on the pipeline's batches")
MILESTONES = 12  # checkpoints of the run; blocks with one are left out
WARM = 20  # first steps, which are left out
LEAST_TURNS = 10


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=240, help="of the run (default: 240)")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--block", type=int, default=3, help="steps of a block (default: 3)")
    parser.add_argument("--augment", choices=("none", "flip", "dihedral", "mosaic"), default="flip")
    options = parser.parse_args(arguments)
    if min(options.steps, options.batch, options.size, options.block) < 1:
        parser.error("steps, batch, size and block are positive numbers")
    turns = len(counted(options.steps, options.block))
    if turns < LEAST_TURNS:
        parser.error(
            f"{options.steps} steps in blocks of {options.block} give {turns} turns beside the "
            f"first {WARM} steps and {MILESTONES} checkpoints, {LEAST_TURNS} are needed: give more "
            "--steps or a smaller --block"
        )
    turns, memory = measured(options)
    report(turns.ratios(), memory)


def counted(steps, block):
    """The last step of each block that counts: after the warm-up, and without a checkpoint."""
    return [
        last
        for last in range(block, steps + 1, block)
        if last - block >= WARM
        and (last - block) * MILESTONES // steps == last * MILESTONES // steps
    ]


def measured(options):
    """Returns `(turns, memory)` of a run."""
    import keras_detblocks as kdb
    from keras_detblocks.training import callbacks, state

    dataset = pictures(4 * options.batch, options.size)
    turns, memory = Turns(dataset, options), []
    end, save = callbacks.Milestones.on_train_batch_end, state.RunCheckpoint.save

    def timed_end(milestones, batch, logs=None):
        end(milestones, batch, logs)  # the last of the callbacks
        if milestones.run.budget.step % options.block == 0:
            turns.take(milestones.model, milestones.run.budget)

    def noted_save(checkpoint, model, progress):
        save(checkpoint, model, progress)
        memory.append((progress["step"], resident()))

    callbacks.Milestones.on_train_batch_end, state.RunCheckpoint.save = timed_end, noted_save
    small = {"levels": (3, 4), "filters": 32} if options.size < 320 else {}
    with tempfile.TemporaryDirectory() as folder:
        kdb.training.train(
            lambda: kdb.build_detector(dataset.class_names, (options.size, options.size), **small),
            dataset,
            None,
            pathlib.Path(folder) / "run",
            epochs=options.steps / 4,
            batch_size=options.batch,
            evaluations=MILESTONES // 2,
            augment=kdb.data.AUGMENTATIONS[options.augment],
        )
    return turns, memory


class Turns:
    """At the end of a block of the run, records its times and runs as many steps of the other
    kinds, with the run's clock stopped."""

    def __init__(self, dataset, options):
        self.options = options
        self.counted = set(counted(options.steps, options.block))
        self.taken = []  # one row per turn: (seconds, seconds of processors) of the three kinds
        self._dataset, self._batch, self._batches, self._since = dataset, None, None, None

    def take(self, model, budget):
        took, counts = self._elapsed(), budget.step in self.counted
        with budget.paused():
            if self._batch is None:
                self._batches = iter(batches_of(self._dataset, self.options))
                self._batch = next(self._batches)
            bare = self._block(lambda: model.train_on_batch(*self._batch))
            piped = self._block(lambda: model.train_on_batch(*next(self._batches)))
        if counts:
            self.taken.append((took, bare, piped))
        self._begin()

    def ratios(self):
        """Returns kind -> `(milliseconds per step, ratios in time, ratios in processor time)`,
        where ratios are of the run to that kind."""
        run, *others = np.moveaxis(np.array(self.taken), 1, 0)
        return {
            name: (1000 * np.median(other[:, 0]) / self.options.block, *(run / other).T)
            for name, other in zip(KINDS, others)
        }

    def _block(self, step):
        self._begin()
        for _ in range(self.options.block):
            step()
        return self._elapsed()

    def _begin(self):
        time.sleep(0.1)  # batches that the pipelines prefetch do not belong to the next block
        self._since = time.perf_counter(), time.process_time()

    def _elapsed(self):
        now = time.perf_counter(), time.process_time()
        return tuple(np.subtract(now, self._since or now))


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
    """The megabytes that this process holds, or the most it held if the system does not say."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1024**2
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(ratios, memory):
    for name, (milliseconds, *both) in ratios.items():
        print(f"{name}: {milliseconds:.2f} ms per step; a step of the run costs times that")
        for what, values in zip(("time", "processor time"), both):
            quartiles = np.percentile(values, (25, 75))
            print(
                f"  {np.median(values):.3f} of its {what} (95 %: {interval(values)}; quartiles "
                f"{quartiles[0]:.3f} to {quartiles[1]:.3f}; {len(values)} turns)"
            )
    print("MB after each checkpoint:", ", ".join(f"{step}: {mb:.0f}" for step, mb in memory))


def interval(values):
    """The interval of the median, by the ranks around the middle one."""
    values, reach = np.sort(values), 0.98 * len(values) ** 0.5
    low, high = (len(values) - 1) / 2 - reach, (len(values) - 1) / 2 + reach
    return f"{values[max(int(low), 0)]:.3f} to {values[min(int(high + 1), len(values) - 1)]:.3f}"


if __name__ == "__main__":
    main()
