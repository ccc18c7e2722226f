"""The checksum that an exported detector carries in its own metadata: a flipped bit is told, not
taken for another weight."""

import hashlib
import pathlib
import re

from .archive import METADATA_FILE, METADATA_KEY, is_tflite, parts, with_files

# From this version on the metadata have the field, and a SavedModel's covers them too.
SEALED_VERSION = 2
# What the field holds until the file around it is written.
BLANK = "0" * 64
_FIELD = re.compile(rb'"sha256": "(.{64})"', re.DOTALL)
_VERSION = f'"version": {SEALED_VERSION}'.encode()


def seal(path):
    """Writes the checksum into the metadata of a detector's file or folder that is complete but for
    it."""
    path = pathlib.Path(path)
    target = path / METADATA_FILE if path.is_dir() else path
    content = target.read_bytes()
    _, digest = _seals(path)
    if is_tflite(content):
        model, files = parts(content)
        files[METADATA_FILE] = _filled(files[METADATA_FILE], digest)
        target.write_bytes(with_files(model, files))
    else:
        target.write_bytes(_filled(content, digest))


def check_seal(path):
    """Compares a file or folder with the checksum in its metadata; what is no detector of ours
    passes.

    Raises:
        ValueError: if it is not what the export wrote.
    """
    path = pathlib.Path(path)
    try:
        wanted, found = _seals(path)
    except OSError:
        raise
    except Exception as error:  # flipped bits make the reader of archives raise all that it can
        raise _damaged(path, f"its metadata cannot be read: {error}") from error
    if wanted not in (found, BLANK, None):
        raise _damaged(path, "its sha256 is not the one that its metadata hold")


def _seals(path):
    """The checksum that the metadata hold (`None` without metadata), and that of what is there."""
    if path.is_dir():
        beside = path / METADATA_FILE
        about = beside.read_bytes() if beside.is_file() else b""
        return _held(about), _of_folder(path, about) if about else ""
    content = path.read_bytes()
    if is_tflite(content):
        model, files = parts(content)
        about = files[METADATA_FILE] if files else b""
        return _held(about), hashlib.sha256(model).hexdigest()
    return _held(content), hashlib.sha256(_filled(content, BLANK)).hexdigest()


def _held(about):
    """The checksum in metadata, or in a file that they are a part of."""
    field = _FIELD.search(about)
    if field is not None:
        return field[1].decode(errors="replace")
    return "missing" if _VERSION in about and METADATA_KEY.encode() in about else None


def _filled(about, digest):
    """Metadata with the checksum's field set."""
    return _FIELD.sub(f'"sha256": "{digest}"'.encode(), about, count=1)


def _damaged(path, why):
    return ValueError(f"{path} is damaged: {why}. Copy it again, or export the detector anew.")


def _of_folder(path, about):
    """Over the names and contents of all files that the export wrote, the metadata with a blank
    field; what a file manager left (`.DS_Store`) or a server was given (`assets.extra`) does not
    count."""
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        name = file.relative_to(path)
        if name.name.startswith(".") or name.parts[0] == "assets.extra":
            continue
        content = file.read_bytes()
        if name.name == METADATA_FILE:
            if _VERSION not in about:
                continue
            content = _filled(content, BLANK)
        digest.update(name.as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
