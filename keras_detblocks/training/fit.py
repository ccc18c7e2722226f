"""Trains a detector: `tf.distribute`, warm-up and cosine, averaged weights, COCO AP on the way,
stop and resume."""

import json
import pathlib
import tempfile

import keras
from rich.console import Console

from ..checks import check_flag, check_path, refused
from ..data import pipeline
from ..data.augment import augmentation
from ..data.dataset import check_dataset
from ..weights import load_keras_file
from .callbacks import Budget, Callbacks, Milestones, StepLog
from .devices import default_devices
from .distribute import LEAST_IMAGES, synchronize_batch_norm
from .freezing import FreezeStatistics
from .interrupt import Interrupts
from .limits import MOST_STEPS, check_memory, checked_run, default_rate, steps_of
from .progress import ProgressBar, speaker, tensorboard_writer
from .recipe import built_with, check_precision, compile_detector
from .record import RunRecord, described
from .resume import changes, check_folder
from .run import Run, finalize
from .state import RunCheckpoint, prepare_folder, remove_unfinished
from .together import together
from .told import Told, said_of_precision, said_of_repeats

NEW = {
    "step": 0,
    "seconds": 0.0,
    "milestones": 0,
    "sums": None,
    "over": False,
    "changes": [],
}


@together()
def train(
    build,
    train_set,
    validation_set,
    out,
    *,
    minutes=None,
    epochs=None,
    batch_size=16,
    optimizer="muon",
    learning_rate=None,
    weight_decay=0.02,
    ema=0.99,
    warmup_steps=60,
    augment=None,
    repeat_threshold=None,
    evaluations=6,
    patience=None,
    synchronize=None,
    freeze_statistics=None,
    seed=0,
    resume=False,
    precision="auto",
    settings=None,
    about=None,
    console=None,
):
    """Trains a detector, on the TensorFlow and JAX backends, and leaves `detector.keras`,
    `best.keras` (with a validation set: the weights with the best AP), `history.json`, `run.json`,
    `learning_curve.png` and TensorBoard logs in `out`.

    Ctrl-C, SIGTERM and SIGHUP save and stop after the current step. A process that is killed loses
    the steps since the last checkpoint: there are `2 * evaluations` of them in the budget, and at
    least one every ten minutes. With `epochs` a resumed run ends with the weights and the history
    of an uninterrupted one.

    Args:
        build: a function without arguments that returns a `Detector` of static image size; it is
            called under the strategy (that of `start_workers` for several machines,
            `tf.distribute.MirroredStrategy` over all visible GPUs of one, TensorFlow's default with
            one device; on JAX `keras.distribution.DataParallel`).
        train_set, validation_set: `data.Dataset`; `validation_set` may be `None`.
        out: folder, made if it does not exist.
        minutes, epochs: the budget, one of the two. Minutes count training only; validation comes
            on top.
        batch_size: images per step over all replicas. In runs of few hundred steps smaller ones
            learn more from as many pictures; see the documentation.
        optimizer: `"muon"` (`ConvMuon`: fewest steps from scratch) or `"adamw"` (cheaper steps
            where layers are wide).
        learning_rate: the peak; `None` for 0.02 with Muon and 0.008 with AdamW at 16 images per
            step, and otherwise in proportion to the root of their number (4 to 32).
        weight_decay: of all weights except normalization and biases.
        ema: momentum of the averaged weights, which it reaches over `5 / (1 - ema)` steps; 0 for
            none. They are evaluated and saved; in a run of fewer steps the weights of training are,
            if their validation AP is higher.
        warmup_steps: of the learning rate.
        augment, repeat_threshold: passed to `data.pipeline`. An epoch has the same number of steps
            with repeated pictures as without.
        evaluations: number of equal parts of the budget after each of which COCO AP is measured.
        patience: training ends after so many evaluations without a better AP; `None` for never.
        synchronize: whether batch normalization takes its statistics over all replicas; `None`: if
            a replica has fewer than 8 images. On JAX it always does.
        freeze_statistics: share of the budget after which batch normalization keeps its statistics,
            1 for never; small shares are for trained detectors. `None` for 0.4 on CPUs under
            TensorFlow in float32, if 150 steps are left then, and with `"bfloat16_conv"`; else
            never.
        seed: of initial weights, order and augmentation.
        resume: whether to continue the stopped run in `out`. The budget, the learning rate,
            `evaluations`, `patience`, `freeze_statistics` and paths may differ from before, which
            `run.json` records; everything else must be the same.
        precision: `"float32"`, `"mixed_float16"`, `"mixed_bfloat16"`, or on CPUs `"bfloat16_conv"`:
            convolutions in bfloat16 as soon as batch normalization keeps its statistics, or in all
            training steps if it never begins to. `"auto"` is mixed float16 on GPUs and float32
            elsewhere, but bfloat16 too on CPUs with AMX as soon as it begins to.
        settings: a dict, for JSON, that describes `build` and `augment`; a resumed run must have
            the same.
        about: a dict that goes into `run.json` as it is, such as the command.
        console: a `rich.console.Console`.

    Returns:
        `(detector, history)`: the detector with averaged (see `ema`) weights, and the history as in
        `history.json`.

    Raises:
        ValueError, OSError: before training, on impossible arguments, a training set without
            objects, other classes than the detector's, an unwritable folder, or one that holds a
            finished run, or a stopped one without `resume`.
        FloatingPointError: if the loss or a weight is no longer finite; the checkpoints before
            stay.
        KeyboardInterrupt: a `Stopped` with the number of the signal, once the run is saved.
        ConnectionError: if another of several processes ended; see `together`.
    """
    devices = default_devices()
    console = console or Console()
    say = speaker(console) if devices.chief else _silent
    given = checked_run(
        minutes=minutes,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        ema=ema,
        warmup_steps=warmup_steps,
        repeat_threshold=repeat_threshold,
        evaluations=evaluations,
        patience=patience,
        seed=seed,
        precision=precision,
        synchronize=synchronize,
        freeze_statistics=freeze_statistics,
    )
    resume, augment = check_flag(resume, "resume"), augmentation(augment)
    out = check_path(out, "out")
    _check_kinds(build, train_set, validation_set)
    _check_data(train_set, given, devices)
    data = {"train": described(train_set), "validation": described(validation_set)}
    settings = _settings(given, data, settings)
    checkpoint = RunCheckpoint(out / "checkpoint")
    resume = devices.from_chief(lambda: _claim(out, checkpoint, resume, settings))
    with Interrupts() as interrupts:
        progress, model = _begun(build, devices, checkpoint if resume else None, settings, out, say)
        _check_model(model, train_set, settings["batch_size"], devices)
        budget = _budget(settings, progress, train_set, devices, interrupts)
        run = Run(
            model=model,
            out=out,
            checkpoint=checkpoint,
            budget=budget,
            log=_log(out, budget, progress, devices),
            progress=progress,
            record=RunRecord(settings, data, about, progress["changes"], devices),
            train_set=train_set,
            validation_set=validation_set,
            interrupts=interrupts,
            say=say,
            patience=settings["patience"],
            devices=devices,
        )
        _fit(run, augment, console)
        run.finish()
    return model, run.history


def _settings(given, data, more):
    """The settings in a checkpoint, with which a run that resumes from it is compared."""
    rate = given["learning_rate"]
    return {
        **given,
        "learning_rate": rate or default_rate(given["optimizer"], given["batch_size"]),
        "training data": data["train"]["fingerprint"],
        **json.loads(json.dumps(more or {}, default=str)),
    }


def _silent(*_, **__):
    """Keeps every process but the chief from printing and writing."""


def _begun(build, devices, checkpoint, settings, out, say):
    """Returns `(progress, model)` of a new run, or of the run that the checkpoint belongs to."""
    with devices.scope(), built_with(settings["precision"]):
        keras.utils.set_random_seed(settings["seed"])
        if checkpoint is not None:
            progress, model = _resumed(devices, checkpoint, settings, out, say)
        else:
            progress = {**NEW, "history": {"losses": [], "ap": []}, "settings": settings}
            model = _compiled(build(), settings)
        if _synchronized(settings["synchronize"], settings["batch_size"], devices):
            synchronize_batch_norm(model)
    return progress, model


def _compiled(model, settings):
    compile_detector(
        model,
        settings["learning_rate"],
        settings["weight_decay"],
        settings["ema"],
        settings["optimizer"],
    )
    return model


def _budget(settings, progress, train_set, devices, interrupts):
    epochs, pictures = settings["epochs"], len(train_set.records)
    return Budget(
        settings["learning_rate"],
        settings["warmup_steps"],
        settings["minutes"],
        None if epochs is None else steps_of(epochs, pictures, settings["batch_size"]),
        progress["step"],
        progress["seconds"],
        devices,
        interrupts,
    )


def _log(out, budget, progress, devices):
    """The callback that records every step."""
    writer = tensorboard_writer(out / "logs") if devices.chief else _silent
    return StepLog(budget, progress["history"], writer, progress["sums"])


def _batches(run, augment):
    """The batches of this process, starting at the step from which the run continues."""
    settings = run.progress["settings"]

    def part(shard):
        return pipeline(
            run.train_set,
            run.model.image_size,
            settings["batch_size"],
            training=True,
            augment=augment,
            seed=settings["seed"],
            skip=run.budget.step,
            shard=shard,
            resize=run.model.resize,
            repeat_threshold=settings["repeat_threshold"],
        )

    batches = run.devices.batches(part, settings["batch_size"])
    run.note_pictures()
    return batches


def _fit(run, augment, console):
    """Runs Keras' `fit` in one endless epoch, so that the run decides when metrics are reset."""
    if run.over or run.budget.progress >= 1.0:  # stopped after its last step
        finalize(run.model, run.raw)
        return
    progress_bar = ProgressBar(run.budget, run.history, console, hidden=not run.devices.chief)
    settings = run.progress["settings"]
    milestones = Milestones(run, 2 * settings["evaluations"], run.progress["milestones"])
    pictures, batch = len(run.train_set.records), settings["batch_size"]
    steps = max(pictures // batch, 1)
    told = Told(run.budget, run.history, run.say, pictures, steps, batch)
    freezing = FreezeStatistics(run, told)
    for text in (
        said_of_precision(settings["precision"], run.model, freezing.share < 1),
        said_of_repeats(run.train_set, settings["repeat_threshold"]),
    ):
        if text:
            run.say(text)
    callbacks = [run.budget, run.log, told, progress_bar, freezing, milestones, run.raw]
    batches = _batches(run, augment)
    try:
        # Errors leave the bar too, or the terminal would stay without a cursor.
        with progress_bar.bar, run.devices.fitting(run.model), freezing.steps():
            run.model.fit(
                batches,
                epochs=1,
                steps_per_epoch=MOST_STEPS,
                verbose=0,
                shuffle=False,
                callbacks=Callbacks(callbacks, add_history=True, model=run.model),
            )
    except KeyboardInterrupt:
        # An interrupt that did not come from a signal, so that no callback has saved.
        unsaved = run.budget.between_steps and run.budget.step > run.saved_step
        if unsaved and keras.backend.backend() == "tensorflow" and run.devices.count == 1:
            run.save(milestones.done)
            run.say(f"Stopped after step {run.saved_step}; the run can be resumed from there.")
        raise


def _claim(out, checkpoint, resume, settings):
    """Prepares a folder that the run can write to; returns whether the run resumes from its
    content."""
    prepare_folder(out)
    check_folder(out, checkpoint, resume)
    if resume:
        changes(checkpoint.progress()["settings"], settings, out)
    remove_unfinished(out)
    remove_unfinished(checkpoint.folder)
    return resume


def _resumed(devices, checkpoint, settings, out, say):
    """Returns `(progress, model)` of the newest intact checkpoint, which the chief has."""
    with tempfile.TemporaryDirectory() as folder:
        file, told = pathlib.Path(folder) / "model.keras", b"{}"
        if devices.chief:
            file, progress, damaged = checkpoint.newest()
            told = json.dumps({"progress": progress, "damaged": damaged}).encode()
        told = json.loads(devices.broadcast(told))
        if devices.count > 1:
            content = devices.broadcast(file.read_bytes() if devices.chief else b"")
            if not devices.chief:
                file.write_bytes(content)
        model = load_keras_file(file)
    progress = told["progress"]
    for line in told["damaged"]:
        say(f"Warning: {line}; continuing from step {progress['step']}.", style="yellow")
    now = devices.numbers()
    before = {key: progress.get(key, value) for key, value in now.items()}
    found = changes({**progress["settings"], **before}, {**settings, **now}, out)
    for change in found:
        say(
            f"From step {progress['step']} on, {change['setting']} is {change['now']} "
            f"(before: {change['before']})."
        )
    at = {"step": progress["step"]}
    progress["changes"] = [*progress["changes"], *({**at, **change} for change in found)]
    return {**progress, "settings": settings}, model


def _synchronized(wanted, batch_size, devices):
    """Whether batch normalization spans all replicas; on JAX it always does."""
    if keras.backend.backend() != "tensorflow" or devices.replicas == 1:
        return False
    return batch_size / devices.replicas < LEAST_IMAGES if wanted is None else wanted


def _check_kinds(build, train_set, validation_set):
    if not callable(build) or isinstance(build, keras.Model):
        raise refused(build, "build", "a function without arguments that returns a Detector")
    check_dataset(train_set, "train_set")
    if validation_set is not None:
        check_dataset(validation_set, "validation_set")


def _check_data(train_set, settings, devices):
    check_precision(settings["precision"])
    batch_size = settings["batch_size"]
    if settings["epochs"] is not None:
        steps_of(settings["epochs"], len(train_set.records), batch_size)
    if devices.replicas > batch_size:
        raise ValueError(
            f"A batch of {batch_size} cannot be shared by {devices.replicas} devices; raise "
            f"`batch_size`."
        )
    even = devices.count > 1 or keras.backend.backend() == "jax"
    if even and batch_size % devices.replicas:
        raise ValueError(
            f"{devices.replicas} devices in {devices.count} processes take equal shares of a "
            f"batch: give a `batch_size` that is a multiple. Received: batch_size={batch_size}"
        )
    if all(record.crowd.all() for record in train_set.records):
        skipped = f" Skipped while reading: {train_set.skipped}" if train_set.skipped.total else ""
        raise ValueError(
            f"{train_set.source}: expected objects to train on; received none in {len(train_set)} "
            f"images.{skipped}"
        )


def _check_model(model, train_set, batch_size, devices):
    if tuple(model.class_names) != tuple(train_set.class_names):
        raise ValueError(
            f"The detector's classes are {tuple(model.class_names)}, those of the data "
            f"{tuple(train_set.class_names)}: give the detector the data's, "
            "`class_names=train_set.class_names`, or reorder the data with "
            "`train_set.with_classes(...)`."
        )
    check_memory(model.image_size, batch_size, devices.count)
