"""Exports every backbone family, neck and context block in every format: does it convert, open and
agree with Keras, in how many partitions, with what size and CPU time on one thread?

    python examples/benchmarks/export_matrix.py --out matrix.md      # half an hour on one core

`--diagonal` takes one part per format, in turn: what the tests run. Weights are random; formats in
fewer bits are calibrated on made-up pictures. Needs the extra `export`.
"""

import argparse
import pathlib
import tempfile
import time
import warnings

import keras
import numpy as np

import keras_detblocks as kdb
from keras_detblocks.detection.build import list_contexts, list_necks
from keras_detblocks.export import compare_latency, cpu_features, export_all

FORMATS = ("saved_model", "onnx", "onnx-fp16", "onnx-int8", "tflite", "tflite-fp16", "tflite-int8")
# The smallest of each family.
BACKBONES = (
    *("RegNetX002", "RegNetY002", "CSPResNet50", "CSPResNeXt50", "CSPDarknet53", "Darknet53"),
    *("CS3DarknetS", "CSPDenseNet121", "CSPPeleeNet"),
)


def parts():
    """Yields `(kind, name, arguments of build_detector)` for each row."""
    rows = [("backbone", name, {"backbone": name}) for name in ("compact", *BACKBONES)]
    rows += [("neck", name, {"neck": name}) for name in list_necks()]
    return rows + [("context", name, {"context": name}) for name in list_contexts()]


def detector(size, arguments):
    keras.utils.set_random_seed(0)
    return kdb.build_detector(["a", "b", "c"], (size, size), filters=32, **arguments)


def pictures(size, count=8):
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (count, size // 8, size // 8, 3)).repeat(8, 1).repeat(8, 2)
    return np.clip(coarse + rng.normal(0, 8, coarse.shape), 0, 255).astype("float32")


def cell(model, format, folder, calibration):
    """The result of one export, in words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning about partitions, which are a column here
        try:
            (report,) = export_all(model, folder, (format,), calibration)
        except ValueError as error:
            return f"**{' '.join(str(error).split())[:60]}**", False
    (latency,) = compare_latency([report.path], images=10)
    text = f"{report.size / 1024:,.0f} kB, {latency.cpu:.1f} ms"
    if report.partitions is not None:
        text += f", {report.partitions} parts"
    return text, True


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=None, help="Markdown file of the table")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--only", default="", help="only parts with this in their name")
    parser.add_argument(
        "--formats", default=",".join(FORMATS), help="with commas between (default: all seven)"
    )
    parser.add_argument("--diagonal", action="store_true", help="one format per part, in turn")
    options = parser.parse_args(arguments)
    rows = [row for row in parts() if options.only in row[1]]
    formats = options.formats.split(",")
    heads = ("part", "name", *formats)
    lines = [f"{time.strftime('%Y-%m-%d')}, {cpu_features()}, input {options.size} px", ""]
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    bad = 0
    for number, (kind, name, settings) in enumerate(rows):
        model = detector(options.size, settings)
        taken = [formats[number % len(formats)]] if options.diagonal else formats
        cells = dict.fromkeys(formats, "")
        for format in taken:
            with tempfile.TemporaryDirectory() as folder:
                cells[format], good = cell(model, format, folder, [pictures(options.size)])
                bad += not good
        lines.append(f"| {kind} | {name} | {' | '.join(cells.values())} |")
        print(lines[-1], flush=True)
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")
    print(f"{bad} exports failed." if bad else "Every export agrees with Keras.")
    return bad


if __name__ == "__main__":
    raise SystemExit(main() > 0)
