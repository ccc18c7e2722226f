"""What a run keeps in its folder: checks before it starts, checkpoints that a stopped run continues
from, its history."""

import contextlib
import json
import pathlib
import shutil
import tempfile

import keras

from ..files import write_text, written_beside

LEAST_FREE_BYTES = 200 * 1024**2


def prepare_folder(path):
    """Makes the output folder, and proves that it can be written to, before anything is trained.

    Raises:
        OSError: if the folder cannot be made or written, or the disk has less than 200 MB free.
    """
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(
            f"Cannot write to the output folder {path}: {error.strerror}. Choose another `out`."
        ) from error
    free = shutil.disk_usage(path).free
    if free < LEAST_FREE_BYTES:
        raise OSError(
            f"Only {free // 1024**2} MB are free for {path}; a run needs "
            f"{LEAST_FREE_BYTES // 1024**2} MB. Free some."
        )
    return path


def write_json(path, value):
    """Writes JSON in one step: a reader finds the old file or the new one, never half of it."""
    write_text(path, json.dumps(value, indent=1))


def save_model(model, path, include_optimizer=False):
    """Saves a `.keras` file in one step; the model in it is compiled only with its optimizer, which
    is larger than the weights."""
    with (
        written_beside(path) as part,
        contextlib.nullcontext() if include_optimizer else _uncompiled(model),
    ):
        model.save(part)


@contextlib.contextmanager
def _uncompiled(model):
    """Keras' own `include_optimizer=False` has no effect on `.keras` files. Past `__setattr__`,
    which would track the optimizer."""
    kept = {key: getattr(model, key) for key in ("optimizer", "compiled")}
    for key, value in (("optimizer", None), ("compiled", False)):
        object.__setattr__(model, key, value)
    try:
        yield
    finally:
        for key, value in kept.items():
            object.__setattr__(model, key, value)


class Checkpoint:
    """The newest complete checkpoint in a folder: a model with its optimizer, and the progress that
    belongs to it.

    The progress file names the model file and is replaced last, so a run killed at any moment
    leaves a pair that fits.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.progress_path = self.folder / "progress.json"

    def exists(self):
        return self.progress_path.is_file()

    def progress(self):
        return json.loads(self.progress_path.read_text())

    def load_model(self):
        return keras.models.load_model(self.folder / self.progress()["model"])

    def save(self, model, progress):
        self.folder.mkdir(exist_ok=True)
        name = f"step-{progress['step']}.keras"
        save_model(model, self.folder / name, include_optimizer=True)
        write_json(self.progress_path, {**progress, "model": name})
        for old in self.folder.glob("step-*.keras"):
            if old.name != name:
                old.unlink()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
