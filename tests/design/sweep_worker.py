"""One worker of a sweep over eight nets, run as a process by the tests: `python sweep_worker.py
STORAGE LOG SECONDS_PER_NET`."""

import os
import sys
import time

from keras_detblocks.backbones.anynet import AnyNetSpec
from keras_detblocks.design import sweep

BAD_DEPTH = 3  # the net that cannot be trained
SPECS = [AnyNetSpec((depth,) * 4, (8,) * 4, (1,) * 4, (8,) * 4) for depth in range(1, 9)]


def main():
    storage, log, seconds = sys.argv[1:]

    def say(event, spec):
        with open(log, "a") as file:
            file.write(f"{event} {spec.depths[0]} {os.getpid()}\n")

    def train(spec):
        say("start", spec)
        time.sleep(float(seconds))
        if spec.depths[0] == BAD_DEPTH:
            raise MemoryError("too deep")
        say("end", spec)
        return 1 / spec.depths[0]

    sweep(
        SPECS, None, train, storage, name="kill", settings={}, heartbeat_interval=1, progress=False
    )


if __name__ == "__main__":
    main()
