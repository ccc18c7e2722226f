"""Opens Keras' own files, and says in one line what is wrong with one that cannot be."""

import pathlib
import zipfile

import keras


def load_keras_file(path, compile=True):
    """The model in a `.keras` file.

    The archive's checksums are read first: Keras itself seeks past them, and a flipped bit would
    become another weight.

    Args:
        path: of the file.
        compile: as in `keras.models.load_model`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds what this version cannot read.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such model file: {path}")
    with whole(path):
        return keras.models.load_model(path, compile=compile)


class whole:
    """A block that reads a Keras file; whatever it raises becomes one `ValueError`, since a damaged
    file makes Keras raise all that its readers can raise."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def __enter__(self):
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
            f"{self.path} is damaged, or no model that this version reads ({name}{text}): copy or "
            f"write it again."
        )
