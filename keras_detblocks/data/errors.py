"""Errors about a data set as a whole."""

from ..checks import check_path


class DatasetError(ValueError):
    """A data set that cannot be used at all: missing, empty or malformed."""


class PicturesNotFound(DatasetError):
    """The annotations are there, but none of their picture files was found."""


def check_new_folder(path, name="out"):
    """The path of a folder to make: it does not exist, or is empty.

    >>> check_new_folder("nowhere").name
    'nowhere'
    """
    path = check_path(path, name)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DatasetError(
            f"`{name}` must be a new or empty folder. Received: {name}={str(path)!r}, which holds "
            "something else; name another one."
        )
    return path
