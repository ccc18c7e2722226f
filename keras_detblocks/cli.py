"""The command `detblocks`: one verb per job, each a thin call of the library.

Every error that a user can mend is one line on stderr, and exit code 2.
"""

import argparse
import pathlib
import sys

# What splits for training and for validation are called.
TRAINING = ("train", "train2017", "training")
VALIDATION = ("val", "valid", "val2017", "validation")
PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def main(arguments=None):
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    try:
        return options.run(options) or 0
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if options.debug:
            raise
        print(f"detblocks {options.verb}: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"detblocks {options.verb}: stopped", file=sys.stderr)
        return 130


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


def _parser(arguments):
    from .version import __version__

    parser = argparse.ArgumentParser(
        prog="detblocks", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, add in VERBS.items():
        verb = verbs.add_parser(name, help=add.__doc__, description=add.__doc__)
        if name in arguments:  # the options of the others are not needed, nor what they import
            verb.set_defaults(run=add(verb))
    return parser


def _add_demo(verb):
    """train, evaluate, export and compare a detector of handwritten digits, end to end"""
    verb.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("detblocks-demo"),
        help="folder for everything it writes",
    )
    verb.add_argument(
        "--fresh",
        action="store_true",
        help="start over instead of resuming or reusing what is in --out",
    )
    verb.add_argument("--minutes", type=float, default=None, help="training time (default: 4.7)")
    verb.add_argument("--train-images", type=int, default=4000)
    verb.add_argument("--val-images", type=int, default=500)
    _model_options(verb, size=(192, 192), levels=(3, 4))

    def run(options):
        from .commands.demo import demo

        demo(
            options.out,
            fresh=options.fresh,
            minutes=options.minutes,
            train_images=options.train_images,
            val_images=options.val_images,
            model=_model_settings(options),
        )

    return run


def _data_options(verb):
    verb.add_argument(
        "data", type=pathlib.Path, help="COCO folder or JSON file, or Pascal VOC folder"
    )
    verb.add_argument(
        "--images",
        type=pathlib.Path,
        default=None,
        help="folder of the pictures of a COCO JSON file elsewhere",
    )


def _model_options(verb, size, levels):
    from .detection.build import CONTEXTS, NECKS

    verb.add_argument(
        "--backbone",
        default="compact",
        help="'compact' or a name of `detblocks models` (default: %(default)s)",
    )
    verb.add_argument(
        "--weights",
        default=None,
        help="of the backbone: a .safetensors or .keras file, 'imagenet' or a hub id",
    )
    verb.add_argument(
        "--neck", default="fpn", help=f"{', '.join(NECKS)} or none (default: %(default)s)"
    )
    verb.add_argument(
        "--context", default=None, help=f"block on the deepest level: {', '.join(CONTEXTS)}"
    )
    verb.add_argument(
        "--levels",
        type=_levels,
        default=levels,
        help="levels that the head predicts from, such as 3-5",
    )
    verb.add_argument(
        "--filters", type=int, default=64, help="width of neck and head (default: %(default)s)"
    )
    verb.add_argument(
        "--size",
        type=_size,
        default=size,
        help="HEIGHTxWIDTH of the network's input (default: %(default)s)",
    )


MODEL_OPTIONS = ("backbone", "weights", "neck", "context", "levels", "filters", "size")


def _model_settings(options):
    return {
        "backbone": options.backbone,
        "weights": options.weights,
        "neck": None if options.neck == "none" else options.neck,
        "context": options.context,
        "levels": options.levels,
        "filters": options.filters,
        "image_size": options.size,
    }


def _size(text):
    parts = text.lower().split("x")
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) not in (1, 2):
        raise argparse.ArgumentTypeError(
            f"expected HEIGHTxWIDTH or one number, such as 256x320; received {text!r}"
        )
    return (int(parts[0]), int(parts[-1]))


def _levels(text):
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"expected FIRST-LAST, such as 3-5; received {text!r}")
    return tuple(range(int(first), int(last or first) + 1))


def _add_train(verb):
    """train a detector on a COCO or VOC folder"""
    _data_options(verb)
    verb.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder for model, history, curve and logs"
    )
    verb.add_argument(
        "--train-split",
        default=None,
        help="name of the training split (default: the one called train)",
    )
    verb.add_argument(
        "--val-split",
        default=None,
        help="name of the validation split, or 'none' (default: the one called val)",
    )
    verb.add_argument(
        "--minutes",
        type=float,
        default=None,
        help="training time (default: 30, unless --epochs is given)",
    )
    verb.add_argument("--epochs", type=float, default=None)
    verb.add_argument(
        "--batch",
        type=int,
        default=16,
        help="images per step, over all GPUs (default: %(default)s)",
    )
    verb.add_argument(
        "--optimizer",
        choices=("muon", "adamw"),
        default=None,
        help="default: muon; with --weights, adamw",
    )
    verb.add_argument(
        "--learning-rate",
        type=float,
        default=None,
        help="at its peak; default: the optimizer's own, with --weights 0.001",
    )
    verb.add_argument(
        "--ema",
        type=float,
        default=0.99,
        help="momentum of the averaged weights (default: %(default)s)",
    )
    verb.add_argument(
        "--augment",
        default="flip",
        choices=("none", "color", "flip", "dihedral", "mosaic"),
        help="flip: left-right, scale, shift and colour; dihedral: all eight flips and turns as well, for microscopes and aerial "
        "pictures; mosaic: flip, and four pictures in one (default: %(default)s)",
    )
    verb.add_argument("--resume", action="store_true", help="continue the stopped run in --out")
    verb.add_argument(
        "--start",
        type=pathlib.Path,
        default=None,
        help="a trained .keras detector to train on from: its parts and weights; classes of other names start new",
    )
    verb.add_argument("--seed", type=int, default=0)
    _model_options(verb, size=(320, 320), levels=(3, 4, 5))

    def run(options):
        given = [
            f"--{name}"
            for name in MODEL_OPTIONS
            if getattr(options, name) != verb.get_default(name)
        ]
        if options.start is not None and given:
            raise ValueError(
                f"With --start the parts and the size are those of the detector: leave out "
                f"{', '.join(given)}."
            )
        return _train(options)

    return run


def _train(options):
    from . import data, training
    from .detection.build import build_detector, check_names

    check_names(**_model_settings(options))
    train_set, validation_set = _splits(options)
    minutes = 30.0 if options.minutes is None and options.epochs is None else options.minutes

    def build():
        if options.start is not None:
            return _open(options.start).with_classes(train_set.class_names)
        return build_detector(train_set.class_names, **_model_settings(options))

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
            **_model_settings(options),
            "augment": options.augment,
            "start": options.start and str(options.start),
        },
    )
    print(
        f"Wrote {options.out}/detector.keras, history.json, learning_curve.png and logs/ "
        f"(tensorboard --logdir {options.out})"
    )


def _first(wanted, names):
    return next((name for name in wanted if name in names), None)


def _splits(options):
    from . import data

    names = data.splits(options.data)
    train_name = options.train_split or _first(TRAINING, names)
    if train_name is None and len(names) > 1:
        raise ValueError(
            f"Which split is for training? Name one of {sorted(names)} with --train-split."
        )
    train_set = data.load(options.data, train_name, options.images)
    print(train_set.describe())
    trained_on = names if train_name is None else train_name.split("+")
    val_name = options.val_split or _first(
        VALIDATION, [name for name in names if name not in trained_on]
    )
    if val_name in (None, "none"):
        print("No validation split: training without validation AP.")
        return train_set, None
    validation_set = data.load(options.data, val_name).with_classes(train_set.class_names)
    seen = {record.path for record in train_set.records} & {
        record.path for record in validation_set.records
    }
    if seen and options.val_split is None:
        print(
            f"{len(seen)} of the {len(validation_set)} pictures of {val_name!r} are trained on: "
            f"training without validation AP."
        )
        return train_set, None
    if seen:
        print(
            f"Warning: {len(seen)} of the {len(validation_set)} pictures for validation are "
            f"trained on; their AP says little."
        )
    print(validation_set.describe())
    return train_set, validation_set


def _add_evaluate(verb):
    """COCO AP of a trained or exported model on a data set"""
    verb.add_argument(
        "model", type=pathlib.Path, help=".keras, .onnx or .tflite file, or SavedModel folder"
    )
    _data_options(verb)
    verb.add_argument(
        "--split", default=None, help="(default: the one called test, else val, else the only one)"
    )

    def run(options):
        from . import data
        from .training import evaluate_ap

        model = _open(options.model)
        split = options.split or _first(("test", *VALIDATION), data.splits(options.data))
        dataset = data.load(options.data, split, options.images).with_classes(model.class_names)
        print(dataset.describe())
        print(evaluate_ap(model, dataset))

    return run


def _open(path):
    """A `Detector` from a `.keras` file, or a runner of an exported file with the same `image_size`
    and `predict`."""
    import keras

    from .detection import Detector

    if not path.exists():
        raise FileNotFoundError(f"No such model: {path}")
    if (path / "detector.keras").is_file():  # the folder of a run
        path = path / "detector.keras"
    if path.suffix != ".keras":
        from .export import open_exported

        return open_exported(path)
    try:
        model = keras.models.load_model(path)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a model of keras_detblocks that can be read: {_one_line(error)[:200]}"
        ) from error
    if not isinstance(model, Detector):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, not a Detector; train one with `detblocks "
            f"train`."
        )
    return model


def _add_predict(verb):
    """draw the detections of a model onto pictures"""
    verb.add_argument(
        "model", type=pathlib.Path, help=".keras, .onnx or .tflite file, or SavedModel folder"
    )
    verb.add_argument("images", nargs="+", type=pathlib.Path, help="pictures, or folders of them")
    verb.add_argument(
        "--out",
        type=pathlib.Path,
        required=True,
        help="folder for the pictures and detections.json",
    )
    verb.add_argument("--score", type=float, default=0.4, help="least score (default: %(default)s)")
    return _predict


def _predict(options):
    import json

    from .data import ImageError, read_image
    from .detection.inference import detect
    from .images.draw import draw_boxes
    from .training.state import prepare_folder

    detector, out = _open(options.model), prepare_folder(options.out)
    images = [file for path in options.images for file in _pictures(path)]
    rows, taken, unread = {}, {path.resolve() for path in images}, 0
    for path in images:
        try:
            picture = read_image(path)
        except ImageError as error:
            print(f"{path}: skipped: {_one_line(error)}", file=sys.stderr)
            unread += 1
            continue
        (found,) = detect(detector, [picture], options.score, batch_size=1)
        target = _free(out / f"{path.stem}.png", taken)
        draw_boxes(
            picture, found["boxes"], found["labels"], found["scores"], detector.class_names
        ).save(target)
        rows[str(path)] = [
            {
                "class": name,
                "score": round(float(score), 4),
                "box": [round(float(v), 2) for v in box],
            }
            for name, score, box in zip(found["class_names"], found["scores"], found["boxes"])
        ]
        print(f"{path}: {len(rows[str(path)])} objects -> {target}")
    (out / "detections.json").write_text(json.dumps(rows, indent=1))
    if unread:
        raise ValueError(
            f"{unread} of {len(images)} pictures could not be read; the others are done."
        )


def _pictures(path):
    """The file itself, or the pictures in a folder."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
    if not found:
        raise ValueError(
            f"{path}: expected pictures in this folder ({', '.join(PICTURES)}); received none."
        )
    return found


def _free(path, taken):
    """The path, numbered if it is one of the pictures themselves or was written for another of the
    same name."""
    number, wanted = 2, path
    while path.resolve() in taken:
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
    taken.add(path.resolve())
    return path


def _add_export(verb):
    """write SavedModel, ONNX and TFLite files of a detector, each opened and compared"""
    verb.add_argument("model", type=pathlib.Path, help=".keras file")
    verb.add_argument("--out", type=pathlib.Path, required=True)
    verb.add_argument(
        "--formats",
        default="saved_model,onnx,tflite,tflite-fp16",
        help="and tflite-int8 (default: %(default)s)",
    )
    verb.add_argument(
        "--calibration",
        type=pathlib.Path,
        default=None,
        help="data set with the pictures that int8 is calibrated on",
    )
    verb.add_argument(
        "--size", type=_size, default=None, help="input size, for a model of dynamic size"
    )
    for name, kind in THRESHOLDS.items():
        verb.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=None,
            help="of the file; default: the detector's own",
        )
    verb.add_argument(
        "--class-agnostic",
        action="store_true",
        default=None,
        help="one box per place, whatever its class",
    )
    return _export


# Attributes of a detector that an export freezes.
THRESHOLDS = {"score_threshold": float, "iou_threshold": float, "max_detections": int}


def _export(options):
    from . import export
    from .training.state import prepare_folder

    detector = _open(options.model)
    if not hasattr(detector, "get_config"):
        raise ValueError(
            f"A trained detector (.keras) is what can be exported. Received: {options.model}, an "
            f"export already"
        )
    out = prepare_folder(options.out)
    for name in (*THRESHOLDS, "class_agnostic"):
        if getattr(options, name) is not None:
            setattr(detector, name, getattr(options, name))
    reports = export.export_all(
        detector,
        out,
        tuple(options.formats.split(",")),
        calibration=_calibration(options, detector),
        image_size=options.size,
    )
    for report in reports:
        print(report)


def _calibration(options, detector):
    if options.calibration is None:
        if "int8" in options.formats:
            raise ValueError(
                "int8 needs pictures to calibrate on: give --calibration DATA (about 100 of your "
                "training pictures)."
            )
        return None
    from . import data

    dataset = data.load(options.calibration, _first(TRAINING, data.splits(options.calibration)))
    return data.pipeline(dataset.take(100), detector.image_size or options.size, 1)


def _add_models(verb):
    """list the backbones: parameters, MACs, channels, published weights with accuracy and
    licence"""
    verb.add_argument("--filter", default="", help="only names with this in them")

    def run(options):
        from .analysis.complexity import print_model_table

        print_model_table(options.filter)

    return run


def _add_summary(verb):
    """Keras' summary of a backbone: the whole classification net, or its feature pyramid"""
    verb.add_argument("name", help="'compact' or a name of `detblocks models`, in any case")
    verb.add_argument(
        "--size",
        type=_size,
        default=(224, 224),
        help="HEIGHTxWIDTH of the input (default: 224x224)",
    )
    verb.add_argument(
        "--levels",
        type=_levels,
        default=None,
        help="of the pyramid, such as 3-5, instead of the classifier",
    )
    return _summary


def _summary(options):
    from .backbones import catalogue
    from .detection.build import DEEPEST, build_backbone

    shape = (*options.size, 3)
    if options.name.lower() == "compact":  # it has no classification form
        levels = options.levels or (3, 4, 5)
        if not 2 <= levels[0] <= levels[-1] <= DEEPEST:
            raise ValueError(
                f"The compact backbone has the levels 2 to {DEEPEST}. Received: --levels "
                f"{levels[0]}-{levels[-1]}"
            )
        build_backbone("compact", options.size, levels).summary()
    elif options.levels:
        catalogue.constructor(options.name)(
            include_top=False, input_shape=shape, levels=options.levels
        ).summary()
    else:
        catalogue.constructor(options.name)(input_shape=shape).summary()


def _add_check(verb):
    """look a data set over: classes, sizes, and what cannot be used"""
    _data_options(verb)
    verb.add_argument("--split", default=None)

    def run(options):
        from . import data

        for split in (
            [options.split] if options.split else sorted(data.splits(options.data)) or [None]
        ):
            print(data.load(options.data, split, options.images).describe())

    return run


def _add_benchmark(verb):
    """milliseconds per image of models and exported files, one after the other on one thread"""
    verb.add_argument("models", nargs="+", type=pathlib.Path)
    verb.add_argument("--images", type=int, default=50)

    def run(options):
        from .export import benchmark

        for path in options.models:
            print(
                f"{path}: {benchmark(_open(path), images=options.images):.2f} ms per image, one "
                f"thread"
            )

    return run


def _add_design(verb):
    """sample design spaces, train a population of nets, compare and choose"""
    from .commands.design import add_design

    return add_design(verb)


VERBS = {
    "demo": _add_demo,
    "train": _add_train,
    "evaluate": _add_evaluate,
    "predict": _add_predict,
    "export": _add_export,
    "benchmark": _add_benchmark,
    "check": _add_check,
    "models": _add_models,
    "summary": _add_summary,
    "design": _add_design,
}
