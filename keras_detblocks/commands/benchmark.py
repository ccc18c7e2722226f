"""The verb `detblocks benchmark`."""

import argparse
import pathlib

from . import datasets
from . import options as shared

# The library's names for the options of this verb.
FLAGS = {"`images`": "--images", "`image_size`": "--size", "`threads`": "--threads"}
HELP = "time models and exported files in turns, in milliseconds per image, and measure their AP"


def add_options(parser):
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=50, help="turns (default: %(default)s)")
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=[1, 2],
        help="numbers of threads (default: 1 2)",
    )
    parser.add_argument(
        "--size", type=shared.size, default=None, help="input size, for files of any size"
    )
    parser.add_argument(
        "--profile", action="store_true", help="show the slowest operators of .tflite files"
    )
    parser.add_argument(
        "--data", type=pathlib.Path, default=None, help="data set to measure the AP of each on"
    )
    parser.add_argument(
        "--split",
        default=None,
        help="split of the data set (default: the one called test, else val)",
    )


def run(options):
    from ..export import compare_latency, cpu_features

    paths = [_file(path) for path in options.models]
    print(cpu_features())
    rows = compare_latency(
        paths, options.images, options.threads, options.size, profile=options.profile
    )
    aps = _aps(paths, options)
    shared.print_table(_table(rows, aps))
    for row in rows:
        if row.slowest and row.threads == options.threads[0]:
            print(f"\n{row.path}: its slowest operators, each alone")
            for name, count, milliseconds in row.slowest[:12]:
                print(f"  {milliseconds:8.3f} ms  {count:3d} x  {name}")


def _file(path):
    """The detector in the folder of a run, else the path; damaged files and other models are
    refused before anything is timed."""
    model = shared.open_model(path)
    if hasattr(model, "close"):
        model.close()
    inside = path / "detector.keras"
    return inside if inside.is_file() else path


def _aps(paths, options):
    if options.data is None:
        return {}
    from ..training import evaluate_ap

    # --images counts turns here; it is not the folder of a data set's pictures.
    reading = {"images": None, "exif": "evidence", "layout": None}
    dataset = datasets.for_evaluation(argparse.Namespace(**{**vars(options), **reading}))
    found = {}
    for path in paths:
        model = shared.open_model(path)
        found[str(path)] = evaluate_ap(model, dataset).ap
        if hasattr(model, "close"):
            model.close()
    return found


def _table(rows, aps):
    from rich.table import Table

    parts = any(row.shares for row in rows)
    table = Table("file", "threads", "ms (quartiles)", "CPU ms", "partitions", "MB")
    if parts:
        table.add_column("network / decoding / suppression")
    if aps:
        table.add_column("AP")
    for row in rows:
        cells = [
            row.path,
            str(row.threads),
            f"{row.median:.2f} ({row.low:.2f} to {row.high:.2f})",
            f"{row.cpu:.2f}",
            "" if row.partitions is None else str(row.partitions),
            "" if row.memory is None else f"{row.memory:.0f}",
        ]
        if parts:
            total = sum(row.shares.values())
            cells.append(" / ".join(f"{v / total:.0%}" for v in row.shares.values()))
        if aps:
            cells.append(f"{aps[row.path]:.4f}")
        table.add_row(*cells)
    return table
