"""The verb `detblocks train`."""

import pathlib
import sys
from dataclasses import asdict

from ..checks import check_int, spelled
from . import datasets, settings, training_options
from . import options as shared
from .options import with_flags
from .supervise import supervise, without

HELP = "train a detector on a data set"
# Options that have the same name in `training.train`.
_ALIKE = (
    "minutes",
    "epochs",
    "weight_decay",
    "ema",
    "warmup_steps",
    "evaluations",
    "patience",
    "repeat_threshold",
    "freeze_statistics",
    "seed",
    "resume",
    "precision",
)


def add_options(parser):
    shared.add_data(parser, nargs="?", default=None)
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder for model, history, curve and logs"
    )
    datasets.add_parts(parser)
    for add in training_options.ALL:
        add(parser)
    shared.add_detector(parser, _defaults())
    settings.defer_defaults(parser)


def _defaults():
    from ..detection.build import ModelOptions

    return ModelOptions()


def run(options):
    settings.settle(options, _file_of_settings(options), _recipe)
    if options.data is None:
        raise ValueError("Which data? Name a data set (folder or file), or give --config run.json.")
    model = shared.detector_options(options)
    _check_start(options, model)
    _check_weights(options.weights)
    _frozen(options)
    if options.minutes is None and options.epochs is None:
        options.minutes = training_options.DEFAULT_MINUTES
    _check_numbers(options)
    if options.restarts:
        return supervise(without(options.arguments, "--restarts"), options.out, options.restarts)
    workers = _join(options)
    _check_memory(options, model, workers)
    with _together():
        detector, validation_set, history = _train(options, model)
    if workers is not None and workers.index > 0:  # only the chief writes
        return
    print(
        f"Wrote {options.out}/detector.keras, history.json, run.json, learning_curve.png and logs/ "
        f"(tensorboard --logdir {options.out})"
    )
    if options.no_report:
        return
    if workers is not None:  # a separate one: the other machines have left and cannot predict
        detector = shared.open_model(options.out)
    report(options.out, detector, validation_set, history)


def _frozen(options):
    """The names of the parts to freeze."""
    parts = options.freeze.split(",") if options.freeze else []
    return [spelled(training_options.FROZEN, part.strip(), "part") for part in parts]


def _recipe(options):
    """The parts of the named recipe, which options given one by one override."""
    from ..detection import recipes

    name = getattr(options, "recipe", None)
    return {} if name is None else vars(recipes.options(name))


def _join(options):
    """Waits for the other machines, if there are any, before Keras computes anything."""
    from ..training import find_workers, start_workers

    workers = find_workers(options.workers, options.worker)
    if workers is not None:
        print(f"Worker {workers.index} of {', '.join(workers.addresses)}", flush=True)
        start_workers(workers)
    return workers


def _together():
    """A context in which an error on one machine ends all of them."""
    from ..training import together

    return together(lambda text: print(f"detblocks train: {with_flags(text)}", file=sys.stderr))


def _file_of_settings(options):
    """The given file of settings, or the settings of the run to resume."""
    config = getattr(options, "config", None)
    if config is not None or not getattr(options, "resume", False):
        return config
    before = options.out / "run.json"
    return before if before.is_file() else None


def _train(options, model):
    from .. import training

    train_set, validation_set = datasets.for_training(options)
    try:
        detector, history = training.train(
            lambda: _detector(options, model, train_set.class_names),
            train_set,
            validation_set,
            options.out,
            **_recipe_of(options),
            settings={
                **asdict(model),
                "augment": options.augment,
                "freeze": _frozen(options) or None,
                "start": options.start and str(options.start),
                "data": str(options.data),
            },
            about=settings.describe(options),
        )
    except KeyboardInterrupt:
        datasets.write_down(options, validation_set)
        if any((options.out / "checkpoint").glob("step-*")):  # there is none before the first step
            print("--resume continues the run.")
        raise
    datasets.write_down(options, validation_set)
    return detector, validation_set, history


def _detector(options, model, class_names):
    """The detector to train: the one to start from, or a new one."""
    from ..detection.build import build_detector
    from ..detection.start import start_weights

    if _is_file(options.start):
        detector = shared.open_model(options.start).with_classes(class_names)
    else:
        detector = build_detector(class_names, **asdict(model))
        if options.weights is not None:
            print(f"Starts from the backbone's pretrained weights: {options.weights}.")
        elif options.start is None:
            _say_start(start_weights(detector))
    detector.freeze(*_frozen(options))
    return detector


def _recipe_of(options):
    """The options as arguments of `training.train`."""
    from ..data import AUGMENTATIONS

    learning_rate, optimizer = options.learning_rate, options.optimizer
    if options.weights and optimizer in (None, "adamw"):
        # Smaller steps than from scratch keep what was learned before; at 0.001 a new
        # neck and head learn far too little in a short run (examples/finetune_rates.py).
        optimizer, learning_rate = "adamw", 4e-3 if learning_rate is None else learning_rate
    return {
        **{name: getattr(options, name) for name in _ALIKE},
        "batch_size": options.batch,
        "optimizer": optimizer or "muon",
        "learning_rate": learning_rate,
        "augment": AUGMENTATIONS[options.augment],
        "synchronize": training_options.SYNCHRONIZE[options.synchronize],
    }


def report(run, detector, validation_set, history):
    """Writes the report to the run's folder, and the best threshold into its detector."""
    from ..evaluation import evaluate, write_report
    from .evaluate import store

    if validation_set is None:
        print("No report: there are no validation pictures.")
        return
    path = run / "detector.keras"
    about = {"model": str(path), "bytes": path.stat().st_size}
    result = evaluate(detector, validation_set, about=about)
    print(f"Report: {write_report(result, run / 'report', history=history)}")
    store(path, result)
    detector.best_score_threshold = result.best_threshold if result.measured else None


def _is_file(start):
    """Whether `--start` names a detector, not 'none'."""
    return start is not None and str(start).lower() != "none"


def _say_start(parts):
    if parts:
        print(
            f"Starts from the shipped weights, learned from synthetic pictures: {', '.join(parts)} "
            "(--start none: from scratch)."
        )
    else:
        print("Starts from scratch: the shipped weights are of the compact backbone.")


def _check_start(options, model):
    """Refuses options for parts if the detector to start from already has them."""
    if not _is_file(options.start):
        return
    if not options.start.exists():
        raise FileNotFoundError(f"No such model: {options.start}")
    given = [
        shared.DETECTOR_FLAGS.get(field, f"--{field}")
        for field, value in asdict(_defaults()).items()
        if getattr(model, field) != value
    ]
    if given:
        raise ValueError(
            f"With --start the parts and the size are those of the detector: leave out "
            f"{', '.join(given)}."
        )


def _check_weights(weights):
    """Refuses a missing file before the data is read."""
    from ..weights import is_hub_id

    if weights not in (None, "imagenet") and not is_hub_id(weights):
        if not pathlib.Path(weights).exists():
            raise FileNotFoundError(f"No such file of weights: {weights}")


def _check_numbers(options):
    """Checks numbers as `training.train` does, before the data is read."""
    from ..training.limits import checked_run

    numbers = {name: getattr(options, name) for name in _ALIKE if name != "resume"}
    checked_run(batch_size=options.batch, learning_rate=options.learning_rate, **numbers)
    check_int(options.restarts, "--restarts", least=0)
    datasets.check_parts(options)


def _check_memory(options, model, workers):
    """Checks the memory for a batch; with a detector to start from, its size is known later."""
    from ..training.limits import check_memory

    if not _is_file(options.start):
        count = 1 if workers is None else len(workers.addresses)
        check_memory(model.image_size, options.batch, count)
