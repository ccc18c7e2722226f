"""The verb `detblocks models`."""

HELP = (
    "list the backbones (parameters, MACs, channels, published weights with accuracy and license), "
    "necks, context blocks, heads and recipes"
)


def add_options(parser):
    parser.add_argument("--filter", default="", help="only names with this in them")


def run(options):
    from ..analysis import print_model_table, print_part_table

    print_model_table(options.filter)
    print_part_table(options.filter)
