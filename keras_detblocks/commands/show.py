"""The verb `detblocks show`."""

import pathlib

from ..checks import check_int
from . import datasets
from . import options as shared

HELP = "draw a data set as the network sees it: sheets of pictures with boxes, and plots of sizes"


def add_options(parser):
    from ..data import AUGMENTATIONS

    shared.add_data(parser)
    parser.add_argument("--split", default=None, help="(default: the one called train)")
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder for sheet-1.png, ..., plots.png"
    )
    parser.add_argument("--augment", type=str.lower, default="none", choices=tuple(AUGMENTATIONS))
    parser.add_argument(
        "--size",
        type=shared.size,
        default=(320, 320),
        help="HEIGHTxWIDTH of the network's input (default: 320x320)",
    )
    parser.add_argument(
        "--count", type=int, default=48, help="pictures to show (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)


def run(options):
    from ..data import AUGMENTATIONS
    from ..data.show import write_plots, write_sheets
    from ..training.state import prepare_folder

    check_int(options.count, "--count")
    found = datasets.names(options)
    split = options.split or datasets.first(found, "TRAINING")
    dataset = datasets.read(options, split)
    print(dataset.describe())
    out = prepare_folder(options.out)
    augment = AUGMENTATIONS[options.augment]
    sheets = write_sheets(dataset, out, options.size, augment, options.count, options.seed)
    plots = write_plots(dataset, out / "plots.png", options.size)
    print(f"Wrote {', '.join(map(str, [*sheets, plots]))}")
