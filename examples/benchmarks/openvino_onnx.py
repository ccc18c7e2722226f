"""Runs an exported .onnx detector in OpenVINO: does it equal onnxruntime, and in what share of its
time?

    pip install openvino
    python examples/benchmarks/openvino_onnx.py export/detector.onnx

Both run on one thread and take turns; CPU time, medians. OpenVINO computes in bfloat16 by default
where the processor has it: the last row. Files of any batch and size are given `--batch` pictures
of 320 pixels.
"""

import argparse
import time

import numpy as np
import onnxruntime
import openvino


def runs_of(path):
    """Returns `{name: function from an image to outputs by name}`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    runs = {"onnxruntime": lambda x: dict(zip(names, session.run(names, {"image": x})))}
    core = openvino.Core()
    model = core.read_model(path)
    for name, hint in (("OpenVINO float32", {"INFERENCE_PRECISION_HINT": "f32"}), ("OpenVINO", {})):
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, **hint}
        compiled = core.compile_model(model, "CPU", settings)
        runs[name] = lambda x, compiled=compiled: {
            each: value
            for output, value in compiled({"image": x}).items()
            for each in output.get_names()
        }
    return runs, session.get_inputs()[0].shape


def pictures(shape):
    """Draws soft random shapes."""
    batch, height, width, channels = shape
    coarse = np.random.default_rng(0).uniform(
        0, 255, (batch, -(-height // 8), -(-width // 8), channels)
    )
    return coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width].astype("float32")


def found_again(want, got):
    """The number of one runtime's boxes that the other returns for their class, and the number of
    boxes."""
    found = total = 0
    for row, count in enumerate(want["count"]):
        for box, label in zip(want["boxes"][row][:count], want["labels"][row]):
            others = got["boxes"][row][got["labels"][row] == label]
            found += bool((np.abs(others - box).max(axis=-1) <= 0.5).any())
        total += int(count)
    return found, total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help=".onnx file of a detector")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    runs, shape = runs_of(options.model)
    given = (options.batch, 320, 320, 3)
    picture = pictures([side if isinstance(side, int) else own for side, own in zip(shape, given)])
    want = runs["onnxruntime"](picture)
    times = {name: [] for name in runs}
    for _ in range(options.images + 3):
        for name, run in runs.items():
            start = time.process_time()
            run(picture)
            times[name].append(1000 * (time.process_time() - start))
    least = np.median(times["onnxruntime"][3:])
    for name, run in runs.items():
        got, middle = run(picture), np.median(times[name][3:])
        off = float(np.abs(got["scores"] - want["scores"]).max())
        found, total = found_again(want, got)
        print(
            f"{name:18}{middle:8.2f} ms, {middle / least:.2f} of onnxruntime; largest difference "
            f"of scores {off:.1e}, {found} of {total} boxes within half a pixel"
        )


if __name__ == "__main__":
    main()
