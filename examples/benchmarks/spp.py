"""Compares the latency of SPPF and SPP in TFLite (float32 and int8, one thread), at the map of a
640-pixel detector's coarsest level.

    python examples/benchmarks/spp.py [--shape 20 20 512] [--runs 50] [--smoke]

Both files contain only the pools and the concatenation, without convolutions, and give the same
numbers bit for bit. It prints the median latency of each, interleaved so that a busy machine slows
both, and their ratio, which should be at most 0.6.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np

import keras_detblocks as kdb

TARGET = 0.6


def interpreter(path):
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(str(path), num_threads=1)
    made.allocate_tensors()
    return made


def seconds(made, x):
    details = made.get_input_details()[0]
    made.set_tensor(details["index"], x.astype(details["dtype"]))
    start = time.perf_counter()
    made.invoke()
    return time.perf_counter() - start


def compare(shape, runs, quantization, folder):
    """The median seconds by block."""
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype("float32")
    files = {}
    for name, layer in {"SPP": kdb.SPP(), "SPPF": kdb.SPPF()}.items():
        path = pathlib.Path(folder) / f"{name}.tflite"
        kdb.export.to_tflite(
            kdb.as_model(layer, shape), path, quantization, [x] if quantization else None
        )
        files[name] = interpreter(path)
    times = {name: [seconds(made, x) for _ in range(3)] and [] for name, made in files.items()}
    for _ in range(runs):
        for name, made in files.items():
            times[name].append(seconds(made, x))
    return {name: float(np.median(values)) for name, values in times.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(20, 20, 512))
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--smoke", action="store_true", help="few runs")
    options = parser.parse_args(arguments)
    ratios = {}
    for quantization in (None, "int8"):
        with tempfile.TemporaryDirectory() as folder:
            times = compare(
                tuple(options.shape), 5 if options.smoke else options.runs, quantization, folder
            )
        ratios[quantization] = times["SPPF"] / times["SPP"]
        print(
            f"{quantization or 'float32':8} SPP(5, 9, 13) {1000 * times['SPP']:.3f} ms, SPPF "
            f"{1000 * times['SPPF']:.3f} ms, ratio {ratios[quantization]:.2f} (target <= {TARGET}) "
            f"at (1, {', '.join(map(str, options.shape))}), one thread"
        )
    return ratios


if __name__ == "__main__":
    main()
