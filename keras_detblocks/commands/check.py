"""The verb `detblocks check`."""

import json

from . import datasets
from . import options as shared

HELP = "look a data set over: classes, sizes, and what was skipped, repaired and assumed"


def add_options(parser):
    shared.add_data(parser)
    parser.add_argument("--split", default=None)
    parser.add_argument("--json", action="store_true", help="print a JSON list of splits")


def run(options):
    parts = datasets.all_parts(options, options.split)
    if options.json:
        print(json.dumps([{"split": s, **part.summary()} for s, part in parts.items()], indent=1))
        return
    for part in parts.values():
        print(part.describe())
