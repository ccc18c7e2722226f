"""`run.json`: everything that went into a run, and its results."""

import datetime
import hashlib
import importlib.metadata
import os
import platform
import sys

import keras
import numpy as np

from ..data.dataset import check_dataset
from ..version import __version__
from .state import write_json

# Variables that limit threads, beside the processors that the process may use.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "XLA_FLAGS")
PACKAGES = ("keras", "tensorflow", "jax", "numpy", "pillow", "faster-coco-eval")


def fingerprint(dataset):
    """16 hex digits that change with the name or size of a picture, a box, a label or a class of a
    `dataset`, but not with its folder or with the pixels.

    >>> import keras_detblocks as kdb
    >>> len(fingerprint(kdb.data.Dataset([], ("cat",), (1,))))
    16
    """
    check_dataset(dataset)
    digest = hashlib.sha256(repr(tuple(dataset.class_names)).encode())
    for record in dataset.records:
        digest.update(f"\0{os.path.basename(record.path)} {record.width} {record.height}".encode())
        for values, dtype in ((record.boxes, "<f4"), (record.labels, "<i4"), (record.crowd, "?")):
            digest.update(np.ascontiguousarray(values, dtype).tobytes())
    return digest.hexdigest()[:16]


def described(dataset):
    """The description of a data set in `run.json`."""
    if dataset is None:
        return None
    return {
        "source": str(dataset.source),
        "images": len(dataset.records),
        "objects": int(sum(len(record.boxes) for record in dataset.records)),
        "class_names": list(dataset.class_names),
        "skipped": int(dataset.skipped.total),
        "fingerprint": fingerprint(dataset),
    }


class RunRecord:
    """The content of `run.json`, a dict for JSON.

    Args:
        settings: those of `train`.
        data: `{"train": ..., "validation": ...}`, each from `described`.
        about: what the caller adds, such as the command and its options.
        changes: what resumed parts of the run changed.
        devices: those that it is trained on.
    """

    def __init__(self, settings, data, about=None, changes=(), devices=None):
        self.content = {
            "format": "keras_detblocks.run",
            "version": 1,
            "state": "running",
            **(about or {}),
            "settings": settings,
            "changes": list(changes),
            "data": data,
            "seed": settings["seed"],
            "repeatable": _repeatable(settings),
            "versions": _versions(),
            "host": _host(),
            "processes": devices.count if devices else 1,
            "replicas": devices.replicas if devices else 1,
            "started": _now(),
        }

    def finish(self, budget, history, statistics_kept=None):
        """Adds the results."""
        self.content.update(
            state="finished",
            finished=_now(),
            results={
                "steps": budget.step,
                "training_seconds": round(budget.seconds, 2),
                "statistics_kept": statistics_kept,
                "losses": history["losses"][-1] if history["losses"] else None,
                "validation": history["ap"][-1] if history["ap"] else None,
                "best": max(history["ap"], key=lambda entry: entry["AP"], default=None),
            },
        )

    def write(self, path):
        write_json(path, self.content)


def _repeatable(settings):
    if settings["epochs"] is None:
        return "no: with minutes the learning rate follows the clock"
    return "bit for bit on the same machine with the same versions and number of threads"


def _versions():
    found = {"keras_detblocks": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "backend": keras.backend.backend()}


def _host():
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
        "devices": keras.distribution.list_devices(),
        "python": sys.executable,
    }


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
