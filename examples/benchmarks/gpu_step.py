"""Measures a training step on one GPU in bfloat16, ours on JAX and timm on PyTorch, and how fast
pictures come.

    KERAS_BACKEND=jax python examples/benchmarks/gpu_step.py

RegNetY-800MF at 224, ours under `jax.jit` and timm's under `torch.compile` in channels-last order;
the compact detector at 320; the share is of the card's peak (`--peak`, in 1e12 operations a second:
989 for an H100 or H200 in bfloat16), counting three forward passes per step. Then pictures per
second of `kdb.data.synthetic` on all cores, and of `kdb.data.pipeline` where TensorFlow is
installed. Every part runs in a separate process; parts whose packages are not installed are left
out. Takes three to four minutes, most of them compilation; `--smoke` is tiny, for a CPU.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

PARTS = ("regnet_jax", "regnet_torch", "detector_jax", "drawing", "pipeline")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--peak", type=float, default=989.0)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for each part")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--one", choices=PARTS, help=argparse.SUPPRESS)  # the child's part
    options = parser.parse_args(arguments)
    if options.smoke:
        options.batch, options.steps = 4, 2
    if options.one:
        return print("RESULT " + json.dumps(globals()[options.one](options)), flush=True)
    rows = [row for part in options.parts if (row := in_a_process(part, options))]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows


def in_a_process(part, options):
    """The part's row, from a child process that frees the GPU's memory when it ends; None if it
    failed."""
    command = [sys.executable, __file__, "--one", part, "--batch", str(options.batch)]
    command += ["--steps", str(options.steps), "--peak", str(options.peak)]
    command += ["--smoke"] * options.smoke
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired:
        print(f"{part}: left out: not done after {options.limit:.0f} s", flush=True)
        return None
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"{part}: left out: {reason}", flush=True)
        return None
    row = {"part": part, **json.loads(found[-1][7:])}
    print(json.dumps(row), f"{time.monotonic() - began:.0f} s", flush=True)
    return row


def timed(step, options, images, macs):
    """Calls `step()` (which waits for the device when its result is read) and reports its speed."""
    for _ in range(3):
        step().item()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(options.steps):
            last = step()
        last.item()
        times.append((time.perf_counter() - began) / options.steps)
    seconds = statistics.median(times)
    share = 6 * macs * images / seconds / (options.peak * 1e12)
    return {
        "ms": round(1e3 * seconds, 2),
        "images_per_s": round(images / seconds),
        "share_of_peak": round(share, 3),
    }


def regnet_jax(options):
    import jax
    import keras
    from jax import numpy as jnp

    import keras_detblocks as kdb

    keras.config.set_dtype_policy("float32" if options.smoke else "mixed_bfloat16")
    side, batch = (64, options.batch) if options.smoke else (224, options.batch)
    model = kdb.RegNetY(
        "800mf", weights=None, input_shape=(side, side, 3), classifier_activation=None,
        include_preprocessing=False,
    )  # fmt: skip
    images = jax.random.normal(jax.random.key(0), (batch, side, side, 3), jnp.float32)
    labels = jnp.arange(batch) % 1000

    def loss_of(weights, others):
        logits, others = model.stateless_call(weights, others, images, training=True)
        logits = jax.nn.log_softmax(logits.astype("float32"))
        return -jnp.take_along_axis(logits, labels[:, None], 1).mean(), others

    def update(state):
        weights, others = state
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, others)
        return (jax.tree.map(lambda w, g: w - 1e-4 * g, weights, gradients), others), loss

    return jax_row(update, model, options, batch, side)


def jax_row(update, model, options, images, side):
    import jax

    from keras_detblocks.analysis import complexity

    held = [
        [v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)
    ]
    state = tuple(jax.tree.map(lambda a: a.copy(), part) for part in held)
    update = jax.jit(update, donate_argnums=0)

    def step():
        nonlocal state
        state, loss = update(state)
        return loss

    began = time.perf_counter()
    step().item()
    compiled = {
        "compiled_s": round(time.perf_counter() - began, 1),
        "device": jax.devices()[0].device_kind,
    }
    return {
        **timed(step, options, images, complexity(model, side).macs),
        "batch": images,
        **compiled,
    }


def detector_jax(options):
    import jax
    import keras
    from jax import numpy as jnp

    import keras_detblocks as kdb
    from keras_detblocks.detection.decode import flatten
    from keras_detblocks.detection.losses import detection_losses

    keras.config.set_dtype_policy("float32" if options.smoke else "mixed_bfloat16")
    side, batch = (64, 2) if options.smoke else (320, 128)
    model = kdb.build_detector([str(i) for i in range(20)], (side, side))
    images = 255 * jax.random.uniform(jax.random.key(0), (batch, side, side, 3))
    corner = jax.random.uniform(jax.random.key(1), (batch, 16, 2), maxval=0.7 * side)
    truth = {
        "boxes": jnp.concatenate([corner, corner + 0.25 * side], -1),
        "labels": jax.random.randint(jax.random.key(2), (batch, 16), 0, 20),
    }

    def loss_of(weights, others):
        outputs, others = model.stateless_call(weights, others, images, training=True)
        classes, box, weight = detection_losses(*flatten(outputs, (side, side)), truth)
        return (classes.sum() + 2 * box.sum()) / jnp.maximum(weight.sum(), 1.0), others

    def update(state):
        weights, others = state
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, others)
        return (jax.tree.map(lambda w, g: w - 1e-4 * g, weights, gradients), others), loss

    return jax_row(update, model, options, batch, side)


def regnet_torch(options):
    import timm
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    side, batch = (64, options.batch) if options.smoke else (224, options.batch)
    torch.backends.cudnn.benchmark = True
    model = timm.create_model("regnety_008").to(device, memory_format=torch.channels_last).train()
    images = torch.randn(batch, 3, side, side, device=device).to(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % 1000
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    compiled = model if options.smoke else torch.compile(model)

    def step():
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(compiled(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    began = time.perf_counter()
    step().item()
    seconds = round(time.perf_counter() - began, 1)
    macs = 0.8e9 * (side / 224) ** 2  # the paper's count of this net
    row = timed(step, options, batch, macs)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return {**row, "batch": batch, "compiled_s": seconds, "device": name}


def drawing(options):
    """The pictures of 256x256 per second that all cores draw together."""
    os.environ.update(JAX_PLATFORMS="cpu", OMP_NUM_THREADS="1")
    workers, each = (1, 4) if options.smoke else (os.cpu_count(), 200)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(_draw, [(0, 2)] * workers)  # imports and textures
        began = time.perf_counter()
        pool.map(_draw, [(i, each) for i in range(workers)], chunksize=1)
        seconds = time.perf_counter() - began
    rate = workers * each / seconds
    return {
        "pictures_per_s": round(rate),
        "cores": workers,
        "ms_each": round(1e3 * workers / rate, 1),
    }


def _draw(task):
    from keras_detblocks.data.synthetic import draw_scene

    for i in range(task[1]):
        draw_scene((task[0], i), 256)


def pipeline(options):
    """The pictures of 320x320 per second from `data.pipeline`, augmented, from memory."""
    import tempfile

    import tensorflow as tf  # noqa: F401  (says what is missing)

    from keras_detblocks import data

    count = 8 if options.smoke else 256
    with tempfile.TemporaryDirectory() as folder:
        data.synthetic.write_scenes(f"{folder}/set", count, 1, 320)
        dataset = data.load(f"{folder}/set", "train")
        batches = iter(data.pipeline(dataset, 320, 8, True, data.AUGMENTATIONS["flip"]))
        next(batches)
        began, batches_taken = time.perf_counter(), 3 if options.smoke else 200
        for _ in range(batches_taken):
            next(batches)
        seconds = time.perf_counter() - began
    return {"pictures_per_s": round(8 * batches_taken / seconds), "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
