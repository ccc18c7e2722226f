"""Kills a training run at random moments and resumes it to the end, as often as asked: the result
must equal that of a run that nobody killed.

    python examples/benchmarks/kill_and_resume.py --kills 20 --out kills

Every process is the command line's own (`detblocks train`), killed with SIGKILL at a random moment:
while it starts, trains, saves, measures or writes its results. It compares the weights, bit for
bit, and the history without its clock, and opens every file that is left. It prints one line per
run and ends with `N kills, 0 losses`.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np

OPTIONS = (
    "--epochs 4 --batch 8 --size 64 --filters 8 --levels 3-4 --evaluations 3 --warmup-steps 4 "
    "--no-report"
).split()
# Two runs are equal bit for bit if sums are taken in the same order.
ENVIRONMENT = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    data = write_pictures(options.out / "data", options.images)
    started = time.monotonic()
    train(data, options.out / "whole")
    whole, length = results(options.out / "whole"), time.monotonic() - started
    print(f"the run that nobody kills: {length:.1f} s, {whole['steps']} steps", flush=True)
    draw, kills, losses, number = random.Random(options.seed), 0, 0, 0
    while kills < options.kills:
        out = options.out / f"run-{number}"
        done, report = killed_and_resumed(data, out, draw, length, options.kills - kills)
        problems = differences(whole, results(out)) + left_over(out)
        kills, losses, number = kills + done, losses + len(problems), number + 1
        print(
            f"run {number}: {done} kills ({', '.join(report)}) -> {problems or 'equal'}", flush=True
        )
    print(f"{kills} kills, {losses} losses")
    return int(losses > 0)


def write_pictures(folder, count):
    """A COCO folder of bright rectangles on noise."""
    from PIL import Image

    draw = np.random.default_rng(0)
    annotations, images = [], []
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = draw.integers(0, 60, (64, 64, 3)).astype("uint8")
        x, y, w, h = (int(v) for v in (*draw.integers(0, 30, 2), *draw.integers(12, 30, 2)))
        label = int(draw.integers(2))
        pixels[y : y + h, x : x + w, label] = 220
        for split in ("train", "val"):
            Image.fromarray(pixels).save(folder / split / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 64})
        box = {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        annotations.append({"id": i, "image_id": i, "category_id": 1 + label, **box})
    names = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    coco = {"images": images, "annotations": annotations, "categories": names}
    (folder / "annotations").mkdir(exist_ok=True)
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco))
    return folder


def start(data, out, *more):
    command = [sys.executable, "-m", "keras_detblocks", "train", str(data), "--out", str(out)]
    return subprocess.Popen(
        [*command, *OPTIONS, *more],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train(data, out, *more):
    process = start(data, out, *more)
    printed, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{out}: exit code {process.returncode}\n{printed[-3000:]}")
    return printed


def killed_and_resumed(data, out, draw, length, most):
    """Kills each process of one run at a random moment until one reaches the end.

    Returns:
        `(kills, where)`: their number, and what the folder contained at each.
    """
    report = []
    while True:
        more = ["--resume"] if saved(out) else []
        process = start(data, out, *more)
        # Starting takes most of such a short run; half of the kills should hit it while it trains.
        moment = draw.uniform(0.5 * length if len(report) % 2 else 0.1, length)
        try:
            printed, _ = process.communicate(timeout=moment if len(report) < most else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            report.append(f"{moment:.1f} s, checkpoint {saved(out) or 'none'}")
            if (out / "detector.keras").is_file():
                return len(report), report
            continue
        if process.returncode:
            raise SystemExit(f"{out}: exit code {process.returncode}\n{printed[-3000:]}")
        return len(report), report


def saved(out):
    """The step of the newest checkpoint, or 0."""
    return max((int(p.name.rpartition("-")[2]) for p in out.glob("checkpoint/step-*")), default=0)


def results(out):
    """Returns weights, history without its clock, and steps, after opening all files."""
    import h5py

    weights = {}
    with zipfile.ZipFile(out / "detector.keras") as archive:
        assert archive.testzip() is None  # noqa: S101
        with archive.open("model.weights.h5") as file, h5py.File(file) as h5:
            h5.visititems(
                lambda name, node: weights.update({name: node[()]}) if hasattr(node, "shape") else 0
            )
    history = json.loads((out / "history.json").read_text())
    for entry in history["losses"] + history["ap"]:
        entry.pop("seconds")
    record = json.loads((out / "run.json").read_text())
    return {"weights": weights, "history": history, "steps": record["results"]["steps"]}


def differences(whole, other):
    problems = [
        name for name, value in whole["weights"].items() if not equal(value, other["weights"][name])
    ]
    problems = [f"{len(problems)} weights differ"] if problems else []
    if whole["history"] != other["history"]:
        problems.append("the history differs")
    return problems


def equal(a, b):
    return a.shape == b.shape and np.array_equal(np.asarray(a), np.asarray(b))


def left_over(out):
    """Missing files, files that a finished run should not leave, and pictures or archives that
    cannot be opened."""
    wanted = {"detector.keras", "best.keras", "history.json", "run.json", "learning_curve.png"}
    found = {path.name for path in out.iterdir()}
    # A process killed after its last file has no time to remove the checkpoints.
    problems = [f"left: {name}" for name in sorted(found - wanted - {"logs", "checkpoint"})]
    problems += [f"missing: {name}" for name in sorted(wanted - found)]
    with zipfile.ZipFile(out / "best.keras") as archive:
        problems += [f"damaged: {archive.testzip()}"] if archive.testzip() else []
    return problems


if __name__ == "__main__":
    sys.exit(main())
