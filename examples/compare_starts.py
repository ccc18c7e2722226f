"""What the shipped start is worth on real data: COCO AP after so many steps, from scratch and from
the start, on JAX.

    KERAS_BACKEND=jax python examples/compare_starts.py FOLDER [FOLDER ...] --steps 100 300
    --images 20 0

For every data set, number of training pictures (0: all), number of steps, start and peak learning
rate there is one row. Steps are of 16 pictures, the recipe is that of `detblocks train`: Muon,
warm-up and cosine, averaged weights; pictures are turned and flipped with `--turn`. `--smoke`: one
tiny row each.
"""

import argparse
import json
import os
import pathlib
import time
from functools import partial

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
from jax_training import Change, Training, detections, make_predict

import keras_detblocks as kdb
from keras_detblocks.data import load, splits
from keras_detblocks.images.letterbox import Letterbox, letterbox
from keras_detblocks.images.read import read_image
from keras_detblocks.training.coco_ap import coco_ap
from keras_detblocks.training.schedule import cosine_with_warmup

BATCH = 16


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", type=pathlib.Path)
    parser.add_argument("--start", type=pathlib.Path, default=None, help="default: the shipped one")
    parser.add_argument("--out", type=pathlib.Path, default=None, help="JSON lines of the rows")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--steps", type=int, nargs="+", default=[300])
    parser.add_argument("--images", type=int, nargs="+", default=[0])
    parser.add_argument("--scratch-rates", type=float, nargs="+", default=[0.02])
    parser.add_argument("--start-rates", type=float, nargs="+", default=[0.02, 0.005])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--turn", action="store_true")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args(arguments)
    if options.smoke:
        vars(options).update(size=64, steps=[2], scratch_rates=[0.02], start_rates=[0.02])
    keras.config.set_dtype_policy(options.precision)
    rows = [row for folder in options.data for row in compared(folder, options)]
    print(table(rows))
    return rows


def compared(folder, options):
    """The rows of one data set; the step is compiled once."""
    train_set = load(folder, "train")
    names = splits(folder)
    test_set = load(folder, next(n for n in ("test", "val", *names) if n in names))
    test_set = test_set.with_classes(train_set.class_names)
    size = (options.size, options.size)
    model = kdb.build_detector(train_set.class_names, size)
    change = Change((0.8, 1.3), options.turn, options.turn, False, 0.15)
    training, predict = Training(model, BATCH, change, average=0.99, tau=100.0), make_predict(model)
    ring, test = arrays(train_set, size), arrays(test_set, size)
    for images in options.images:
        for steps in options.steps:
            for seed in options.seeds:
                for start, rate in [
                    *(("scratch", rate) for rate in options.scratch_rates),
                    *(("start", rate) for rate in options.start_rates),
                ]:
                    restart(model, start, options.start, seed)
                    filled = min(images or len(ring[0]), len(ring[0]))
                    began = time.monotonic()
                    controls = partial(rate_at, steps=steps, peak=rate)
                    trained(training, ring, filled, steps, controls, seed)
                    seconds = time.monotonic() - began
                    ap = judged(predict, training.state, test, test_set, size)
                    row = {"set": folder.name, "images": filled, "steps": steps, "seed": seed}
                    row |= {"start": start, "rate": rate, "AP": ap.ap, "AP50": ap.ap50}
                    row = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
                    print(json.dumps(row), f"{seconds:.0f} s", flush=True)
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps(row) + "\n")
                    yield row


def restart(model, start, path, seed):
    """New random weights, and the start over them if it is asked for."""
    keras.utils.set_random_seed(seed)
    fresh = type(model).from_config(model.get_config())
    for variable, value in zip(model.variables, fresh.variables):
        variable.assign(value)
    if start == "start":
        assert kdb.start_weights(model, path) == ("backbone", "neck", "head")  # noqa: S101


def trained(training, ring, filled, steps, controls, seed):
    """Trains anew from the weights that the model holds; returns the last loss. `controls` are a
    function of the step: see `Training`."""
    training.reset()
    key = jax.random.key(seed)
    for step in range(steps):
        key, once = jax.random.split(key)
        training.state, loss = training.step(training.state, ring, filled, once, controls(step))
    return float(loss)


def rate_at(step, steps, peak):
    """The learning rate as `detblocks train` has it."""
    return np.float32(peak * cosine_with_warmup(step, step / steps, min(60, steps // 4)))


def arrays(dataset, size):
    """A data set on the device: letterboxed pictures, boxes and labels padded with -1."""
    images = np.stack([letterbox(read_image(r.path), size)[0] for r in dataset.records])
    boxes = np.zeros((len(images), dataset.max_boxes, 4), "float32")
    labels = np.full(boxes.shape[:2], -1, "int32")
    for i, r in enumerate(dataset.records):
        kept = Letterbox.fit((r.height, r.width), size).to_letterboxed(r.boxes[~r.crowd])
        boxes[i, : len(kept)], labels[i, : len(kept)] = kept, r.labels[~r.crowd]
    return [jax.device_put(array) for array in (images, boxes, labels)]


def judged(predict, state, test, test_set, size):
    found = detections(predict, state, np.asarray(test[0]), BATCH)
    for each, r in zip(found, test_set.records):
        each["boxes"] = Letterbox.fit((r.height, r.width), size).to_original(each["boxes"])
    return coco_ap(test_set, found)


def table(rows):
    lines = ["set          images  steps  seed  start     rate     AP    AP50"]
    for r in rows:
        lines.append(
            f"{r['set']:<12} {r['images']:>6} {r['steps']:>6} {r['seed']:>5}  {r['start']:<8}"
            f"{r['rate']:>6} {r['AP']:>7.3f} {r['AP50']:>7.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
