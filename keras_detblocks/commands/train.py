"""The verb `detblocks train`."""

import pathlib
from dataclasses import asdict

from . import datasets
from . import options as shared

HELP = "train a detector on a data set"


def add_options(parser):
    shared.add_data(parser)
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder for model, history, curve and logs"
    )
    datasets.add_parts(parser)
    parser.add_argument(
        "--minutes",
        type=float,
        default=None,
        help="training time (default: 30, unless --epochs is given)",
    )
    parser.add_argument("--epochs", type=float, default=None)
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
    parser.add_argument(
        "--ema",
        type=float,
        default=0.99,
        help="momentum of the averaged weights (default: %(default)s)",
    )
    parser.add_argument(
        "--augment",
        default="flip",
        choices=("none", "color", "flip", "dihedral", "mosaic"),
        help="flip: left-right, scale, shift and color; dihedral: all eight flips and turns as "
        "well, for microscopes and aerial pictures; mosaic: flip, and four pictures in one "
        "(default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the stopped run in --out")
    parser.add_argument(
        "--start",
        type=pathlib.Path,
        default=None,
        help="a trained .keras detector to train on from: its parts and weights; classes of other "
        "names start new. Without it the compact backbone starts from the weights that ship with "
        "the package, and the default neck and head too; 'none' trains from scratch",
    )
    parser.add_argument("--seed", type=int, default=0)
    shared.add_detector(parser, _defaults())


def _defaults():
    from ..detection.build import ModelOptions

    return ModelOptions()


def run(options):
    from .. import data, training
    from ..detection.build import build_detector
    from ..detection.start import start_weights

    model = shared.detector_options(options)
    _check_start(options, model)
    train_set, validation_set = datasets.for_training(options)
    minutes = 30.0 if options.minutes is None and options.epochs is None else options.minutes

    def build():
        if _is_file(options.start):
            return shared.open_model(options.start).with_classes(train_set.class_names)
        detector = build_detector(train_set.class_names, **asdict(model))
        if options.start is None:
            _say_start(start_weights(detector))
        return detector

    try:
        training.train(
            build,
            train_set,
            validation_set,
            options.out,
            minutes=minutes,
            epochs=options.epochs,
            batch_size=options.batch,
            optimizer=options.optimizer or ("adamw" if options.weights else "muon"),
            learning_rate=1e-3
            if options.weights and options.learning_rate is None
            else options.learning_rate,
            ema=options.ema,
            augment=data.AUGMENTATIONS[options.augment],
            seed=options.seed,
            resume=options.resume,
            settings={
                **asdict(model),
                "augment": options.augment,
                "start": options.start and str(options.start),
            },
        )
    except KeyboardInterrupt:
        datasets.write_down(options, validation_set)
        print("--resume continues the run.")
        raise
    datasets.write_down(options, validation_set)
    print(
        f"Wrote {options.out}/detector.keras, history.json, learning_curve.png and logs/ "
        f"(tensorboard --logdir {options.out})"
    )


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
