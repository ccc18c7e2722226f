"""The verb `detblocks benchmark`."""

import pathlib

from . import options as shared

HELP = "milliseconds per image of models and exported files, one after the other on one thread"


def add_options(parser):
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=50)


def run(options):
    from ..export import benchmark

    for path in options.models:
        print(
            f"{path}: {benchmark(shared.open_model(path), images=options.images):.2f} ms per "
            f"image, one thread"
        )
