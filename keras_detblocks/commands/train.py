"""The verb `detblocks train`."""

import pathlib
from dataclasses import asdict

from ..checks import check_int, look_up
from . import datasets, settings
from . import options as shared
from .supervise import supervise, without

HELP = "train a detector on a data set"
# Minutes of training where neither they nor epochs are given.
DEFAULT_MINUTES = 30.0
FROZEN = ("backbone", "context", "neck", "head", "batch_norm")
SYNCHRONIZE = {"auto": None, "yes": True, "no": False}


def add_options(parser):
    shared.add_data(parser, nargs="?", default=None)
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder for model, history, curve and logs"
    )
    datasets.add_parts(parser)
    _add_run(parser)
    _add_recipe(parser)
    _add_machines(parser)
    shared.add_detector(parser, _defaults())
    settings.defer_defaults(parser)


def _add_run(parser):
    """How long, and from where."""
    from ..detection import recipes

    parser.add_argument(
        "--minutes",
        type=float,
        default=None,
        help=f"training time (default: {DEFAULT_MINUTES:g}, unless --epochs is given); the "
        "learning rate follows the clock",
    )
    parser.add_argument(
        "--epochs",
        type=float,
        default=None,
        help="passes over the data; such a run can be repeated bit for bit on the same machine",
    )
    parser.add_argument(
        "--evaluations",
        type=int,
        default=6,
        help="how often validation AP is measured on the way (default: %(default)s)",
    )
    parser.add_argument(
        "--no-report",
        action="store_true",
        help="leave out OUT/report/, the page on what was learned",
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=None,
        help="stop after so many evaluations without a better AP (default: never)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the stopped run in --out, with its settings where none are given",
    )
    parser.add_argument(
        "--recipe",
        default=None,
        help="the parts of a paper's detector, in place of the defaults of those options: "
        f"{', '.join(recipes.list())}",
    )
    parser.add_argument(
        "--start",
        type=pathlib.Path,
        default=None,
        help="a trained .keras detector to train on from: its parts and weights; classes of other "
        "names start new. Without it the compact backbone starts from the weights that ship with "
        "the package, and the default neck and head too; 'none' trains from scratch",
    )
    parser.add_argument(
        "--freeze",
        default=None,
        metavar="PART,...",
        help=f"parts that stay as they are: {', '.join(FROZEN)} (every batch normalization); a "
        "second run with --start trains all of it (default: none)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        default=None,
        help="the run.json of another run, which is repeated, or a TOML file such as 'batch = 8'; "
        "options given here come before it",
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="an option by its name, such as batch=8, before that of --config",
    )


def _add_recipe(parser):
    """How it learns."""
    parser.add_argument(
        "--batch",
        type=int,
        default=16,
        help="images per step, over all GPUs (default: %(default)s)",
    )
    parser.add_argument(
        "--optimizer",
        choices=("muon", "adamw"),
        default=None,
        help="default: muon; with --weights, adamw",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=None,
        help="at its peak; default: the optimizer's own, with --weights 0.001",
    )
    parser.add_argument("--weight-decay", type=float, default=0.02, help="(default: %(default)s)")
    parser.add_argument(
        "--warmup-steps", type=int, default=60, help="of the learning rate (default: %(default)s)"
    )
    parser.add_argument(
        "--ema",
        type=float,
        default=0.99,
        help="momentum of the averaged weights (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "mixed_float16", "mixed_bfloat16"),
        default="auto",
        help="auto: mixed_float16 on GPUs (default: %(default)s)",
    )
    parser.add_argument(
        "--augment",
        default="flip",
        choices=("none", "color", "flip", "dihedral", "mosaic"),
        help="flip: left-right, scale, shift and color; dihedral: all eight flips and turns as "
        "well, for microscopes and aerial pictures; mosaic: flip, and four pictures in one "
        "(default: %(default)s)",
    )


def _add_machines(parser):
    """Where it is trained: docs/distributed.md."""
    parser.add_argument(
        "--workers",
        default=None,
        metavar="HOST:PORT,...",
        help="of all machines that train together, the same on each; the first measures AP and "
        "writes (default: those of TF_CONFIG or SLURM, else one machine)",
    )
    parser.add_argument(
        "--worker", type=int, default=None, metavar="I", help="which of --workers this is, from 0"
    )
    parser.add_argument(
        "--synchronize",
        choices=tuple(SYNCHRONIZE),
        default="auto",
        help="batch normalization over all GPUs (default: where one has fewer than 8 images)",
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        help="start a run that crashed or was killed again, so many times at most, from its last "
        "checkpoint (default: %(default)s)",
    )


def _defaults():
    from ..detection.build import ModelOptions

    return ModelOptions()


def run(options):
    settings.settle(options, _file_of_settings(options), _recipe)
    from ..training.fit import check_budget

    if options.data is None:
        raise ValueError("Which data? Name a COCO or VOC folder, or give --config run.json.")
    model = shared.detector_options(options)
    _check_start(options, model)
    _check_levels(model)
    _frozen(options)
    if options.minutes is None and options.epochs is None:
        options.minutes = DEFAULT_MINUTES
    check_budget(
        options.minutes,
        options.epochs,
        options.batch,
        options.learning_rate,
        options.evaluations,
        options.patience,
    )
    check_int(options.restarts, "restarts", least=0)
    if options.restarts:
        return supervise(without(options.arguments, "--restarts"), options.out, options.restarts)
    workers = _join(options)
    detector, validation_set, history = _train(options, model)
    if options.no_report or (workers is not None and workers.index > 0):
        return
    if workers is not None:  # one of its own: the other machines are no longer there to predict
        detector = shared.open_model(options.out)
    report(options.out, detector, validation_set, history)


def _frozen(options):
    """The parts to freeze, by name."""
    parts = options.freeze.split(",") if options.freeze else []
    return [look_up({part: part for part in FROZEN}, part.strip(), "part") for part in parts]


def _recipe(options):
    """The parts of the recipe that is named, behind those given one by one."""
    from ..detection import recipes

    name = getattr(options, "recipe", None)
    return {} if name is None else vars(recipes.options(name))


def _join(options):
    """Waits for the other machines, if there are any; before Keras computes anything."""
    from ..training import find_workers, start_workers

    workers = find_workers(options.workers, options.worker)
    if workers is not None:
        print(f"Worker {workers.index} of {', '.join(workers.addresses)}", flush=True)
        start_workers(workers)
    return workers


def _file_of_settings(options):
    """The file given, or what the run to resume was made of."""
    config = getattr(options, "config", None)
    if config is not None or not getattr(options, "resume", False):
        return config
    before = options.out / "run.json"
    return before if before.is_file() else None


def _train(options, model):
    from .. import data, training
    from ..detection.build import build_detector
    from ..detection.start import start_weights

    train_set, validation_set = datasets.for_training(options)

    def build():
        if _is_file(options.start):
            detector = shared.open_model(options.start).with_classes(train_set.class_names)
        else:
            detector = build_detector(train_set.class_names, **asdict(model))
            if options.start is None:
                _say_start(start_weights(detector))
        detector.freeze(*_frozen(options))
        return detector

    try:
        detector, history = training.train(
            build,
            train_set,
            validation_set,
            options.out,
            minutes=options.minutes,
            epochs=options.epochs,
            batch_size=options.batch,
            optimizer=options.optimizer or ("adamw" if options.weights else "muon"),
            learning_rate=1e-3
            if options.weights and options.learning_rate is None
            else options.learning_rate,
            weight_decay=options.weight_decay,
            ema=options.ema,
            warmup_steps=options.warmup_steps,
            augment=data.AUGMENTATIONS[options.augment],
            evaluations=options.evaluations,
            patience=options.patience,
            synchronize=SYNCHRONIZE[options.synchronize],
            seed=options.seed,
            resume=options.resume,
            precision=options.precision,
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
        print("--resume continues the run.")
        raise
    datasets.write_down(options, validation_set)
    print(
        f"Wrote {options.out}/detector.keras, history.json, run.json, learning_curve.png and logs/ "
        f"(tensorboard --logdir {options.out})"
    )
    return detector, validation_set, history


def report(run, detector, validation_set, history):
    """The page on what was learned, in the run's folder, and the best threshold in its detector."""
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
    return start is not None and str(start) != "none"


def _say_start(parts):
    if parts:
        print(
            f"Starts from the shipped weights, learned from synthetic pictures: {', '.join(parts)} "
            "(--start none: from scratch)."
        )
    else:
        print("Starts from scratch: the shipped weights are of the compact backbone.")


def _check_start(options, model):
    """With a detector to start from, its parts are settled."""
    if not _is_file(options.start):
        return
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


def _check_levels(model):
    """Levels that no map of this input has are told before the data is read."""
    least = 2 if model.backbone == "compact" else 1
    most = max(model.image_size).bit_length() - 1
    if not least <= model.levels[0] <= model.levels[-1] <= most:
        height, width = model.image_size
        raise ValueError(
            f"--levels: expected levels from {least} to {most} (level l has a stride of 2 ** l "
            f"pixels, the input {height}x{width}); received {shared.TEXTS['levels'](model.levels)}"
        )
