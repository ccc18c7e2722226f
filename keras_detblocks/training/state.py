"""The files in a run's folder: checks before it starts, checkpoints from which a stopped run
continues, complete model files."""

import contextlib
import json
import pathlib
import shutil
import tempfile
import zipfile

import numpy as np

from ..files import write_text, written_beside
from ..weights.keras_file import whole
from .distribute import for_any_backend, numpy_of

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


def remove_unfinished(folder):
    """Removes unfinished files that a killed process left beside their place."""
    for path in pathlib.Path(folder).glob(".*.*"):
        if path.is_dir() and path.name.rpartition(".")[0] in _PARTS:
            shutil.rmtree(path, ignore_errors=True)
    for path in pathlib.Path(folder).glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


_PARTS = {
    f".{name}"
    for name in (
        "detector.keras",
        "best.keras",
        "history.json",
        "run.json",
        "learning_curve.png",
    )
}


def write_json(path, value):
    """Writes JSON in one step: a reader finds the old file or the new one, never half of it."""
    write_text(path, json.dumps(value, indent=1))


def save_model(model, path, include_optimizer=False):
    """Saves a `.keras` file in one step; the model in it is compiled only if its optimizer, which
    is larger than the weights, is included.

    The content of `model.run_record` is also in the file's `metadata.json`, for readers without
    Keras.
    """
    with (
        written_beside(path) as part,
        for_any_backend(model),
        contextlib.nullcontext() if include_optimizer or not model.compiled else _uncompiled(model),
    ):
        model.save(part)
        if getattr(model, "run_record", None):
            _add_metadata(part, {"run": model.run_record})


def _add_metadata(path, more):
    """Copies the archive, since a member of one cannot be replaced."""
    whole = path.with_name(f"whole-{path.name}")
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(whole, "w") as after:
        for member in before.infolist():
            with before.open(member) as source, after.open(member.filename, "w") as target:
                if member.filename == "metadata.json":
                    target.write(json.dumps({**json.load(source), **more}).encode())
                else:
                    shutil.copyfileobj(source, target, 1 << 20)
    whole.replace(path)


@contextlib.contextmanager
def _uncompiled(model):
    """A context in which a model has no optimizer, since Keras' `include_optimizer=False` has no
    effect on `.keras` files. It bypasses `__setattr__`, which would track the optimizer."""
    kept = {key: getattr(model, key) for key in ("optimizer", "compiled")}
    for key, value in (("optimizer", None), ("compiled", False)):
        object.__setattr__(model, key, value)
    try:
        yield
    finally:
        for key, value in kept.items():
            object.__setattr__(model, key, value)


def not_finite(model):
    """The path of a variable of the model or its optimizer that holds NaN or infinity; else
    `None`."""
    variables = [*model.variables, *(model.optimizer.variables if model.optimizer else ())]
    for variable in variables:
        values = numpy_of(variable)
        if values.dtype.kind not in "iub" and not np.isfinite(values.astype("float32")).all():
            return variable.path
    return None


class RunCheckpoint:
    """The newest checkpoints of a run: models with their optimizer, and the progress that belongs
    to each.

    A checkpoint is a folder, `step-N`, which appears completely or not at all; the last two stay,
    so that a file damaged by the disk costs the steps between them and not the run.

    Args:
        folder: of the checkpoints.
        keep: how many stay.
    """

    def __init__(self, folder, keep=2):
        self.folder = pathlib.Path(folder)
        self.keep = keep

    def _saved(self):
        """Folders of the checkpoints, the newest first."""
        found = [p for p in self.folder.glob("step-*") if p.name.removeprefix("step-").isdigit()]
        return sorted(found, key=lambda p: int(p.name.removeprefix("step-")), reverse=True)

    def exists(self):
        return bool(self._saved())

    def progress(self):
        """The progress of the newest checkpoint that can be read."""
        return self.newest()[1]

    def newest(self):
        """Returns `(model file, progress, damaged)`: the newest intact checkpoint, and lines on
        newer ones that are damaged.

        Raises:
            ValueError: if none is intact.
        """
        damaged = []
        for folder in self._saved():
            try:
                progress = json.loads((folder / "progress.json").read_text())
                with whole(folder / "model.keras"):
                    return folder / "model.keras", progress, damaged
            except (ValueError, OSError) as error:
                damaged.append(f"{folder}: damaged ({' '.join(str(error).split())[:160]})")
        raise ValueError(f"No checkpoint in {self.folder} can be read. {'. '.join(damaged)}")

    def save(self, model, progress):
        """Adds a checkpoint and removes those before the last `keep`.

        Raises:
            OSError: if it cannot be written; the existing ones stay.
        """
        path = self.folder / f"step-{progress['step']}"
        with written_beside(path) as part:
            part.mkdir()
            model.save(part / "model.keras")
            (part / "progress.json").write_text(json.dumps(progress))
        self.thin(self.keep)

    def thin(self, keep):
        """Removes all but the newest `keep`."""
        for old in self._saved()[keep:]:
            gone = old.rename(old.with_name(f".{old.name}"))  # a name that is never read
            shutil.rmtree(gone, ignore_errors=True)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
