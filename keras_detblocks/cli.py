"""The command `detblocks`: one verb per job, each a thin call of the library.

Every error that a user can fix is one line on stderr, with exit code 2. If the reader of a pipe has
gone (`detblocks models | head`), the command ends silently, as if by SIGPIPE.
"""

import argparse
import importlib
import os
import signal
import sys

from .commands.options import one_line, with_flags
from .version import __version__

VERBS = (
    "demo",
    "train",
    "evaluate",
    "compare",
    "predict",
    "export",
    "benchmark",
    "check",
    "show",
    "convert",
    "tile",
    "models",
    "summary",
    "design",
)


def main(arguments=None):
    """Runs the command line; returns the exit code."""
    try:
        try:
            return _run(arguments)
        finally:
            print(end="", flush=True)  # what is left fails here, not when Python ends
    except (BrokenPipeError, SystemExit) as end:
        # rich answers a broken pipe by an exit.
        if BrokenPipeError not in (type(end), type(end.__context__)):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _run(arguments):
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser_for(arguments).parse_args(arguments)
    options.arguments = list(arguments)
    try:
        return options.run(options) or 0
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if options.debug:
            raise
        told = with_flags(one_line(error), options.flags)
        print(f"detblocks {options.verb}: {told}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    except KeyboardInterrupt as error:
        print(f"detblocks {options.verb}: stopped", file=sys.stderr)
        return 128 + getattr(error, "signal", signal.SIGINT)


def parser_for(arguments):
    """The parser of these arguments: only the verb that they name adds its options."""
    parser = argparse.ArgumentParser(
        prog="detblocks", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name in VERBS:
        command = importlib.import_module(f".commands.{name}", __package__)
        verb = verbs.add_parser(name, help=command.HELP, description=command.HELP)
        if name in arguments:  # the others' options, and what they import, are not needed
            command.add_options(verb)
            verb.set_defaults(run=command.run, flags=getattr(command, "FLAGS", {}))
    return parser
