"""Kills one of two machines that train together, here two processes, and waits for the run to go on
by itself.

    python examples/benchmarks/kill_a_worker.py --out workers
    KERAS_BACKEND=jax python examples/benchmarks/kill_a_worker.py --out workers

Both run `detblocks train --restarts 3`. Once there is a checkpoint, the second is killed with
SIGKILL; the first notices, and both start again from the checkpoint. It prints the output of both,
and ends with `the run ended after N steps` (Linux).
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from kill_and_resume import ENVIRONMENT, OPTIONS, saved, write_pictures

ADDRESSES = "127.0.0.1:{},127.0.0.1:{}"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--victim", type=int, choices=(0, 1), default=1)
    parser.add_argument("--port", type=int, default=23450)
    options = parser.parse_args(arguments)
    data, out = write_pictures(options.out / "data", 32), options.out / "run"
    workers = [start(data, out, i, options) for i in range(2)]
    while not saved(out):
        ended = [w for w in workers if w.poll() is not None]
        if ended:
            raise SystemExit("A worker ended early:\n" + ended[0].communicate()[0][-3000:])
        time.sleep(0.2)
    step = saved(out)
    os.kill(child_of(workers[options.victim].pid), signal.SIGKILL)
    print(f"killed worker {options.victim} after the checkpoint of step {step}", flush=True)
    for index, worker in enumerate(workers):
        printed, _ = worker.communicate()
        print(f"--- worker {index}, exit code {worker.returncode}\n{printed[-2000:]}")
    record = json.loads((out / "run.json").read_text())
    print(f"the run ended after {record['results']['steps']} steps")
    return int(any(worker.returncode for worker in workers))


def start(data, out, index, options):
    addresses = ADDRESSES.format(options.port, options.port + 1)
    where = ["--workers", addresses, "--worker", str(index), "--restarts", "3"]
    command = [sys.executable, "-m", "keras_detblocks", "train", str(data), "--out", str(out)]
    return subprocess.Popen(
        [*command, *OPTIONS, "--epochs", "20", *where],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def child_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


if __name__ == "__main__":
    sys.exit(main())
