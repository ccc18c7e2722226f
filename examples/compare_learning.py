"""Finds out what helps to learn your own data, in one run on one GPU: necks and context blocks,
learning rates with the shipped start, the assigner, mosaics, batches, image sizes, recipes.

    KERAS_BACKEND=jax python examples/compare_learning.py --bccd BCCD --out learning

Every trial of the table `trials` is a training with the recipe of `detblocks train` (Muon, warm-up
and cosine, averaged weights) on JAX; its COCO AP on pictures not trained on becomes one line of
`rows.jsonl`. Processes share the GPU and take the trials in order until `--minutes` are over;
existing rows are not repeated. `--groups` selects groups of trials, `--names` single rows; `--show`
prints the tables of existing rows. `--smoke` is tiny, for a CPU. With `KERAS_BACKEND=tensorflow` a
trial is a call of `training.train`, for a CPU:

    KERAS_BACKEND=tensorflow python examples/compare_learning.py --bccd BCCD --out learning \\
        --groups learning --processes 1 --minutes 60 --size-factor 0.6 --step-factor 0.6
"""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import traceback

from learning_trials import begin, build, trials

os.environ.setdefault("KERAS_BACKEND", "jax")

# How `jax_training` changes pictures.
MOVED = {"scale": (0.8, 1.3), "colors": False, "gain": 0.15}
STILL = {
    "scale": (1.0, 1.0), "horizontal_flip": False, "vertical_flip": False, "turn": False,
    "colors": False, "gain": 0.0,
}  # fmt: skip

# The processes ----------------------------------------------------------------------------


def main(arguments=None):
    options = parsed(arguments)
    if options.worker:
        return work(options)
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.show:
        for claim in options.out.glob("job*"):  # left by a comparison that was stopped
            claim.unlink()
        began, command = time.time(), [sys.executable, __file__, "--worker", *sys.argv[1:]]
        command = command if arguments is None else [*command[:3], *map(str, arguments)]
        command += ["--until", str(began + 60 * options.minutes)]
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        children = [subprocess.Popen(command, env=environment) for _ in range(options.processes)]
        for child in children:
            child.wait()
    return show(options)


def parsed(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bccd", type=pathlib.Path, help="a folder that `kdb.data.load` reads")
    parser.add_argument("--nuclei", type=pathlib.Path, help="another")
    parser.add_argument("--faces", type=pathlib.Path, help="another")
    parser.add_argument("--demo", type=pathlib.Path, help="`data` of a finished `detblocks demo`")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--groups", nargs="+", help="beginnings of groups of trials")
    parser.add_argument("--names", nargs="+", help="beginnings of their names")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="no others")
    parser.add_argument("--size-factor", type=float, default=1.0, help="smaller pictures")
    parser.add_argument("--step-factor", type=float, default=1.0, help="fewer steps")
    parser.add_argument("--precision", help="mixed_bfloat16 on JAX, else float32")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=float("inf"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.sets = {name: getattr(options, name) for name in ("bccd", "nuclei", "faces", "demo")}
    return options


def jobs(options):
    """Lists of trials with the same compiled step and the same place in the table, with their
    seeds."""
    chosen = [
        (trial, seed)
        for trial, seed in trials()
        if options.sets[trial.data]
        and (not options.groups or trial.group.startswith(tuple(options.groups)))
        and (not options.names or trial.name.startswith(tuple(options.names)))
        and seed in options.seeds
    ]
    chosen = [(scaled(trial, options), seed) for trial, seed in chosen]
    if options.smoke:
        tiny = {"size": 64, "steps": 2, "batch": 4}
        chosen = [(dataclasses.replace(trial, **tiny), seed) for trial, seed in chosen]
    together = {}
    for trial, seed in chosen:
        later = seed if trial.group == "necks" else 0
        together.setdefault((later, trial.group, trial.compiled()), []).append((trial, seed))
    return list(together.values())


def scaled(trial, options):
    """The trial with smaller pictures (sides of whole cells) and fewer steps."""
    size = max(32, 32 * round(trial.size * options.size_factor / 32))
    return dataclasses.replace(trial, size=size, steps=round(trial.steps * options.step_factor))


def work(options):
    """Takes one job after the other until the time is over."""
    import keras

    on_jax = keras.backend.backend() == "jax"
    keras.config.set_dtype_policy(options.precision or ("mixed_bfloat16" if on_jax else "float32"))
    run = run_job if on_jax else run_by_train
    for number, job in enumerate(jobs(options)):
        if time.time() > options.until:
            return
        try:
            (options.out / f"job{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        job = [each for each in job if key(*each) not in {row["key"] for row in rows_of(options)}]
        try:
            keras.backend.clear_session()
            if job:
                run(job, options)
        except Exception:
            print(f"{job[0][0].group}, {job[0][0].name}:", traceback.format_exc(), flush=True)


def key(trial, seed):
    """The key that tells a row from all others."""
    return json.dumps([dataclasses.asdict(trial), seed])


def rows_of(options):
    """The existing rows."""
    path = options.out / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@functools.cache
def loaded(folder, split):
    """A data set to train on, or one to test on."""
    from keras_detblocks.data import load, splits

    names = splits(folder)
    wanted = ("trainval", "train") if split == "train" else ("test", "val", *names)
    return load(folder, next(name for name in wanted if name in names))


@functools.cache
def on_device(folder, split, size):
    """A data set, and its pictures, boxes and labels on the device."""
    from jax_training import arrays

    dataset = loaded(folder, split)
    return dataset, arrays(dataset, (size, size))


def run_job(job, options):
    from jax_training import Change, Training, judged, make_predict, trained

    first, folder = job[0][0], options.sets[job[0][0].data]
    train_set, ring = on_device(folder, "train", first.size)
    test_set, test = on_device(folder, "test", first.size)
    test_set = test_set.with_classes(train_set.class_names)
    began = time.monotonic()
    model, fresh = build(first, train_set.class_names), build(first, train_set.class_names)
    change = Change(**STILL if first.still else MOVED, mosaic=first.mosaic > 0)
    assigned(dict(first.assign))
    if first.kept < 1:
        raise ValueError("Only on TensorFlow.")
    training = Training(
        model, first.batch, change, average=first.average, tau=1 / (1 - first.average),
        kernels=first.optimizer == "muon",
    )  # fmt: skip
    predict, size = make_predict(model), (first.size, first.size)
    for trial, seed in job:
        if time.time() > options.until:
            return
        started = begin(model, fresh, trial, seed, options)
        warm = min(60, trial.steps // 4)
        filled = min(trial.images or len(ring[0]), len(ring[0]))
        built = time.monotonic() - began if trial is first else None
        since = time.monotonic()
        controls = functools.partial(controls_at, trial, warm=warm)
        loss = trained(training, ring, filled, trial.steps, controls, seed)
        seconds = time.monotonic() - since
        ap = judged(predict, training.state, test, test_set, size)
        found = {"started": started, "AP": ap.ap, "AP50": ap.ap50, "loss": loss, "built": built}
        keep(trial, seed, options, seconds=seconds, parameters=model.count_params(), **found)


def keep(trial, seed, options, **found):
    """Adds a row."""
    row = {**dataclasses.asdict(trial), "key": key(trial, seed), "seed": seed, **found}
    row = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
    with (options.out / "rows.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(trial.group, "|", trial.name, seed, row["AP"], f"{row['seconds']:.1f} s", flush=True)


def run_by_train(job, options):
    """Runs the trials by `training.train`, which cannot slow down a backbone."""
    import keras

    for trial, seed in job:
        if time.time() > options.until:
            return
        if trial.frozen or trial.backbone != 1:
            print(f"{trial.group} | {trial.name}: only on JAX", flush=True)
            continue
        keras.backend.clear_session()
        assigned(dict(trial.assign))
        keep(trial, seed, options, built=None, **found_by_train(trial, seed, options))


def found_by_train(trial, seed, options):
    import keras_detblocks as kdb

    train_set, test_set = (loaded(options.sets[trial.data], split) for split in ("train", "test"))
    train_set, started = train_set.take(trial.images or len(train_set)), []

    def detector():
        model = build(trial, train_set.class_names)
        started.extend(begin(model, model, trial, seed, options))
        return model

    since = time.monotonic()
    model, history = kdb.training.train(
        detector,
        train_set,
        None,
        options.out / f"run-{trial.group}-{trial.name}-{seed}".replace(" ", "_"),
        epochs=trial.steps / (len(train_set) // trial.batch),
        batch_size=trial.batch,
        optimizer=trial.optimizer,
        learning_rate=trial.rate,
        ema=trial.average,
        augment=augmented(trial),
        freeze_statistics=trial.kept,
        precision=trial.precision,
        seed=seed,
    )
    seconds = time.monotonic() - since
    ap = kdb.training.evaluate_ap(model, test_set.with_classes(train_set.class_names))
    return {
        "started": started, "AP": ap.ap, "AP50": ap.ap50, "loss": history["losses"][-1]["loss"],
        "seconds": seconds, "parameters": model.count_params(),
    }  # fmt: skip


def augmented(trial):
    """The augmentation, with mosaics until a number of batches was made."""
    import tensorflow as tf

    import keras_detblocks as kdb

    if trial.still and not trial.mosaic:
        return None
    plain = kdb.data.Augment(0.0, scale=(1, 1), translate=0.0, color=(0, 0, 0, 0))
    plain = plain if trial.still else kdb.data.AUGMENTATIONS["dihedral"]
    change = dataclasses.replace(plain, mosaic=trial.mosaic)
    if trial.closed == 1:
        return change
    made, last = tf.Variable(0, trainable=False, dtype="int64"), int(trial.closed * trial.steps)
    closed = dataclasses.replace(change, mosaic=1e-9)  # never, but with the same number of boxes

    def until_closed(*batch):
        mosaics = made.assign_add(1) <= last
        return tf.cond(mosaics, lambda: change(*batch), lambda: closed(*batch))

    return until_closed


def controls_at(trial, step, warm):
    """The rates of the backbone and of the rest, and the share of mosaics."""
    import numpy as np

    from keras_detblocks.training.schedule import cosine_with_warmup

    done = step / trial.steps
    rate = trial.rate * cosine_with_warmup(step, done, warm)
    backbone = 0.0 if done < trial.frozen else trial.backbone
    mosaics = trial.mosaic if done < trial.closed else 0.0
    return np.array([rate * backbone, rate, mosaics], "float32")


def assigned(changes):
    """Makes the losses assign with other arguments, since they do not take the assigner's."""
    from keras_detblocks.detection import assign, losses

    losses.task_aligned = functools.partial(assign.task_aligned, **changes)


# The tables -------------------------------------------------------------------------------


def show(options):
    """Prints a table for each group: the mean over the seeds, and the spread."""
    rows = rows_of(options)
    for group in dict.fromkeys(row["group"] for row in rows):
        print(
            f"\n{group}\n| trial | steps | AP | AP50 | seeds | started |\n|---|---|---|---|---|---|"
        )
        members = [row for row in rows if row["group"] == group]
        for name in dict.fromkeys(row["name"] for row in members):
            same = [row for row in members if row["name"] == name]
            ap, ap50 = ([row[key] for row in same] for key in ("AP", "AP50"))
            spread = f" ({min(ap):.3f} to {max(ap):.3f})" if len(ap) > 1 else ""
            print(
                f"| {name} | {same[0]['steps']} | {statistics.mean(ap):.3f}{spread} | "
                f"{statistics.mean(ap50):.3f} | {len(ap)} | {', '.join(same[0]['started'])} |"
            )
    return rows


if __name__ == "__main__":
    main()
