"""Measures the costs of a neck or context block on a phone's runtime: parameters, multiplications,
and the latency of the float and the int8 file, all files taking turns.

    python examples/benchmarks/part_latency.py --size 320   # ten minutes on two cores

It takes the default detector with random weights and other parts by name (`panet`, `fpn+sppf`), or
a recipe (`yolo-like-s`), on one thread. int8 is calibrated on pictures of `kdb.data.synthetic`.
Needs the extra `export`.
"""

import argparse
import pathlib
import tempfile
import time
import warnings

import keras
import numpy as np

import keras_detblocks as kdb
from keras_detblocks.export import compare_latency, cpu_features, export_all

FORMATS = ("tflite", "tflite-int8")
PARTS = (
    *kdb.list_necks(),
    *(f"fpn+{name}" for name in kdb.list_contexts()),
    *("panet+sppf", *(name for name in kdb.recipes.list() if name.endswith("-s"))),
)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--parts", nargs="+", default=list(PARTS))
    parser.add_argument("--turns", type=int, default=30)
    options = parser.parse_args(arguments)
    began, size = time.strftime("%Y-%m-%d"), options.size
    scenes = [kdb.data.synthetic.draw_scene(seed, size)[0] for seed in range(16)]
    pictures = [np.stack(scenes).astype("float32")]
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            exported(name, size, pictures, pathlib.Path(folder, name)) for name in options.parts
        ]
        paths = [path for row in rows for path in row["paths"]]
        found = {row.path: row.median for row in compare_latency(paths, options.turns, (1,))}
    print(f"{began}, {cpu_features()}, input {size}x{size}, one thread, milliseconds per picture\n")
    print("| parts | million parameters | GMACs | float ms | int8 ms | int8 / float | int8 kB |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        slow, fast = (found[str(path)] for path in row["paths"])
        print(
            f"| {row['name']} | {row['parameters'] / 1e6:.2f} | {row['macs'] / 1e9:.2f} | "
            f"{slow:.1f} "
            f"| {fast:.1f} | {fast / slow:.2f} | {row['bytes'] / 1024:,.0f} |",
            flush=True,
        )
    return rows


def exported(name, size, pictures, folder):
    """One row: the detector of that name, exported into the folder."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    classes = ["a", "b", "c"]
    if name in kdb.recipes.list():
        model = kdb.recipes.build(name, classes, image_size=size)
    else:
        neck, _, context = name.partition("+")
        model = kdb.build_detector(classes, size, neck=neck, context=context or None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning about partitions
        reports = export_all(model, folder, FORMATS, pictures)
    print(f"{name} exported", flush=True)
    return {
        "name": name, "parameters": model.count_params(), "macs": kdb.complexity(model).macs,
        "paths": [report.path for report in reports], "bytes": reports[-1].size,
    }  # fmt: skip


if __name__ == "__main__":
    main()
