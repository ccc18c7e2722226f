"""The verb `detblocks check`."""

from . import options as shared

HELP = "look a data set over: classes, sizes, and what cannot be used"


def add_options(parser):
    shared.add_data(parser)
    parser.add_argument("--split", default=None)


def run(options):
    from .. import data

    for split in [options.split] if options.split else sorted(data.splits(options.data)) or [None]:
        print(data.load(options.data, split, options.images).describe())
