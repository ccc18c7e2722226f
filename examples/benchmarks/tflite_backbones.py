"""Measures the TFLite latency of RegNetY-800MF and CSPDarknet53 in float and int8, and of the same
nets with dense (ungrouped) convolutions.

    python examples/benchmarks/tflite_backbones.py --image-size 224

One thread, batch 1, feature maps P3 to P5 out. CSPDarknet53 has no groups: its partial stages make
it cheaper than its dense counterpart, Darknet-53. Files are opened in separate processes, which
take turns. Takes some minutes, most of it conversion; `--smoke` uses one narrow net. Needs the
extra `keras_detblocks[export]`.
"""

import argparse
import contextlib
import dataclasses
import pathlib
import tempfile

import numpy as np

import keras_detblocks as kdb
from keras_detblocks.backbones.regnet import VARIANTS
from keras_detblocks.export.runtime.session import Session


def dense(spec):
    """The same net with one group per convolution."""
    return dataclasses.replace(spec, group_widths=spec.inner_widths)


def nets(smoke):
    """Returns name -> function from an input shape to a model."""
    if smoke:
        spec = kdb.AnyNetSpec((1, 1, 1, 1), (16, 24, 32, 40), (1,) * 4, (8,) * 4, 0.25, 8)
        return {"narrow, dense": maker(kdb.AnyNet, dense(spec))}
    spec = VARIANTS["regnety_008"].to_anynet()
    return {
        "RegNetY-800MF": maker(kdb.AnyNet, spec),
        "RegNetY-800MF, dense": maker(kdb.AnyNet, dense(spec)),
        "CSPDarknet53": maker(kdb.CSPDarknet53),
        "Darknet53": maker(kdb.Darknet53),
    }


def maker(constructor, *arguments):
    return lambda shape: constructor(
        *arguments, include_top=False, input_shape=shape, levels=(3, 4, 5)
    )


def pictures(count, side):
    """Draws random pictures with coarse structure, one per batch, for int8's ranges and as inputs
    for timing."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (count, 1, side // 16, side // 16, 3)).repeat(16, 2).repeat(16, 3)
    return np.clip(coarse + rng.normal(0, 10, coarse.shape), 0, 255).astype("float32")


def converted(make, side, folder):
    """Returns (model's complexity, {kind: path}); each file was compared with Keras."""
    model, samples = make((side, side, 3)), pictures(4, side)
    paths = {None: folder / "float.tflite", "int8": folder / "int8.tflite"}
    for kind, path in paths.items():
        # Random weights: the agreement in int8 of such a net says nothing about a trained one.
        kdb.export.to_tflite(
            model, path, kind, representative_data=list(samples), tolerance=1.0 if kind else None
        )
    return kdb.complexity(model, side), paths


def milliseconds(paths, image, repeats):
    """The median milliseconds of each file on one thread, taking turns."""
    seconds = {name: [] for name in paths}
    with contextlib.ExitStack() as stack:
        sessions = {name: stack.enter_context(Session(path, 1)) for name, path in paths.items()}
        for turn in range(repeats + 2):
            for name, session in sessions.items():
                session(**{next(iter(session.inputs)): image})
                seconds[name] += [session.seconds] if turn > 1 else []
    return {name: 1e3 * float(np.median(s)) for name, s in seconds.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args(arguments)
    side, repeats = (64, 1) if options.smoke else (options.image_size, options.repeats)
    counts, files = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in nets(options.smoke).items():
            below = pathlib.Path(folder) / name
            below.mkdir()
            counts[name], paths = converted(make, side, below)
            files |= {(name, kind or "float"): path for kind, path in paths.items()}
        times = milliseconds(files, pictures(1, side)[0], repeats)
    print(f"TFLite, one thread, one {side}x{side} picture, median of {repeats}")
    print(f"{'':22}{'MACs':>9}{'params':>9}{'float ms':>10}{'int8 ms':>10}")
    for name, counted in counts.items():
        size = f"{counted.macs / 1e6:8.0f}M{counted.params / 1e6:8.1f}M"
        print(f"{name:22}{size}{times[name, 'float']:10.2f}{times[name, 'int8']:10.2f}")
    return times


if __name__ == "__main__":
    main()
