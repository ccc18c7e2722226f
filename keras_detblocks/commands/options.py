"""Shared by several verbs: options and their types, data sets and models from paths."""

import argparse
import pathlib

from .datasets import add_reading

# The library's name of an argument, and the option that sets it.
FLAGS = {
    "`Dataset.describe()`": "`detblocks check`",
    "`batch_size`": "--batch",
    "`ema`": "--ema",
    "`epochs`": "--epochs",
    "`evaluations`": "--evaluations",
    "`filters`": "--filters",
    "`freeze_statistics`": "--freeze-statistics",
    "`fresh=True`": "--fresh",
    "`image_size`": "--size",
    "`images`": "--images FOLDER",
    "`learning_rate`": "--learning-rate",
    "`levels`": "--levels",
    "`list_models()`": "`detblocks models`",
    "`max_detections`": "--max-detections",
    "`minutes`": "--minutes",
    "`out`": "--out",
    "`overlap`": "--overlap",
    "`patience`": "--patience",
    "`repeat_threshold`": "--repeat-threshold",
    "`resume=True`": "--resume",
    "`seed`": "--seed",
    "`storage`": "--storage",
    "`tile`": "--tile",
    "`warmup_steps`": "--warmup-steps",
    "`weight_decay`": "--weight-decay",
}


def with_flags(message, own=None):
    """A message of the library in the words of the command line; `own` are the flags of a verb that
    differ from `FLAGS`."""
    for argument, flag in {**FLAGS, **(own or {})}.items():
        message = message.replace(argument, flag)
    return message


def add_data(parser, name="data", **kwargs):
    """Adds the data set; `name` is `--data` for verbs whose arguments are something else."""
    parser.add_argument(
        name,
        type=pathlib.Path,
        help="data set: COCO, Pascal VOC, YOLO, CSV, LabelMe, ... (folder or file)",
        **kwargs,
    )
    parser.add_argument(
        "--images",
        type=pathlib.Path,
        default=None,
        help="folder of the pictures, if they do not lie with the annotations",
    )
    add_reading(parser)


def add_max_detections(parser):
    parser.add_argument(
        "--max-detections",
        type=int,
        default=None,
        help=(
            "most detections in a picture (default: the model's own, 100 unless set); raise it "
            "for pictures with more objects"
        ),
    )


def set_max_detections(model, number):
    """Sets the number of detections of a model; an exported file returns at most the number that it
    was exported with."""
    if number is None:
        return
    if hasattr(model, "get_config"):
        model.max_detections = number
    elif number > model.max_detections:
        raise ValueError(
            f"This file gives at most {model.max_detections} detections: export the model again "
            f"with --max-detections {number}."
        )


def add_detector(parser, defaults):
    """Adds options for the fields of `ModelOptions`; `defaults` is a `ModelOptions`."""
    from ..detection.build import CONTEXTS, NECKS

    about = {
        "backbone": "'compact' or a name of `detblocks models`",
        "weights": "weights of the backbone: a .safetensors or .keras file, 'imagenet' or a hub id",
        "neck": f"{', '.join(NECKS)} or none",
        "context": f"block on the deepest level: {', '.join(CONTEXTS)}",
        "levels": "levels that the head predicts from, such as 3-5",
        "filters": "width of neck and head",
        "image_size": "HEIGHTxWIDTH of the network's input",
        "resize": "letterbox (keeps the proportions of pictures) or stretch (as MediaPipe does)",
    }
    for field, value in vars(defaults).items():
        shown = TEXTS[field](value) if field in TEXTS and value is not None else value
        parser.add_argument(
            DETECTOR_FLAGS.get(field, f"--{field}"),
            dest=field,
            type=_TYPES.get(field, str),
            default=value,
            help=about[field] + ("" if value is None else f" (default: {shown})"),
        )


def detector_options(options):
    """The `ModelOptions` given on the command line."""
    from dataclasses import fields

    from ..detection.build import ModelOptions

    return ModelOptions(
        **{field.name: getattr(options, field.name) for field in fields(ModelOptions)}
    )


def size(text):
    parts = text.lower().split("x")
    known = all(part.isdecimal() and len(part) <= 9 and int(part) for part in parts)
    if not known or len(parts) not in (1, 2):
        raise argparse.ArgumentTypeError(
            f"expected HEIGHTxWIDTH or one number, such as 256x320; received {text!r}"
        )
    return (int(parts[0]), int(parts[-1]))


def levels(text):
    first, _, last = text.partition("-")
    known = all(n.isdecimal() and len(n) <= 3 for n in (first, last or first))
    if not known or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"expected FIRST-LAST, such as 3-5; received {text!r}")
    return tuple(range(int(first), int(last or first) + 1))


def _neck(text):
    return None if text.lower() == "none" else text


DETECTOR_FLAGS = {"image_size": "--size"}
_TYPES = {"neck": _neck, "levels": levels, "filters": int, "image_size": size}
TEXTS = {
    "neck": lambda v: v or "none",
    "levels": lambda v: f"{v[0]}-{v[-1]}",
    "image_size": lambda v: f"{v[0]}x{v[1]}",
}


def print_table(table, console=None):
    """Prints a `rich` table; in a file or a pipe it is as wide as necessary."""
    from rich.console import Console

    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=200)
    console.print(table)


def one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


def model_file(path):
    """The path of a model's file: for the folder of a run, that of its detector."""
    inside = path / "detector.keras"
    return inside if inside.is_file() else path


def open_model(path):
    """A `Detector` from a `.keras` file, or an exported file with the same `image_size` and
    `predict`."""
    from ..detection import Detector
    from ..weights import load_keras_file

    if not path.exists():
        raise FileNotFoundError(f"No such model: {path}")
    path = model_file(path)
    if path.suffix != ".keras":
        from ..export import open_exported

        return open_exported(path)
    model = load_keras_file(path)
    if not isinstance(model, Detector):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, not a Detector; train one with `detblocks "
            f"train`."
        )
    return model
