"""The verb `detblocks tile`."""

import pathlib

from . import datasets
from . import options as shared

# What the library calls the options of this verb.
FLAGS = {"`size`": "--size", "`min_visible`": "--min-visible"}
HELP = "cut the pictures of a data set into tiles, for small objects in large pictures"


def add_options(parser):
    shared.add_data(parser)
    parser.add_argument("--split", default=None, help="(default: all)")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="COCO folder to make")
    parser.add_argument(
        "--size",
        type=shared.size,
        default=(640, 640),
        help="HEIGHTxWIDTH of a tile in pixels of the picture (default: 640x640)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.2,
        help=(
            "share of a tile that the next one covers too; make it at least as wide as the "
            "objects (default: %(default)s)"
        ),
    )
    parser.add_argument(
        "--min-visible",
        type=float,
        default=0.3,
        help=(
            "boxes with a smaller share left in a tile are neither trained on nor counted there "
            "(default: %(default)s)"
        ),
    )
    parser.add_argument(
        "--jpeg", action="store_true", help="write JPEG tiles, which take a tenth of PNG's space"
    )


def run(options):
    from ..data.tile import write_tiles

    parts = datasets.all_parts(options, options.split, max_pixels=datasets.LARGEST_TILED)
    tiled = write_tiles(
        datasets.of_one_list(parts),
        options.out,
        options.size,
        options.overlap,
        options.min_visible,
        ".jpg" if options.jpeg else ".png",
    )
    for part in tiled.values():
        print(part.describe())
    print(f"Wrote {options.out}")
