"""Trains the start of the compact detector on pictures made by formulas, on one GPU (or, smaller,
on a CPU).

    KERAS_BACKEND=jax python examples/pretrain_start.py --minutes 8 --out start

Processes draw pictures (`kdb.data.synthetic`) into a ring buffer on the GPU; each step takes a
batch from there, changes it at random, and trains the detector on all classes of shapes and on one
more, "object", to which everything belongs. Every minute the averaged weights are evaluated on
held-out pictures, and if they are better, `compact_start.safetensors` (float16) and
`full.safetensors` are written, so that an interrupted run leaves its best. `--smoke` is tiny, for a
CPU.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import time
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

from keras_detblocks.data import synthetic
from keras_detblocks.detection.start import OBJECT, SHIPPED, save_start
from keras_detblocks.training.schedule import cosine_with_warmup


def main(arguments=None):
    options = parsed(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(options.size, options.workers, options.chunk, options.seed)
    try:
        import keras

        keras.config.set_dtype_policy(options.precision)
        keras.utils.set_random_seed(options.seed)
        return Run(options, pictures)()
    finally:
        pictures.close()


def parsed(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="from the start of the program")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--ring", type=int, default=60_000, help="pictures kept on the GPU")
    parser.add_argument("--chunk", type=int, default=64, help="pictures drawn at once")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--held-out", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, default=0.012)
    parser.add_argument("--precision", default="mixed_bfloat16")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between evaluations")
    parser.add_argument("--steps", type=int, default=10**9, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(levels=(3, 4, 5))  # those of the default detector
    parser.add_argument("--smoke", action="store_true", help="tiny, for a CPU")
    options = parser.parse_args(arguments)
    if options.smoke:
        small = {"size": 64, "batch": 4, "ring": 64, "chunk": 8, "workers": 1, "held_out": 8}
        vars(options).update({**small, "precision": "float32", "minutes": 5.0, "levels": (2, 3)})
    return options


# Drawing ----------------------------------------------------------------------------------


def drawn(numbers, size, seed):
    """Pictures of the given numbers: uint8 `(n, size, size, 3)`, boxes and labels padded with
    -1."""
    scenes = [synthetic.draw_scene((seed, number), size) for number in numbers]
    boxes = np.zeros((len(scenes), synthetic.MAX_OBJECTS, 4), "float32")
    labels = np.full((len(scenes), synthetic.MAX_OBJECTS), -1, "int32")
    for i, (_, b, y) in enumerate(scenes):
        boxes[i, : len(b)], labels[i, : len(y)] = b, y
    return np.stack([pixels for pixels, _, _ in scenes]), boxes, labels


def _draw_chunk(task):
    first, count, size, seed = task
    return drawn(range(first, first + count), size, seed)


class Pictures:
    """Processes that draw pictures endlessly."""

    def __init__(self, size, workers, chunk, seed):
        kept = {key: os.environ.get(key) for key in ("JAX_PLATFORMS", "OMP_NUM_THREADS")}
        os.environ.update(JAX_PLATFORMS="cpu", OMP_NUM_THREADS="1")  # the GPU belongs to the parent
        self.pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
        self.pool.submit(time.sleep, 0)  # starts them all, in the environment set here
        for key, value in kept.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
        self.tasks = ((first, chunk, size, seed) for first in range(0, 10**9, chunk))
        self.waiting, self.ahead = [], 3 * workers

    def ready(self, least=0):
        """Returns the chunks that are drawn, waiting for at least `least`, and orders as many new
        ones."""
        while len(self.waiting) < max(self.ahead, least):
            self.waiting.append(self.pool.submit(_draw_chunk, next(self.tasks)))
        done = []
        while self.waiting and (len(done) < least or self.waiting[0].done()):
            done.append(self.waiting.pop(0).result())
        return done

    def close(self):
        self.pool.shutdown(wait=False, cancel_futures=True)


def object_and_class_losses(model, outputs, boxes, labels, size):
    """The loss of the classes plus that of the class "object", each with its own assignment."""
    from jax import numpy as jnp

    from keras_detblocks.detection.decode import flatten
    from keras_detblocks.detection.losses import detection_losses

    logits, distances, points, strides = flatten(outputs, (size, size))
    truth = {"boxes": boxes, "labels": labels}
    anything = {"boxes": boxes, "labels": jnp.minimum(labels, 0)}
    total = 0.0
    for scores, each in ((logits[..., :-1], truth), (logits[..., -1:], anything)):
        classes, box, weight = detection_losses(scores, distances, points, strides, each)
        total += (classes.sum() + 2.0 * box.sum()) / jnp.maximum(weight.sum(), 1.0)
    return total


# The run ----------------------------------------------------------------------------------


class Run:
    """One pretraining: the ring of pictures on the device, the training, held-out pictures, what
    is written."""

    def __init__(self, options, pictures):
        import jax
        from jax_training import Change, Training, as_dataset, make_predict

        import keras_detblocks as kdb

        self.options, self.pictures, self.began = options, pictures, time.monotonic()
        self.log = (options.out / "log.jsonl").open("a")
        names, size = (*synthetic.CLASS_NAMES, OBJECT), options.size
        self.model = kdb.build_detector(names, (size, size), levels=options.levels)
        self.training = Training(self.model, options.batch, Change(), object_and_class_losses)
        self.held, boxes, labels = drawn(range(options.held_out), size, options.seed + 10**6)
        self.judged = {
            "object": (as_dataset(boxes, np.minimum(labels, 0), size, [OBJECT]), slice(-1, None)),
            "class": (as_dataset(boxes, labels, size, names[:-1]), slice(0, -1)),
        }
        self.predict = {k: make_predict(self.model, v[1]) for k, v in self.judged.items()}
        self.ring, self.filled, self.drawn, self.at = None, 0, 0, 0
        self.write = jax.jit(_write, donate_argnums=0)
        self.key, self.best, self.steps, self.loss = jax.random.key(options.seed), -1.0, 0, None
        parameters, device = self.model.count_params(), str(jax.devices()[0])
        self.report("start", device=device, parameters=parameters)

    def __call__(self):
        evaluated = self.began
        while (progress := self.progress()) < 1:
            self.fill()
            self.one_step(progress)
            if time.monotonic() - evaluated > self.options.every:
                self.evaluate()
                evaluated = time.monotonic()
        self.evaluate()
        return self.best

    def progress(self):
        seconds = time.monotonic() - self.began
        return max(seconds / (60 * self.options.minutes), self.steps / self.options.steps)

    def fill(self):
        """Puts the drawn pictures into the ring, over the oldest if it is full."""
        import jax

        for chunk in self.pictures.ready(0 if self.ring else 2):
            if self.ring is None:
                shapes = [((self.options.ring, *part.shape[1:]), part.dtype) for part in chunk]
                self.ring = [jax.numpy.zeros(*shape) for shape in shapes]
            count = len(chunk[0])
            self.at = 0 if self.at + count > self.options.ring else self.at
            self.ring = self.write(self.ring, chunk, self.at)
            self.at += count
            self.filled, self.drawn = max(self.filled, self.at), self.drawn + count

    def one_step(self, progress):
        import jax

        rate = self.options.learning_rate * cosine_with_warmup(self.steps, progress, 300)
        self.key, key = jax.random.split(self.key)
        state = self.training.state, self.ring, self.filled, key, np.float32(rate)
        self.training.state, self.loss = self.training.step(*state)
        self.steps += 1
        if self.steps in (1, 20, 100) or self.steps % 500 == 0:
            self.report("step", loss=float(self.loss), rate=rate)

    def evaluate(self):
        """Returns COCO AP of the averaged weights on the held-out pictures; writes them if they are
        better."""
        from jax_training import detections

        from keras_detblocks.training.coco_ap import coco_ap

        state, batch = self.training.state, self.options.batch
        ap = {
            name: coco_ap(dataset, detections(self.predict[name], state, self.held, batch)).ap
            for name, (dataset, _) in self.judged.items()
        }
        self.report(
            "evaluation", loss=float(self.loss), object_ap=ap["object"], class_ap=ap["class"]
        )
        if ap["object"] > self.best:
            self.best = ap["object"]
            self.training.assign()
            self.leave(ap)

    def report(self, event, **numbers):
        seconds = round(time.monotonic() - self.began, 2)
        rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in numbers.items()}
        counts = {"seconds": seconds, "step": self.steps, "drawn": self.drawn}
        line = json.dumps({"event": event, **counts, **rounded})
        print(line, flush=True)
        self.log.write(line + "\n")
        self.log.flush()

    def leave(self, ap):
        """Writes the start and, for further training, all weights; each file appears completely or
        not at all."""
        from safetensors.numpy import save_file

        size = self.options.size
        facts = {
            "made_by": "keras_detblocks examples/pretrain_start.py",
            "pictures": f"{self.drawn} of keras_detblocks.data.synthetic at {size}x{size}",
            "steps": f"{self.steps} of {self.options.batch}",
            "seconds": f"{time.monotonic() - self.began:.0f}",
            "held_out": f"AP {ap['object']:.3f} of any object, {ap['class']:.3f} by class",
            "license": "Apache-2.0",
        }
        part = self.options.out / "part.safetensors"
        save_start(self.model, part, facts)
        os.replace(part, self.options.out / SHIPPED)
        weights = {v.path: np.asarray(v.value, "float32") for v in self.model.weights}
        save_file(weights, str(part), facts)
        os.replace(part, self.options.out / "full.safetensors")


def _write(ring, chunk, at):
    import jax

    update = jax.lax.dynamic_update_slice_in_dim
    return [update(array, part, at, 0) for array, part in zip(ring, chunk)]


if __name__ == "__main__":
    main()
