"""Measures time and memory of an evaluation with its report, on made-up detections.

    python examples/benchmarks/evaluation.py                  # 5,000 pictures of 80 classes
    python examples/benchmarks/evaluation.py --pictures 500

Prints the seconds of each part and the peak memory of the whole process.
"""

import argparse
import pathlib
import resource
import tempfile
import time

import numpy as np
from PIL import Image

from keras_detblocks import data, evaluation

SIDE = 640  # pixels of every picture


def made_up(pictures, classes, objects=7.3, detections=100, crowd=0.01, seed=0, path="none.png"):
    """A data set and detections on it: objects found with some error, and false detections.

    Args:
        pictures, classes: how many.
        objects, detections: per picture, on average.
        crowd: share of the objects.
        path: of every picture.

    Returns:
        `(data.Dataset, list of dicts)`.
    """
    rng = np.random.default_rng(seed)
    records, found = [], []
    for i in range(pictures):
        count = rng.poisson(objects)
        boxes, labels = _boxes(rng, count), rng.integers(0, classes, count).astype("int32")
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        crowds = rng.random(count) < crowd
        records.append(data.Record(path, SIDE, SIDE, boxes, labels, crowds, areas, i))
        hit = np.flatnonzero(rng.random(count) < 0.8)
        sides = np.tile(boxes[hit, 2:] - boxes[hit, :2], 2)
        near = boxes[hit] + rng.normal(0, 0.06, (len(hit), 4)) * sides
        right = rng.random(len(hit)) < 0.9
        guesses = np.where(right, labels[hit], rng.integers(0, classes, len(hit)))
        false = max(0, detections - len(hit))
        scores = np.concatenate([rng.beta(4, 2, len(hit)), rng.beta(1, 8, false)])
        found.append(
            {
                "boxes": np.concatenate([near, _boxes(rng, false)]).astype("float32"),
                "scores": np.round(scores, 3),  # many scores are equal
                "labels": np.concatenate([guesses, rng.integers(0, classes, false)]),
            }
        )
    names = tuple(f"class {k}" for k in range(classes))
    return data.Dataset(records, names, tuple(range(classes)), source="made up"), found


def _boxes(rng, count):
    corner = rng.uniform(0, 0.9 * SIDE, (count, 2))
    side = np.exp(rng.uniform(np.log(8), np.log(0.6 * SIDE), (count, 2)))
    return np.concatenate([corner, np.minimum(corner + side, SIDE)], 1).astype("float32")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        picture = pathlib.Path(folder) / "picture.png"
        Image.new("RGB", (SIDE, SIDE), "gray").save(picture)
        dataset, found = made_up(options.pictures, options.classes, path=str(picture))
        started = time.monotonic()
        result = evaluation.measure(dataset, found)
        measured = time.monotonic()
        evaluation.write_report(result, folder)
        done = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"{options.pictures} pictures, {options.classes} classes, {len(result.found):,} "
        f"detections: numbers and intervals {measured - started:.1f} s, "
        f"report {done - measured:.1f} s, peak memory {peak:.2f} GB"
    )


if __name__ == "__main__":
    main()
