"""Opens Keras' own files, and says in one line what is wrong with one that cannot be opened."""

import collections
import io
import pathlib
import zipfile

import keras

from ..checks import check_path


def load_keras_file(path, compile=True):
    """The model in a `.keras` file.

    The archive's checksums are verified first: Keras skips them, so a flipped bit would become
    another weight.

    Args:
        path: of the file.
        compile: as in `keras.models.load_model`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or this version cannot read it.
    """
    path = check_path(path, "path")
    if not path.is_file():
        raise FileNotFoundError(f"No such model file: {path}")
    with whole(path):
        return keras.models.load_model(path, compile=compile)


class whole:
    """A context for reading a Keras file, which turns any error into one `ValueError`, since a
    damaged file makes Keras raise any of its readers' errors."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def __enter__(self):
        if not self.path.exists():
            raise FileNotFoundError(f"No such file: {self.path}")
        if self.path.suffix == ".keras":
            try:
                with zipfile.ZipFile(self.path) as archive:
                    bad = archive.testzip()
            except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
                raise self._damaged(error) from error
            if bad is not None:
                raise self._damaged(f"{bad} is not what was written")
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception) and not isinstance(error, MemoryError):
            raise self._damaged(error) from error

    def _damaged(self, reason):
        name = f"{type(reason).__name__}: " if isinstance(reason, Exception) else ""
        text = " ".join(str(reason).split())[:160]
        return ValueError(
            f"{self.path} is damaged, or not a model that this version reads ({name}{text}): copy "
            f"or write it again."
        )


def check_same_net(target, path):
    """Checks that a file holds arrays of the shapes of a model's weights: Keras takes them by the
    order of layers, and does not notice what is left over from a larger net.

    Args:
        target: a model.
        path: of a `.weights.h5` or `.keras` file.

    Raises:
        ValueError: if it does not.
    """
    with whole(path):
        held = _shapes(path)
    wanted = collections.Counter(
        tuple(v.shape) for v in target.weights if "seed_generator" not in v.path
    )
    if held != wanted:
        named = str(path).endswith(".keras")
        by_names = "" if named else ", or save it as a .keras file, which is read by names"
        more, missing = (held - wanted).total(), (wanted - held).total()
        raise ValueError(
            f"{path} holds the weights of another net: build the one that was saved, with the same "
            f"arguments{by_names}. Received: of its "
            f"{held.total()} arrays {more} without a place here, and {missing} of {wanted.total()} "
            f"weights of {target.name!r} without an array."
        )


def _shapes(path):
    """The count of each shape among a file's arrays, without the optimizer's and the states of
    random generators."""
    import h5py

    shapes = collections.Counter()

    def count(name, item):
        random = "seed_generator" in name
        if isinstance(item, h5py.Dataset) and not random and not name.startswith("optimizer/"):
            shapes[tuple(item.shape)] += 1

    if str(path).endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            path = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(path) as file:
        file.visititems(count)
    return shapes
