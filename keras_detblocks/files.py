"""Writes files so that they are either complete or absent: beside their place, forced to disk, then
renamed."""

import contextlib
import os
import pathlib
import shutil
import tempfile


@contextlib.contextmanager
def written_beside(path, durable=True):
    """A path to write a file or a folder to, which takes the place of `path` when the block ends
    without an error.

    A reader finds the old one or the new one, never half of it, whatever happens to this process or
    the machine: what was written is on the disk before the name changes. After an error (a full
    disk, Ctrl-C) the old one stands and nothing is left beside it.

    Args:
        path: of the file or folder. Its own folder is made if it does not exist.
        durable: whether to wait for the disk; not needed for thousands of files that can be made
            again.

    Yields:
        A path of the same name, so with the same suffix, in a hidden folder beside it.

    Raises:
        OSError: if the folder cannot be written to.

    >>> note = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with written_beside(note) as part:
    ...     _ = part.write_text("whole")
    >>> note.read_text()
    'whole'
    """
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise OSError(
            f"Cannot write to {path.parent}: {error.strerror}. Choose a folder that can be written."
        ) from error
    try:
        yield folder / path.name
        if durable:
            _force(folder / path.name)
        if path.is_dir():  # a folder cannot be replaced in one step
            path.rename(folder / "replaced")
        os.replace(folder / path.name, path)
        _force_folder(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path, text):
    """Writes a text file in one step, in UTF-8."""
    with written_beside(path) as part:
        part.write_text(text, encoding="utf-8")


def _force(path):
    """Waits until a file, or every file of a folder, is on the disk."""
    for each in [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]:
        with open(each, "rb+") as file:
            os.fsync(file.fileno())


def _force_folder(folder):
    """Forces the rename itself to disk; not every file system and operating system can open a
    folder for that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
