"""The verb `detblocks evaluate`."""

import os
import pathlib
import sys

from . import datasets
from . import options as shared

HELP = "measure COCO AP of a trained or exported model on a data set, and report what it learned"


def add_options(parser):
    parser.add_argument(
        "model", type=pathlib.Path, help=".keras, .onnx or .tflite file, or SavedModel folder"
    )
    shared.add_data(parser)
    parser.add_argument(
        "--split", default=None, help="(default: the one called test, else val, else the only one)"
    )
    shared.add_max_detections(parser)
    parser.add_argument(
        "--report",
        type=pathlib.Path,
        default=None,
        metavar="DIR",
        help=(
            "folder for index.html, one self-contained page, and metrics.json; also stores the "
            "best score threshold in a .keras model, for predict and export"
        ),
    )
    parser.add_argument(
        "--no-store", action="store_true", help="with --report: leave the model's file unchanged"
    )


def run(options):
    from ..evaluation import evaluate, write_report
    from ..training.state import prepare_folder

    model, path = shared.open_model(options.model), shared.model_file(options.model)
    if options.report is not None:
        prepare_folder(options.report)
    dataset = datasets.for_evaluation(options)
    print(dataset.describe())
    notes = trained_on(path, dataset)
    for note in notes:
        print(note)
    about = {"model": str(path)}
    if options.report is not None:
        about |= latency(path, model)
    result = evaluate(model, dataset, max_detections=options.max_detections, about=about)
    print(result)
    if options.report is not None:
        print(f"Report: {write_report(result, options.report, notes=notes)}")
        if not options.no_store:
            store(path, result)
    return 0 if result.measured else complain(result)


def trained_on(path, dataset):
    """A list with a sentence if the run of a model held out some of these pictures, and so has seen
    the others; else an empty list."""
    listed = path.parent / "validation.txt"
    if not listed.is_file():
        return []
    names = listed.read_text(encoding="utf-8").splitlines()
    held_out = {os.path.realpath(name) for name in names}
    here = {os.path.realpath(record.path) for record in dataset.records}
    unseen = len(here & held_out)
    if unseen in (0, len(here)):
        return []
    return [
        f"{len(here) - unseen} of these {len(here)} pictures were trained on: their AP says "
        f"little about new pictures. {listed} names the {unseen} that were held out."
    ]


def latency(path, model):
    """`{"milliseconds", "bytes"}` of a model file, for a report."""
    from ..export import benchmark, file_size

    timed = model if path.suffix != ".keras" else path
    return {"milliseconds": benchmark(timed, images=20), "bytes": file_size(path)}


def complain(result):
    """Says why nothing could be measured; returns the exit code."""
    print(f"detblocks: {result.problems[0]}", file=sys.stderr)
    return 2


def store(path, result):
    """Puts the best threshold into a `.keras` file and says so."""
    from ..evaluation import store_threshold

    best = result.best_threshold if result.measured else None
    if best is None or path.suffix != ".keras":
        return
    try:
        store_threshold(path, best)
    except OSError as error:
        print(f"The best score threshold, {best:.2f}, could not be stored in {path}: {error}")
        return
    print(
        f"Stored the best score threshold, {best:.2f}, in {path}: `predict` and "
        f"`export --score-threshold best` take it from there."
    )
