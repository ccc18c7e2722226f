"""The verb `detblocks compare`."""

import pathlib

from . import datasets
from . import options as shared
from .evaluate import complain, latency

HELP = "compare several models on the same pictures: which is better, and is that more than chance"


def add_options(parser):
    parser.add_argument(
        "models",
        nargs="+",
        type=pathlib.Path,
        help="two or more: .keras, .onnx or .tflite files, SavedModel folders",
    )
    shared.add_data(parser, "--data", required=True)
    parser.add_argument(
        "--split", default=None, help="(default: the one called test, else val, else the only one)"
    )
    parser.add_argument(
        "--report",
        type=pathlib.Path,
        default=None,
        metavar="DIR",
        help="folder for index.html, one self-contained page, and metrics.json",
    )


def run(options):
    from ..evaluation.compare import compare_found
    from ..evaluation.measure import described
    from ..training import predict_dataset
    from ..training.state import prepare_folder

    if len(options.models) < 2:
        raise ValueError("Expected two models or more to compare; received one.")
    if options.report is not None:
        prepare_folder(options.report)
    dataset = datasets.for_evaluation(options)
    print(dataset.describe())
    found, about = {}, {}
    for name, path in zip(short_names(options.models), options.models):
        model, file = shared.open_model(path), shared.model_file(path)
        about[name] = {"file": str(file), **described(model), **latency(file, model)}
        found[name] = predict_dataset(model, dataset), model.class_names
        if hasattr(model, "close"):
            model.close()
    result = compare_found(found, dataset, about=about)
    for problem in result.problems:
        print(problem)
    print(result.answer)
    if result.measured:
        shared.print_table(_table(result))
    if options.report is not None:
        print(f"Report: {result.write_report(options.report)}")
    return 0 if result.measured else complain(result)


def short_names(paths):
    """Short names of the paths: as many of their last parts as it takes to tell them apart."""
    paths = [path.resolve() for path in paths]
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"Expected different models; received {paths[0]} twice.")


def _table(result):
    from rich.table import Table

    from ..evaluation.average import interval_text

    table = Table("model", "AP (95 %)", "AP50", "less (95 %)", "ms", "kB")
    table.columns[0].overflow = "fold"
    less = {row["name"]: row for row in result.differences}
    for name, each in result.evaluations.items():
        row = less.get(name)
        own = interval_text(each.intervals["AP"], 2)
        difference = row and interval_text((row["low"], row["high"]))
        table.add_row(
            name,
            f"{each.numbers['AP']:.3f} ({own})",
            f"{each.numbers['AP50']:.3f}",
            f"{row['AP']:.3f} ({difference})" if row else "",
            f"{each.about['milliseconds']:.1f}",
            f"{each.about['bytes'] / 1024:,.0f}",
        )
    return table
