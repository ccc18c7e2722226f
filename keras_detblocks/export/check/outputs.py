"""Writes an export beside its place, opens and runs it, compares it with Keras, and only then moves
it there."""

import contextlib
import pathlib
import warnings
from dataclasses import dataclass, field

import numpy as np

from ...checks import check_path
from ...files import written_beside
from ..graph import is_dynamic, sample_inputs
from ..runtime.archive import METADATA_FILE
from ..runtime.session import Session, SessionError

# Largest error allowed, as a share of the output's range: float32 differs by the order of sums,
# float16 by its 11 bits. int8 is judged by its mean error, since single values may saturate,
# relative to the range including zero, which its steps divide.
TOLERANCES = {None: 2e-3, "fp16": 3e-2, "int8": 0.04}
# Entries of a folder that an export may replace.
_SAVED_MODEL = {
    "saved_model.pb",
    "fingerprint.pb",
    "variables",
    "assets",
    "assets.extra",
    METADATA_FILE,
}


@dataclass(frozen=True)
class ExportReport:
    """The report of an export: where it is and how well it agrees with Keras.

    Attributes:
        path: of the file or folder.
        size: in bytes.
        max_error: output name -> largest absolute difference to Keras.
        operators: operator -> how often (TFLite, ONNX). partitions: parts that TFLite's CPU
            delegate took.
        mended: names of tensors that were repaired for int8 (dead over the calibration set).
        detections: for a detector, how many detections were matched with Keras, and how many there
            are.
        program: for a detector's TFLite file, path of the `detect.py` beside it that runs it.
    """

    path: str
    size: int
    max_error: dict
    operators: dict = field(default_factory=dict)
    partitions: int | None = None
    mended: tuple = ()
    detections: tuple | None = None
    program: str | None = None

    def __str__(self):
        parts = [f"{self.path}: {self.size / 1024:,.0f} kB"]
        if self.detections is not None:
            parts.append(f"{self.detections[0]} of {self.detections[1]} detections of Keras found")
        worst = max(self.max_error.values(), default=0.0)
        parts.append(f"largest difference {worst:.2g}")
        if self.partitions is not None:
            parts.append(f"{self.partitions} CPU partition{'s' * (self.partitions != 1)}")
        if self.mended:
            parts.append(f"{len(self.mended)} dead tensor{'s' * (len(self.mended) != 1)} mended")
        if self.program:
            parts.append(f"{pathlib.Path(self.program).name} beside it runs it")
        return ", ".join(parts)


class ExportError(ValueError):
    """An export that does not open, does not run or does not agree with Keras; no file is left
    behind."""


@contextlib.contextmanager
def staged(path):
    """A temporary path in the folder of `path`, which is moved to `path` if the block succeeds and
    removed if it does not."""
    path = check_path(path, "path")
    if path.is_dir() and {each.name for each in path.iterdir()} - _SAVED_MODEL:
        raise ExportError(
            f"{path} is a folder with other files in it, which will not be replaced: choose "
            f"another path."
        )
    with written_beside(path) as part:
        yield part


def size_of(path):
    path = check_path(path, "path")
    return (
        sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
        if path.is_dir()
        else path.stat().st_size
    )


def keras_outputs(signature, arrays):
    """The outputs of Keras for a dict of arrays, as NumPy arrays by output name."""
    import keras

    values = [keras.ops.convert_to_tensor(arrays[name]) for name in signature.inputs]
    return {
        name: np.asarray(keras.ops.convert_to_numpy(value))
        for name, value in signature.call(*values).items()
    }


def compare_outputs(path, signature, precision=None, samples=None, tolerance=None):
    """Runs the file on samples and compares it with Keras.

    Args:
        path: of the export.
        signature: of the Keras model.
        precision: `None` (float32), `"fp16"` or `"int8"`: chooses the tolerance.
        samples: list of dicts of arrays; a random one by default, or two of different sizes if
            these are dynamic.
        tolerance: another tolerance.

    Returns:
        `(max_error by output name, partitions)`.

    Raises:
        ExportError: if an output is missing, has another shape, or differs by more than the
            tolerance.
    """
    samples = samples or [
        sample_inputs(signature, seed) for seed in range(2 if is_dynamic(signature) else 1)
    ]
    expected = [keras_outputs(signature, arrays) for arrays in samples]
    try:
        with Session(path) as session:
            got = [session(**cast_inputs(arrays, session.inputs)) for arrays in samples]
            partitions = session.partitions
            show_warnings(session)
    except SessionError as error:
        raise ExportError(
            f"The exported file was written but is unusable, and was removed: {error}"
        ) from error
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    errors = {}
    for name in signature.outputs:
        pairs = [(want[name], have.get(name)) for want, have in zip(expected, got)]
        errors[name] = _error(name, pairs, precision, tolerance)
    return errors, partitions


def show_warnings(session):
    """Passes on the warnings of an exported file's runtime."""
    for text in session.warnings:
        warnings.warn(f"onnxruntime about the exported file: {text}", stacklevel=4)


def cast_inputs(arrays, inputs):
    """The arrays by input name, in the dtypes that a session expects."""
    if set(arrays) != set(inputs):
        raise ExportError(f"The file has inputs {sorted(inputs)}; the model has {sorted(arrays)}.")
    return {name: np.asarray(value).astype(inputs[name][1]) for name, value in arrays.items()}


def _error(name, pairs, precision, tolerance):
    for want, have in pairs:
        if have is None or have.shape != want.shape:
            raise ExportError(
                f"Output {name!r} should be {want.shape}; the file returns "
                f"{None if have is None else have.shape}."
            )
        if not np.isfinite(want).all():
            raise ExportError(
                f"Keras itself returns NaN or infinity in output {name!r}: train or repair the "
                f"model first."
            )
    difference = np.concatenate([np.abs(w.astype("float64") - h).ravel() for w, h in pairs])
    reference = np.concatenate([w.astype("float64").ravel() for w, _ in pairs])
    off, scale = difference.max(), np.abs(reference).max()
    if precision == "int8":
        off, scale = difference.mean(), max(reference.max(), 0.0) - min(reference.min(), 0.0)
    if not off <= tolerance * max(scale, 1e-3):
        raise ExportError(
            f"Output {name!r} of the exported file differs from Keras by {off:.3g} where values "
            f"reach {scale:.3g} (tolerance {tolerance:g} of that). Nothing was written."
        )
    return float(difference.max())
