"""Runs a command in a separate process and restarts it when that dies, for runs of days without a
cluster that does so."""

import pathlib
import signal
import subprocess
import sys
import time

# Exit codes that are not accidents: success, a mistake of the user, and a stop on request.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
ENDS = (0, 2, *(128 + number for number in STOPS))
SECONDS_BETWEEN = 5.0


def supervise(arguments, out, restarts, say=print):
    """Runs `detblocks` with these arguments, again with `--resume` each time that it crashes or is
    killed, at most `restarts` times; returns its last exit code.

    Signals that stop a run are passed on.

    Args:
        arguments: of the command line, without `--restarts`.
        out: the run's folder.
        restarts: how often at most.
        say: prints a line.
    """
    for left in range(restarts, -1, -1):
        code = _one(_resuming(arguments, out))
        if code in ENDS:
            return code
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if left:
            say(f"The run ended with {how}: starting it again (at most {left} more times).")
            time.sleep(SECONDS_BETWEEN)
    say(f"The run ended with {how} after {restarts} restarts: giving up.")
    return 1


def _resuming(arguments, out):
    """The arguments, with `--resume` if there is something to resume."""
    there = any(pathlib.Path(out).glob("checkpoint/step-*"))
    return [*arguments, "--resume"] if there and "--resume" not in arguments else arguments


def _one(arguments):
    """Runs one process, passes signals on to it, and returns its exit code."""
    process = subprocess.Popen([sys.executable, "-m", "keras_detblocks", *arguments])
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda n, _: process.send_signal(n)) for n in numbers}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def without(arguments, flag):
    """The arguments without an option and its value, in either form."""
    found = list(arguments)
    while flag in found:
        place = found.index(flag)
        del found[place : place + 2]
    return [each for each in found if not each.startswith(f"{flag}=")]
