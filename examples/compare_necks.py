"""Every neck on one backbone, or any parts and recipes, with one budget: size, arithmetic, time on
a phone's runtime, and precision; on the demo's digits or on a data set.

    python examples/compare_necks.py  # seven necks, 4 minutes each; 45 minutes in all
    python examples/compare_necks.py --parts fpn,bifpn+sppf,yolo-like-s --steps 300
    python examples/compare_necks.py --parts recipes --minutes 10 --image-size 320 \\
        --data BCCD --train-split trainval --val-split test --augment dihedral

A part is a neck, a neck and a context block (`fpn+rfb`), or a recipe; `recipes` are all that train
in minutes. On the digits all start from scratch; on a data set, parts that match the shipped start
begin with it. The table is printed and kept in `necks.json` and `necks.png` in the folder `--out`.
A stopped comparison continues where it stopped: finished rows are not run again. In addition to its
training a row takes about two minutes for compilation, exports, checks and evaluation. Short
budgets favor parts that learn fast: `--minutes` gives cheap ones more steps, `--steps` gives all of
them the same number.
"""

import argparse
import datetime
import json
import pathlib
import time

import keras
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import keras_detblocks as kdb
from keras_detblocks.analysis.complexity import complexity
from keras_detblocks.commands.demo import compare_formats
from keras_detblocks.commands.options import print_table
from keras_detblocks.detection.build import NECKS, ModelOptions, build_detector
from keras_detblocks.images.draw import COLORS
from keras_detblocks.training.state import RunCheckpoint, write_json

EXPORTED = ("tflite", "tflite-int8")
RECIPES = [name for name in kdb.recipes.list() if name.endswith("-s")]
OVERHEAD = 140  # seconds that a row takes in addition to its training


def main(arguments=None):
    options = parse(arguments)
    console = Console()
    out = kdb.training.state.prepare_folder(options.out)
    claim(
        out / "settings.json", {k: v for k, v in vars(options).items() if k not in ("out", "parts")}
    )
    train_set, validation_set = load(options, out)
    done = {name: out / f"{name}.json" for name in options.parts}
    left = [name for name, path in done.items() if not path.is_file()]
    seconds = 60 * options.minutes + OVERHEAD if options.steps is None else None
    for i, name in enumerate(left):
        console.print(
            f"[{len(done) - len(left) + i + 1}/{len(done)}] {name}{eta(seconds, len(left) - i)}"
        )
        started = time.monotonic()
        keras.utils.clear_session()
        detector = trained(name, options, train_set, validation_set, out / name, console)
        write_json(done[name], measured(name, detector, out / name, train_set, validation_set))
        seconds = time.monotonic() - started
    rows = [json.loads(path.read_text()) for path in done.values()]
    show(rows, console)
    write_json(out / "necks.json", rows)
    draw(rows, out / "necks.png")
    return rows


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("necks"))
    parser.add_argument(
        "--parts",
        type=lambda text: list(RECIPES) if text == "recipes" else text.split(","),
        default=list(NECKS),
        help=f"of {', '.join([*NECKS, *RECIPES])}, with +CONTEXT after a neck, or recipes",
    )
    parser.add_argument("--minutes", type=float, default=4.0, help="of training, for each row")
    parser.add_argument("--steps", type=int, help="of training, for each row, in place of minutes")
    parser.add_argument(
        "--levels",
        type=lambda text: [int(level) for level in text.split(",")],
        default=[3, 4, 5],
        help="recipes have their own",
    )
    parser.add_argument("--filters", type=int, default=64, help="recipes have their own")
    parser.add_argument("--image-size", type=int, default=192)
    parser.add_argument("--train-images", type=int, default=4000)
    parser.add_argument("--val-images", type=int, default=500)
    parser.add_argument("--data", help="a data set in place of digits")
    parser.add_argument("--train-split", default="train")
    parser.add_argument("--val-split", default="val")
    parser.add_argument("--augment", choices=sorted(kdb.data.AUGMENTATIONS), default="none")
    options = parser.parse_args(arguments)
    for name in options.parts:
        try:
            ModelOptions(**model_options(name, options))
        except ValueError as error:
            parser.error(f"{name}: {error}")
    return options


def model_options(name, options):
    """The arguments of `build_detector` that a row's name stands for."""
    if name in kdb.recipes.list():
        return vars(kdb.recipes.options(name, image_size=options.image_size))
    neck, _, context = name.partition("+")
    return {
        **{"neck": neck, "context": context or None, "levels": options.levels},
        **{"filters": options.filters, "image_size": options.image_size},
    }


def load(options, out):
    """The sets to train on and to validate on."""
    if options.data is not None:
        splits = (options.train_split, options.val_split)
        return [kdb.data.load(options.data, split) for split in splits]
    digits = kdb.data.write_digits(
        out / "data", options.train_images, options.val_images, options.image_size
    )
    return [kdb.data.load(digits, split) for split in ("train", "val")]


def claim(path, settings):
    """Stores the settings, or compares them with those of an existing comparison."""
    if path.is_file() and json.loads(path.read_text()) != settings:
        raise SystemExit(
            f"{path.parent} holds a comparison with other settings; give another --out."
        )
    write_json(path, settings)


def eta(seconds, rows):
    if seconds is None:
        return ""
    end = datetime.datetime.now() + datetime.timedelta(seconds=seconds * rows)
    return f": about {seconds * rows / 60:.0f} minutes left for {rows} of them, until {end:%H:%M}"


def trained(name, options, train_set, validation_set, folder, console):
    """The row's detector: from its file, from its stopped training, or new."""
    if (folder / "detector.keras").is_file():
        return keras.models.load_model(folder / "detector.keras")
    batch = min(16, len(train_set))

    def build():
        detector = build_detector(train_set.class_names, **model_options(name, options))
        if options.data is not None:
            kdb.start_weights(detector)
        return detector

    return kdb.training.train(
        build,
        train_set,
        validation_set,
        folder,
        minutes=None if options.steps else options.minutes,
        epochs=options.steps / (len(train_set) // batch) if options.steps else None,
        batch_size=batch,
        augment=kdb.data.AUGMENTATIONS[options.augment],
        evaluations=1,
        resume=RunCheckpoint(folder / "checkpoint").exists(),
        console=console,
    )[0]


def measured(name, detector, folder, train_set, validation_set):
    """Returns a row: counts of the whole detector, its steps, and the numbers that `demo` measures
    for each format."""
    calibration = kdb.data.pipeline(train_set.take(100), detector.image_size, 1)
    kdb.export.export_all(detector, folder, EXPORTED, calibration)
    files = {each: kdb.export.exported_path(folder, each) for each in EXPORTED}
    formats = compare_formats(folder, files, validation_set)
    counts = complexity(detector, detector.image_size[0])
    return {
        "neck": name,
        "params": counts.params,
        "macs": counts.macs,
        "steps": json.loads((folder / "history.json").read_text())["ap"][-1]["step"],
        "formats": {row.pop("format"): row for row in formats},
    }


def show(rows, console):
    columns = ("parts", "params", "MACs", "steps", "AP", "AP50", "AP int8")
    table = Table(*columns, "ms float", "ms int8", "kB int8", title="TFLite, one thread")
    for row in rows:
        whole, plain, small = (row["formats"][each] for each in ("keras", *EXPORTED))
        precision = (f"{value:.4f}" for value in (whole["AP"], whole["AP50"], small["AP"]))
        times = (f"{plain['ms']:.2f}", f"{small['ms']:.2f}", f"{small['kB']:,}")
        table.add_row(
            row["neck"],
            f"{row['params'] / 1e6:.2f} M",
            f"{row['macs'] / 1e6:.0f} M",
            f"{row['steps']:,}",
            *precision,
            *times,
        )
    print_table(table, console)


def draw(rows, path):
    """Plots AP over milliseconds: a circle for the float file of each neck, a square for the int8
    one, and a line between them."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for row, color in zip(rows, COLORS * len(rows)):
        points = [(row["formats"][each]["ms"], row["formats"][each]["AP"]) for each in EXPORTED]
        axes.plot(*zip(*points), color=color, linewidth=1)
        for point, marker in zip(points, "os"):
            axes.plot(*point, marker, color=color, label=row["neck"] if marker == "o" else None)
        axes.annotate(row["neck"], points[0], textcoords="offset points", xytext=(6, 4), fontsize=8)
    axes.set(
        xlabel="ms per image, one thread (circle: float, square: int8)",
        ylabel="COCO AP",
        title="Necks",
    )
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
