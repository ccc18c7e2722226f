"""The verb `detblocks check`."""

import json

from . import datasets
from . import options as shared

HELP = "check a data set: classes, sizes, and what was skipped, repaired and assumed"


def add_options(parser):
    shared.add_data(parser)
    parser.add_argument("--split", default=None)
    parser.add_argument("--json", action="store_true", help="print a JSON list of splits")


def run(options):
    from ..data import DatasetError

    found, errors = [], {}
    for split in [options.split] if options.split else datasets.names(options):
        try:
            part = datasets.read(options, split)
        except DatasetError as error:  # the other splits are checked all the same
            errors[split] = error
            found.append({"split": split, "error": str(error)})
            continue
        found.append({"split": split, **part.summary()})
        if not options.json:
            print(part.describe())
    if options.json:
        print(json.dumps(found, indent=1))
    if errors:
        raise DatasetError(" ".join(str(error) for error in errors.values()))
