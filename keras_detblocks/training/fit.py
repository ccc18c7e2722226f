"""Trains a detector: `tf.distribute`, warm-up and cosine, averaged weights, COCO AP on the way,
stop and resume."""

import json

import keras

from ..data import pipeline
from ..optimizers import AdamW, ConvMuon, conv_groups
from .callbacks import Budget, Milestones, ProgressBar, StepLog, tensorboard_writer
from .ema import RawWeights, judged, keep_better
from .evaluate import evaluate_ap
from .state import Checkpoint, prepare_folder, save_model, write_json

# Optimizers by name, with the learning rates that did best from scratch.
LEARNING_RATES = {"muon": 20e-3, "adamw": 8e-3}
# The head's last convolutions, by path: Muon is for layers within the net.
PREDICTORS = "(logits|distances)_out/"


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
    evaluations=6,
    seed=0,
    resume=False,
    precision="auto",
    settings=None,
    console=None,
):
    """Trains a detector and leaves `detector.keras`, `history.json`, `learning_curve.png` and
    TensorBoard logs in `out`.

    Args:
        build: a function without arguments that returns a `Detector` of static image size; it is
            called under the strategy (`tf.distribute.MirroredStrategy` over all visible GPUs, the
            default strategy with one device).
        train_set, validation_set: `data.Dataset`; `validation_set` may be `None`.
        out: folder, made if it does not exist.
        minutes, epochs: the budget, one of the two. Minutes are training alone; validation comes on
            top.
        batch_size: images per step over all replicas.
        optimizer: `"muon"` (`ConvMuon`: fewest steps from scratch) or `"adamw"` (cheaper steps
            where layers are wide).
        learning_rate: at its peak; `None` for the optimizer's own in `LEARNING_RATES`.
        weight_decay: normalisation and biases are not decayed.
        ema: momentum of the averaged weights, which it reaches over `5 / (1 - ema)` steps; 0 for
            none. They are evaluated and saved; in a run of fewer steps the weights of training
            are, where their validation AP is higher.
        warmup_steps: of the learning rate.
        augment: passed to `data.pipeline`.
        evaluations: number of equal parts of the budget after each of which COCO AP is measured.
        seed: of initial weights, order and augmentation.
        resume: continue the stopped run in `out`; the other arguments must be what they were. A run
            stopped by Ctrl-C continues from the last step, one that was killed from the last of
            twelve checkpoints.
        precision: `"auto"` (mixed float16 on GPU), `"float32"`, `"mixed_float16"` or
            `"mixed_bfloat16"`.
        settings: a dict of what `build` and `augment` are made of, for JSON; a resumed run must
            have the same.
        console: a `rich.console.Console`.

    Returns:
        `(detector, history)`: the detector with averaged (see `ema`) weights, and the history as in
        `history.json`.

    Raises:
        ValueError, OSError: before training, on impossible arguments, a training set without
            objects, other classes than the detector's, an unwritable folder, or one that holds a
            finished run, or a stopped one and no `resume`.
        FloatingPointError: if the loss is no longer finite.
    """
    from rich.console import Console

    console = console or Console()
    strategy = default_strategy()
    _check(minutes, epochs, optimizer, learning_rate, batch_size, strategy.num_replicas_in_sync)
    _check_objects(train_set)
    out = prepare_folder(out)
    checkpoint = Checkpoint(out / "checkpoint")
    learning_rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    settings = {
        "minutes": minutes,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "ema": ema,
        "seed": seed,
        "images": len(train_set),
        **json.loads(json.dumps(settings or {})),
    }
    _check_resume(checkpoint, resume, settings, out)
    with strategy.scope(), _global_policy(_policy(precision)):
        keras.utils.set_random_seed(seed)
        if resume:
            progress, model = checkpoint.progress(), checkpoint.load_model()
        else:
            progress, model = (
                {"step": 0, "seconds": 0.0, "history": {"losses": [], "ap": []}},
                build(),
            )
            compile_detector(model, learning_rate, weight_decay, ema, optimizer)
    _check_classes(model, train_set)
    history = progress["history"]
    steps_per_epoch = max(len(train_set.records) // batch_size, 1)
    steps = None if epochs is None else max(round(epochs * steps_per_epoch), 1)
    budget = Budget(
        learning_rate, warmup_steps, minutes, steps, progress["step"], progress["seconds"]
    )
    writer = tensorboard_writer(out / "logs")
    batches = pipeline(
        train_set,
        model.image_size,
        batch_size,
        training=True,
        augment=augment,
        seed=seed,
        skip=budget.step,
    )

    def keep():
        checkpoint.save(
            model,
            {
                "step": budget.step,
                "seconds": budget.seconds,
                "history": history,
                "settings": settings,
            },
        )

    def milestone(share):
        if validation_set is not None and share * evaluations % 1 < 0.5:
            _record_ap(model, validation_set, budget, history, writer, console)
        else:
            console.print(_so_far(budget, history))
        keep()

    progress_bar, raw = ProgressBar(budget, history, console), RawWeights()
    callbacks = [
        budget,
        StepLog(budget, history, writer),
        Milestones(budget, 2 * evaluations, milestone),
        progress_bar,
        raw,
    ]
    try:
        with (
            progress_bar.bar
        ):  # stopped by errors and Ctrl-C too, or the terminal stays without a cursor
            model.fit(
                batches,
                epochs=10**6,
                steps_per_epoch=steps_per_epoch,
                verbose=0,
                shuffle=False,
                callbacks=callbacks,
            )
    except KeyboardInterrupt:
        if budget.step > progress["step"]:
            keep()
            console.print(f"Stopped after step {budget.step}; the run can be resumed from there.")
        raise
    if validation_set is not None:
        _record_ap(model, validation_set, budget, history, writer, console, raw)
    _leave_results(model, history, out)
    checkpoint.remove()  # last: a run killed before this line can still be resumed
    return model, history


def _check(minutes, epochs, optimizer, learning_rate, batch_size, replicas):
    if batch_size < 1:
        raise ValueError(f"A batch has at least one image. Received: batch_size={batch_size}")
    if learning_rate is not None and not learning_rate > 0:
        raise ValueError(
            f"The learning rate must be positive. Received: learning_rate={learning_rate}"
        )
    if (minutes is None) == (epochs is None) or (epochs if minutes is None else minutes) <= 0:
        raise ValueError(
            f"Give a positive number of minutes or of epochs. Received: minutes={minutes}, "
            f"epochs={epochs}"
        )
    if replicas > batch_size:
        raise ValueError(
            f"A batch of {batch_size} cannot be shared by {replicas} devices; raise `batch_size`."
        )
    _check_optimizer(optimizer)


def _check_objects(train_set):
    if all(record.crowd.all() for record in train_set.records):
        skipped = f" Skipped while reading: {train_set.skipped}" if train_set.skipped.total else ""
        raise ValueError(
            f"{train_set.source}: expected objects to train on; received none in {len(train_set)} "
            f"images.{skipped}"
        )


def _check_classes(model, train_set):
    if tuple(model.class_names) != tuple(train_set.class_names):
        raise ValueError(
            f"The detector's classes are {tuple(model.class_names)}, those of the data "
            f"{tuple(train_set.class_names)}: give the "
            "detector the data's, `class_names=train_set.class_names`, or reorder the data with "
            "`train_set.with_classes(...)`."
        )


def _check_resume(checkpoint, resume, settings, out):
    """A finished run is not replaced; a stopped one is neither lost by forgetting `resume` nor
    continued as another one."""
    if (out / "detector.keras").is_file():
        raise ValueError(
            f"{out} holds a finished run: give another `out`, or start from "
            f"{out / 'detector.keras'} "
            f"to train it on."
        )
    if not resume and checkpoint.exists():
        raise ValueError(
            f"{out} holds a stopped run: continue it with `resume=True`, or give another `out`."
        )
    if resume and not checkpoint.exists():
        raise ValueError(
            f"There is no stopped run to resume in {out}; leave `resume=True` out to start one."
        )
    before = checkpoint.progress()["settings"] if resume else settings
    changed = [
        f"{key}={before.get(key)} (now {value})"
        for key, value in settings.items()
        if before.get(key) != value
    ]
    if changed:
        raise ValueError(
            f"The stopped run in {out} had {', '.join(changed)}: give the same to resume it."
        )


def _leave_results(model, history, out):
    from .curve import learning_curve

    write_json(out / "history.json", history)
    learning_curve(history, out / "learning_curve.png")
    save_model(model, out / "detector.keras")  # last: where it is, the run is complete


def default_strategy():
    """`MirroredStrategy` over the visible GPUs if there are several, else TensorFlow's default
    strategy."""
    import tensorflow as tf

    return (
        tf.distribute.MirroredStrategy()
        if len(tf.config.list_physical_devices("GPU")) > 1
        else tf.distribute.get_strategy()
    )


def compile_detector(
    model, learning_rate=None, weight_decay=0.02, ema=0.99, optimizer="muon", **kwargs
):
    """Compiles a detector with an optimizer of `LEARNING_RATES`, clipped gradients and averaged
    weights.

    `learning_rate=None` is the optimizer's own; `**kwargs` are `Detector.compile`'s.
    """
    _check_optimizer(optimizer)
    learning_rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    common = {
        "weight_decay": weight_decay,
        "global_clipnorm": 10.0,
        "use_ema": bool(ema),
        "ema_momentum": ema or 0.99,
    }
    if optimizer == "adamw":
        model.compile(AdamW(learning_rate, **common), **kwargs)
    else:
        model.compile(
            ConvMuon(
                learning_rate, groups=conv_groups(model), exclude_layers=[PREDICTORS], **common
            ),
            **kwargs,
        )


def _check_optimizer(optimizer):
    if optimizer not in LEARNING_RATES:
        raise ValueError(
            f"`optimizer` must be one of {', '.join(LEARNING_RATES)}. Received: "
            f"optimizer={optimizer!r}"
        )


def _record_ap(model, dataset, budget, history, writer, console, raw=None):
    """Measures validation AP; after the run `raw` has the weights that may replace the averages."""

    def evaluate(model):
        return evaluate_ap(model, dataset)

    result, averaged = judged(model, evaluate) if raw is None else keep_better(model, evaluate, raw)
    numbers = {key: float(value) for key, value in result.numbers.items()}
    row = {"step": budget.step, "seconds": round(budget.seconds, 2), "averaged": averaged}
    history["ap"].append({**row, **numbers})
    writer({f"validation/{key}": value for key, value in numbers.items()}, budget.step)
    console.print(
        f"{_so_far(budget, history)}  validation AP {numbers['AP']:.3f}  AP50 "
        f"{numbers['AP50']:.3f}{'' if averaged else '  (weights not averaged)'}"
    )


def _so_far(budget, history):
    loss = f", loss {history['losses'][-1]['loss']:.3f}" if history["losses"] else ""
    return f"{budget.seconds / 60:5.1f} min  step {budget.step:6d}{loss}"


def _policy(precision):
    if precision != "auto":
        return precision
    import tensorflow as tf

    return "mixed_float16" if tf.config.list_physical_devices("GPU") else "float32"


class _global_policy:
    """Sets the dtype policy that layers are built with, and puts the old one back."""

    def __init__(self, policy):
        self.policy = policy

    def __enter__(self):
        self.kept = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)

    def __exit__(self, *_):
        keras.config.set_dtype_policy(self.kept)
