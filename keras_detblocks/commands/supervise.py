"""Runs a command in a process of its own and starts it again when that dies: the few lines that a
run of days needs where no cluster does it."""

import pathlib
import signal
import subprocess
import sys
import time

# Codes of a process that ended as it should: well, with a mistake to mend, or when asked to stop.
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
        restarts: how often at most. say: prints a line.
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
    """With `--resume` where there is something to resume."""
    there = any(pathlib.Path(out).glob("checkpoint/step-*"))
    return [*arguments, "--resume"] if there and "--resume" not in arguments else arguments


def _one(arguments):
    """Exit code of one process, to which signals are passed on."""
    process = subprocess.Popen([sys.executable, "-m", "keras_detblocks", *arguments])
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda n, _: process.send_signal(n)) for n in numbers}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def without(arguments, flag):
    """Arguments without an option and its value, in both of its forms."""
    found = list(arguments)
    while flag in found:
        place = found.index(flag)
        del found[place : place + 2]
    return [each for each in found if not each.startswith(f"{flag}=")]
