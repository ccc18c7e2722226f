"""The verb `detblocks convert`."""

import pathlib

from . import datasets
from . import options as shared

HELP = "write a data set of any layout as a COCO, Pascal VOC or YOLO folder"


def add_options(parser):
    shared.add_data(parser)
    parser.add_argument("--split", default=None, help="(default: all)")
    parser.add_argument("--to", required=True, type=str.lower, choices=("coco", "voc", "yolo"))
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder to make")
    parser.add_argument(
        "--link", action="store_true", help="make hard links to the pictures instead of copies"
    )


def run(options):
    from ..data import write

    parts = datasets.all_parts(options, options.split)
    for part in parts.values():
        print(part.describe())
    for line in write(datasets.of_one_list(parts), options.out, options.to, options.link):
        print(line)
    print(f"Wrote {options.out}; account.json in it says what reading skipped and repaired.")
