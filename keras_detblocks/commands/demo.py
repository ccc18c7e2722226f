"""The verb `detblocks demo`: the whole job, end to end, on data that it makes itself."""

import json
import pathlib
import shutil
import time
from dataclasses import asdict

import numpy as np

from ..checks import check_int
from . import options as shared
from .train import report

# What the library calls the options of this verb.
FLAGS = {"`train_images`": "--train-images", "`val_images`": "--val-images"}
HELP = "train, evaluate, export and compare a detector of handwritten digits, end to end"

# Of eight minutes, the rest is for data, validation, exports and the comparison.
DEFAULT_MINUTES = 4.4
MOST_IMAGES = 10**6
FORMATS = ("saved_model", "onnx", "tflite", "tflite-fp16", "tflite-int8")


def add_options(parser):
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("detblocks-demo"),
        help="folder for everything it writes (default: %(default)s)",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start over instead of resuming or reusing what is in --out",
    )
    parser.add_argument(
        "--minutes", type=float, default=DEFAULT_MINUTES, help="of training (default: %(default)s)"
    )
    parser.add_argument("--train-images", type=int, default=4000)
    parser.add_argument("--val-images", type=int, default=500)
    shared.add_detector(parser, _default_model())


def run(options):
    demo(
        options.out,
        fresh=options.fresh,
        minutes=options.minutes,
        train_images=options.train_images,
        val_images=options.val_images,
        model=shared.detector_options(options),
    )


def _default_model():
    from ..detection.build import ModelOptions

    return ModelOptions(image_size=(192, 192), levels=(3, 4))


def demo(
    out,
    *,
    fresh=False,
    minutes=DEFAULT_MINUTES,
    train_images=4000,
    val_images=500,
    model=None,
    console=None,
):
    """Trains, evaluates and exports a detector of handwritten digits; keeps everything in `out`.

    A stopped demo continues where it was, a finished one is reused.

    Args:
        out: folder; `data/`, `run/`, `export/`, `predictions.png` and `results.json` are
            written to it.
        fresh: start over.
        minutes: of training.
        train_images, val_images: numbers of pictures.
        model: a `ModelOptions`; by default the compact backbone and an FPN of P3 and
            P4 at 192 pixels.

    Returns:
        The rows of the table that it prints, as dicts.

    Raises:
        ValueError: for impossible numbers, and if `out` holds a demo with other settings, or other
            files.
    """
    from rich.console import Console

    from ..data.digits import LEAST_SIZE
    from ..training.limits import checked_run
    from ..training.progress import speaker
    from ..training.state import prepare_folder, write_json

    console = console or Console()
    say = _clock(speaker(console))
    model = model or _default_model()
    check_int(model.image_size[0], "image_size", least=LEAST_SIZE)
    settings = {
        "minutes": checked_run(minutes=minutes)["minutes"],
        "train_images": check_int(train_images, "train_images", most=MOST_IMAGES),
        "val_images": check_int(val_images, "val_images", most=MOST_IMAGES),
        "model": json.loads(json.dumps(asdict(model))),
    }
    _claim(out, settings, fresh)
    prepare_folder(out)
    write_json(out / "settings.json", settings)
    speaker(console)(f"Everything is kept in {out}")
    train_set, validation_set = _data(out / "data", settings, model)
    say(f"data: {len(train_set)} pictures to train on, {len(validation_set)} to validate")
    detector = _trained(out / "run", train_set, validation_set, minutes, model, console)
    say(f"trained: {detector.count_params():,} parameters; exporting")
    files = _exported(out / "export", detector, train_set)
    say(f"exported, opened and compared: {', '.join(files)}")
    rows = compare_formats(out / "run", files, validation_set)
    shared.print_table(_table(rows), console)
    _draw(detector, validation_set, out / "predictions.png")
    write_json(out / "results.json", rows)
    say(
        f"pictures with boxes: {out / 'predictions.png'}; what was learned, on one page: "
        f"{out / 'run' / 'report' / 'index.html'}"
    )
    return rows


def _clock(say_plain):
    """Returns a function that prints a line preceded by the minutes and seconds since this call."""
    started = time.monotonic()

    def say(line):
        seconds = int(time.monotonic() - started)
        say_plain(f"{seconds // 60}:{seconds % 60:02d}  {line}")

    return say


def _data(folder, settings, model):
    """The data sets to train and to validate on, made if they do not exist."""
    from ..data import load, write_digits

    write_digits(
        folder,
        train_images=settings["train_images"],
        val_images=settings["val_images"],
        image_size=model.image_size[0],
    )
    return load(folder, "train"), load(folder, "val")


def _claim(out, settings, fresh):
    """Makes sure that `out` is empty, absent, or holds a demo with these settings."""
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        found = json.loads((out / "settings.json").read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.keys() != settings.keys():
        raise ValueError(f"{out} holds files that are not the demo's; give another `out`.")
    if fresh:
        shutil.rmtree(out)
    elif found != settings:
        raise ValueError(
            f"{out} holds a demo with other settings; `fresh=True` starts over, or give another "
            f"`out`."
        )


def _trained(folder, train_set, validation_set, minutes, model, console):
    from ..detection.build import build_detector
    from ..training import train
    from ..training.state import RunCheckpoint
    from ..weights import load_keras_file

    if (folder / "detector.keras").is_file():
        return load_keras_file(folder / "detector.keras")
    detector, history = train(
        lambda: build_detector(train_set.class_names, **asdict(model)),
        train_set,
        validation_set,
        folder,
        minutes=minutes,
        evaluations=2,
        resume=RunCheckpoint(folder / "checkpoint").exists(),
        console=console,
    )
    report(folder, detector, validation_set, history)
    return detector


def _exported(folder, detector, train_set):
    """The paths of the exported files by format; existing ones are not made again."""
    from ..data import pipeline
    from ..export import export_all, exported_path

    folder.mkdir(exist_ok=True)
    wanted = tuple(each for each in FORMATS if not exported_path(folder, each).exists())
    if wanted:
        export_all(
            detector,
            folder,
            wanted,
            calibration=pipeline(
                train_set.take(100), detector.image_size, 1, resize=detector.resize
            ),
        )
    return {each: exported_path(folder, each) for each in FORMATS}


def compare_formats(run, files, dataset):
    """Measures AP, AP50, size and milliseconds per image (one thread) of a trained detector and its
    exported files, on one data set.

    Args:
        run: the folder that `train` left: its last AP, measured on the same data set, is that of
            the Keras model.
        files: paths of exported files by format.
        dataset: the data set to evaluate the exported files on.
    """
    from ..export import compare_latency, open_exported
    from ..training import evaluate_ap

    trained = json.loads((run / "history.json").read_text())["ap"][-1]
    paths = {"keras": run / "detector.keras", **files}
    taken = {row.path: row.median for row in compare_latency(paths.values(), images=30)}
    rows = [_row("keras", trained, paths["keras"], taken)]
    for name, path in files.items():
        with open_exported(path) as model:
            rows.append(_row(name, evaluate_ap(model, dataset).numbers, path, taken))
    return rows


def _row(name, numbers, path, taken):
    from ..export import file_size

    return {
        "format": name,
        "AP": round(float(numbers["AP"]), 4),
        "AP50": round(float(numbers["AP50"]), 4),
        "kB": round(file_size(path) / 1024),
        "ms": round(taken[str(path)], 2),
    }


def _table(rows):
    from rich.table import Table

    table = Table(
        "format",
        *(("AP", "AP50", "kB", "ms per image, one thread")),
        title="The detector in every format",
    )
    for row in rows:
        table.add_row(
            row["format"],
            f"{row['AP']:.4f}",
            f"{row['AP50']:.4f}",
            f"{row['kB']:,}",
            f"{row['ms']:.2f}",
        )
    return table


def _draw(detector, dataset, path, count=24):
    from ..data import read_image
    from ..images.draw import detection_grid, draw_boxes

    pictures = [read_image(record.path, dataset.levels) for record in dataset.records[:count]]
    detection_grid(
        [
            draw_boxes(
                np.kron(picture, np.ones((2, 2, 1), "uint8")),
                found["boxes"] * 2,
                found["labels"],
                found["scores"],
                detector.class_names,
            )
            for picture, found in zip(pictures, detector.detect(pictures))
        ],
        path,
    )
