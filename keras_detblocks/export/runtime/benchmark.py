"""Measures the latency of models and exported files in turns: each file runs once, then all of them
again, so that a busy machine slows all of them equally."""

import contextlib
import os
import pathlib
import platform
import tempfile
from dataclasses import dataclass, field

import numpy as np

from ...checks import check_flag, check_int, check_ints, check_path, refused
from ..formats.cut import PARTS, cut, describe, kernels, parts_of
from .session import Session

_WARM_UP = 3
# The features in /proc/cpuinfo that decide which kernels a runtime picks.
_FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
_ARM_FEATURES = ("asimd", "asimddp", "i8mm", "sve", "bf16")


@dataclass(frozen=True)
class Latency:
    """The latency of one file on one number of threads.

    Attributes:
        path, threads: of the file, and used for it.
        median, low, high: milliseconds per image, the median and the quartiles.
        cpu: milliseconds of CPU time, the median.
        partitions: how many TFLite's CPU delegate took.
        memory: megabytes that its process holds: runtime, weights and tensors.
        shares: part (`network`, `decoding`, `suppression`) -> milliseconds, TFLite detectors only.
        slowest: `(operator, how many, milliseconds)`, slowest first, if asked for.
    """

    path: str
    threads: int
    median: float
    low: float
    high: float
    cpu: float
    partitions: int | None = None
    memory: float | None = None
    shares: dict = field(default_factory=dict)
    slowest: tuple = ()


def compare_latency(paths, images=50, threads=(1,), image_size=None, profile=False):
    """Times exported files and saved detectors in turns.

    Args:
        paths: of the files, each compared with the checksum that it carries.
        images: number of turns.
        threads: numbers of threads to try.
        image_size: `(height, width)` for files of dynamic size.
        profile: whether to time each operator of a TFLite file alone too.

    Returns:
        A list of `Latency`, by file, then by threads.

    Raises:
        ValueError: if a file is damaged, or takes anything but pictures.
    """
    images, profile = check_int(images, "images"), check_flag(profile, "profile")
    threads = check_ints(threads, "threads")
    if isinstance(paths, (str, os.PathLike)) or not hasattr(paths, "__iter__"):
        raise refused(paths, "paths", "a list of paths")
    paths = [check_path(path, "paths") for path in paths]
    with contextlib.ExitStack() as stack:
        runs = [
            _Run(
                stack.enter_context(Session(path, count, fresh=True)), str(path), count, image_size
            )
            for path in paths
            for count in threads
        ]
        for turn in range(images + _WARM_UP):
            for run in runs:
                run.take(turn >= _WARM_UP)
        return [run.result(profile) for run in runs]


class _Run:
    """One open file and the times of its turns."""

    def __init__(self, session, path, threads, image_size):
        self.session, self.path, self.threads = session, path, threads
        self.picture = session.picture(image_size)
        self.seconds, self.cpu = [], []

    def take(self, counts):
        self.session(image=self.picture)
        if counts:
            self.seconds.append(self.session.seconds)
            self.cpu.append(self.session.cpu_seconds)

    def result(self, profile):
        low, median, high = 1000 * np.percentile(self.seconds, (25, 50, 75))
        shares, slowest = {}, ()
        if self.session.kind == "tflite":
            content = pathlib.Path(self.path).read_bytes()
            shares = part_times(content, self.picture, self.threads)
            slowest = operator_times(content, self.threads) if profile else ()
        return Latency(
            self.path,
            self.threads,
            *(float(v) for v in (median, low, high, 1000 * np.median(self.cpu))),
            self.session.partitions,
            self.session.memory,
            shares,
            slowest,
        )


def part_times(content, picture, threads=1, turns=15):
    """Milliseconds of CPU time of a TFLite detector's parts, each fed with the outputs of the one
    before; empty for a file without suppression."""
    parts = parts_of(content)
    if not all(parts.values()):
        return {}
    values, times = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in PARTS:
            path = pathlib.Path(folder) / f"{name}.tflite"
            path.write_bytes(cut(content, parts[name]))
            with Session(path, threads) as session:
                given = {key: values.get(key, picture) for key in session.inputs}
                taken = []
                for _ in range(turns + _WARM_UP):
                    values.update(session(**given))
                    taken.append(session.cpu_seconds)
            times[name] = 1000 * float(np.median(taken[_WARM_UP:]))
    return times


def operator_times(content, threads=1, turns=5):
    """Times the operators of a TFLite file: `(operator with the shapes of its output and kernel,
    how many, milliseconds)`, slowest first; one of each kind is cut out and run alone on zeros. In
    the whole file a padding with zeros is part of its convolution and takes no time."""
    kinds = {}
    for index, ((name, shape, _), kernel) in enumerate(zip(describe(content), kernels(content))):
        kinds.setdefault((name, shape, kernel), []).append(index)
    rows = []
    for (name, shape, kernel), indices in kinds.items():
        milliseconds, delegated = _alone(cut(content, indices[:1]), threads, turns)
        where = "" if delegated else ", not by the delegate"
        of = f", kernel {'x'.join(map(str, kernel))}" if kernel else ""
        text = f"{name} {'x'.join(map(str, shape))}{of}{where}"
        rows.append((text, len(indices), milliseconds * len(indices)))
    return tuple(sorted(rows, key=lambda row: -row[2]))


def _alone(content, threads=1, turns=5):
    """The milliseconds of a part on zeros, and whether the delegate took it."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "one.tflite"
        path.write_bytes(content)
        with Session(path, threads) as session:
            given = {key: np.zeros(sides, dtype) for key, (sides, dtype) in session.inputs.items()}
            taken = []
            for _ in range(turns + 1):
                session(**given)
                taken.append(session.cpu_seconds)
            return 1000 * float(np.median(taken[1:])), bool(session.partitions)


def left_out(content):
    """The operators that the CPU delegate leaves to slower kernels: `{operator: [names of
    outputs]}`; one of each kind is tried."""
    kinds = {}
    for index, (name, _, output) in enumerate(describe(content)):
        kinds.setdefault(name, []).append((index, output))
    return {
        name: [output for _, output in each]
        for name, each in kinds.items()
        if not _alone(cut(content, [each[0][0]]), turns=1)[1]
    }


def cpu_features():
    """The processor's name, and those of its features that decide which kernels run."""
    from ...training.limits import processor

    fields = processor()
    flags = fields.get("flags", fields.get("Features", "")).split()
    known = [name for name in (*_FEATURES, *_ARM_FEATURES) if name in flags]
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name}: {', '.join(known) or 'features unknown'}"
