"""The verb `detblocks design`: sample nets, train a population, report on it."""

import json
import pathlib
import runpy

from ..checks import look_up

# What the library calls the options of this verb.
FLAGS = {
    "`batch_size`": "--batch-size",
    "`classes`": "--classes",
    "`dataset`": "--dataset",
    "`image_size`": "--image-size",
    "`n`": "-n",
}
HELP = "sample design spaces, train a population of nets, compare and choose"


def add_options(parser):
    actions = parser.add_subparsers(dest="action", required=True, metavar="sample | sweep | report")
    for name, add in (("sample", _add_sample), ("sweep", _add_sweep), ("report", _add_report)):
        action = actions.add_parser(name, help=add.__doc__, description=add.__doc__)
        action.set_defaults(run_design=add(action))


def run(options):
    return options.run_design(options)


def _add_sample(action):
    """list nets of a space within complexity constraints, as JSON lines"""
    _population_options(action, image_size=224)

    def run(options):
        from ..design import sample
        from ..design.study import spec_to_dict

        sampled = sample(
            _space(options.space),
            options.number,
            _constraints(options),
            options.seed,
            image_size=options.image_size,
            classes=options.classes,
        )
        for spec, *cost in zip(sampled, *sampled.complexity):
            costs = dict(zip(sampled.complexity._fields, map(int, cost)))
            print(json.dumps(spec_to_dict(spec) | costs))

    return run


def _add_sweep(action):
    """train nets of a space; run the same command again, here or on another machine, to continue or
    to help"""
    _population_options(action, image_size=32)
    _training_options(action)
    return _sweep


def _training_options(action):
    from ..design.tasks import KERAS_DATASETS

    action.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("sweep"),
        help="folder (default: %(default)s)",
    )
    action.add_argument(
        "--storage",
        default=None,
        help="database that all workers can reach, such as postgresql://user@host/db",
    )
    action.add_argument("--name", default=None, help="name of the study (default: the space's)")
    action.add_argument(
        "--dataset",
        default="digits",
        help=f"digits, {', '.join(KERAS_DATASETS)} (default: %(default)s)",
    )
    action.add_argument("--epochs", type=int, default=5)
    action.add_argument("--batch-size", type=int, default=64)
    action.add_argument("--learning-rate", type=float, default=0.1)
    action.add_argument("--search", choices=("random", "tpe"), default="random")


def _sweep(options):
    from ..design import Classification, sweep

    result = sweep(
        _space(options.space),
        options.number,
        Classification(
            options.dataset,
            options.epochs,
            options.image_size,
            options.batch_size,
            options.learning_rate,
        ),
        options.storage,
        out=options.out,
        name=options.name,
        constraints=_constraints(options),
        seed=options.seed,
        search=options.search,
        image_size=options.image_size,
        classes=options.classes,
    )
    print(f"{len(result)} nets trained, {len(result.failures)} failed")
    if not len(result):
        reason = result.failures[0][1] if result.failures else "none"
        raise ValueError(f"No net could be trained. The first reason: {reason}.")
    print(f"least error {result.errors[0]:.4g}: {result.specs[0]!r}")


def _add_report(action):
    """write one HTML page on the sweeps of a storage: distributions, trends, the best net"""
    action.add_argument(
        "names",
        nargs="*",
        help="studies, of which the first is compared with the others (default: all)",
    )
    action.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("sweep"),
        help="folder (default: %(default)s)",
    )
    action.add_argument(
        "--storage", default=None, help="database of the sweeps (default: sweep.db in the folder)"
    )

    def run(options):
        from ..design import load_sweep, report

        if options.storage is None and not (options.out / "sweep.db").exists():
            raise ValueError(
                f"No sweep in {options.out}: expected the file sweep.db there. Give --out or "
                f"--storage."
            )
        storage = options.storage or f"sqlite:///{options.out / 'sweep.db'}"
        results = load_sweep(storage, options.names or "*")
        print(report(results, options.out / "report.html"))

    return run


def _population_options(action, image_size):
    from ..design import SPACES

    action.add_argument(
        "space", help=f"{', '.join(SPACES)}, or FILE.py:NAME for a space of your own"
    )
    action.add_argument(
        "-n", "--number", type=int, default=20, help="of nets (default: %(default)s)"
    )
    for name in ("macs", "params", "activations"):
        action.add_argument(
            f"--{name}",
            type=float,
            nargs=2,
            metavar=("LOW", "HIGH"),
            help=f"keep nets within this range of {name}",
        )
    action.add_argument(
        "--image-size", type=int, default=image_size, help="side in pixels (default: %(default)s)"
    )
    action.add_argument(
        "--classes",
        type=int,
        default=1000 if image_size == 224 else 10,
        help="(default: %(default)s)",
    )
    action.add_argument("--seed", type=int, default=0)


def _constraints(options):
    windows = {name: getattr(options, name) for name in ("macs", "params", "activations")}
    return {name: tuple(window) for name, window in windows.items() if window}


def _space(text):
    """Returns a space by its name, or from a Python file."""
    from ..design.spaces import SPACES, is_space

    path, _, name = text.rpartition(":")
    if not path:
        return look_up(SPACES, text, "space")
    defined = runpy.run_path(path)
    if not is_space(defined.get(name)):
        raise ValueError(
            f"Expected {name!r} in {path} to be a design space. Received: {defined.get(name)!r}."
        )
    return defined[name]
