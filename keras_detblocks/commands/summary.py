"""The verb `detblocks summary`."""

from . import options as shared

HELP = "print Keras' summary of a backbone: the whole classification net, or its feature pyramid"


def add_options(parser):
    parser.add_argument("name", help="'compact' or a name of `detblocks models`, in any case")
    parser.add_argument(
        "--size",
        type=shared.size,
        default=(224, 224),
        help="HEIGHTxWIDTH of the input (default: 224x224)",
    )
    parser.add_argument(
        "--levels",
        type=shared.levels,
        default=None,
        help="levels of the pyramid, such as 3-5, instead of the classifier",
    )


def run(options):
    from ..backbones import catalog
    from ..detection.build import DEEPEST, build_backbone

    shape = (*options.size, 3)
    if options.name.lower() == "compact":  # it has no classification form
        levels = options.levels or (3, 4, 5)
        if not 2 <= levels[0] <= levels[-1] <= DEEPEST:
            raise ValueError(
                f"The compact backbone has the levels 2 to {DEEPEST}. Received: --levels "
                f"{levels[0]}-{levels[-1]}"
            )
        build_backbone("compact", options.size, levels).summary()
    elif options.levels:
        catalog.constructor(options.name)(
            include_top=False, input_shape=shape, levels=options.levels
        ).summary()
    else:
        catalog.constructor(options.name)(input_shape=shape).summary()
