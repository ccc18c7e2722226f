"""The options of `detblocks train` for the run: how long, from where, how it learns, on which
machines."""

import pathlib

# Minutes of training if neither minutes nor epochs are given.
DEFAULT_MINUTES = 30.0
PARTS = ("backbone", "context", "neck", "head")
FROZEN = (*PARTS, "batch_norm", *(f"{part}.batch_norm" for part in PARTS))
SYNCHRONIZE = {"auto": None, "yes": True, "no": False}


def _add_budget(parser):
    """Adds options on how long to train, and what is measured."""
    parser.add_argument(
        "--minutes",
        type=float,
        default=None,
        help=f"training time (default: {DEFAULT_MINUTES:g}, unless --epochs is given); the "
        "learning rate follows the clock",
    )
    parser.add_argument(
        "--epochs",
        type=float,
        default=None,
        help="passes over the data; such a run can be repeated bit for bit on the same machine",
    )
    parser.add_argument(
        "--evaluations",
        type=int,
        default=6,
        help="how often validation AP is measured during training (default: %(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=None,
        help="stop after this many evaluations without a better AP (default: never)",
    )
    parser.add_argument(
        "--no-report",
        action="store_true",
        help="do not write OUT/report/, the page on what was learned",
    )


def _add_origin(parser):
    """Adds options on what training starts from."""
    from ..detection import recipes

    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the stopped run in --out, with its settings unless others are given",
    )
    parser.add_argument(
        "--recipe",
        default=None,
        help="the parts of a paper's detector, instead of the defaults of those options: "
        f"{', '.join(recipes.list())}",
    )
    parser.add_argument(
        "--start",
        type=pathlib.Path,
        default=None,
        help=(
            "a trained .keras detector whose parts and weights to start from; classes with other "
            "names start new. By default the compact backbone, and the default neck and head, "
            "start from the weights that ship with the package; 'none' trains from scratch"
        ),
    )
    parser.add_argument(
        "--freeze",
        default=None,
        metavar="PART,...",
        help=f"parts to keep as they are: {', '.join(PARTS)}, batch_norm (every batch "
        "normalization), backbone.batch_norm and the like (those of one part); a second run with "
        "--start can train all of them (default: none)",
    )
    parser.add_argument("--seed", type=int, default=0)


def _add_settings(parser):
    """Adds options that come from a file."""
    parser.add_argument(
        "--config",
        type=pathlib.Path,
        default=None,
        help=(
            "the run.json of another run to repeat, or a TOML file such as 'batch = 8'; options "
            "on the command line override it"
        ),
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="an option by its name, such as batch=8; overrides --config",
    )


def _add_recipe(parser):
    """Adds options on how it learns."""
    parser.add_argument(
        "--batch",
        type=int,
        default=16,
        help="images per step, over all GPUs (default: %(default)s)",
    )
    parser.add_argument(
        "--optimizer",
        type=str.lower,
        choices=("muon", "adamw"),
        default=None,
        help="default: muon; with --weights, adamw",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=None,
        help=(
            "peak of the learning rate; default: 0.02 for muon and 0.008 for adamw with 16 images "
            "per step, in proportion to the root of their number; 0.004 with --weights and adamw"
        ),
    )
    parser.add_argument("--weight-decay", type=float, default=0.02, help="(default: %(default)s)")
    parser.add_argument(
        "--warmup-steps",
        type=int,
        default=60,
        help="steps of the learning rate's warm-up (default: %(default)s)",
    )
    parser.add_argument(
        "--ema",
        type=float,
        default=0.99,
        help="momentum of the averaged weights (default: %(default)s)",
    )


def _add_step(parser):
    """Adds options on how a training step computes."""
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "mixed_float16", "mixed_bfloat16", "bfloat16_conv"),
        default="auto",
        help="auto: mixed_float16 on GPUs, else float32, but bfloat16_conv on CPUs with AMX from "
        "--freeze-statistics on; bfloat16_conv: convolutions of training steps, on CPUs, from "
        "--freeze-statistics on, or if it is 1 in all steps (default: %(default)s)",
    )
    parser.add_argument(
        "--freeze-statistics",
        type=float,
        default=None,
        metavar="SHARE",
        help="share of the run after which batch normalization keeps its statistics, so that steps "
        "take less time; 1: never (default: on CPUs 0.4, if 150 steps are left then, else 1)",
    )


def _add_pictures(parser):
    """Adds options on how the pictures are shown."""
    parser.add_argument(
        "--repeat-threshold",
        type=float,
        default=None,
        metavar="SHARE",
        help=(
            "show pictures with classes that occur in less than this share of the pictures more "
            "often, sqrt(SHARE / share of the class) times (default: all equally often)"
        ),
    )
    parser.add_argument(
        "--augment",
        default="flip",
        type=str.lower,
        choices=("none", "color", "flip", "dihedral", "mosaic"),
        help="flip: left-right, scale, shift and color; dihedral: all eight flips and turns as "
        "well, for microscopes and aerial pictures; mosaic: flip, and four pictures in one "
        "(default: %(default)s)",
    )


def _add_machines(parser):
    """Adds options on where it is trained: docs/pages/distributed.md."""
    parser.add_argument(
        "--workers",
        default=None,
        metavar="HOST:PORT,...",
        help=(
            "addresses of all machines that train together, the same list on each; the first "
            "measures AP and writes (default: those of TF_CONFIG or SLURM, else one machine)"
        ),
    )
    parser.add_argument(
        "--worker", type=int, default=None, metavar="I", help="which of --workers this is, from 0"
    )
    parser.add_argument(
        "--synchronize",
        choices=tuple(SYNCHRONIZE),
        default="auto",
        help="batch normalization over all GPUs (default: if one has fewer than 8 images)",
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        help=(
            "restart a run that crashed or was killed, at most this many times, from its last "
            "checkpoint (default: %(default)s)"
        ),
    )


ALL = (
    _add_budget,
    _add_origin,
    _add_settings,
    _add_recipe,
    _add_step,
    _add_pictures,
    _add_machines,
)
