"""The checksum that an exported detector carries in its own metadata, so that a flipped bit is
reported and not taken for another weight."""

import hashlib
import pathlib
import re

from .archive import METADATA_FILE, METADATA_KEY, is_tflite, parts, with_files

# The metadata have the field from this version on, and for a SavedModel it covers them too.
SEALED_VERSION = 2
# The content of the field until the file around it is written.
BLANK = "0" * 64
_FIELD = re.compile(rb'"sha256": "(.{64})"', re.DOTALL)
_VERSION = f'"version": {SEALED_VERSION}'.encode()


def seal(path):
    """Writes the checksum into the metadata of a detector's file or folder that is otherwise
    complete."""
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
    """Compares a file or folder with the checksum in its metadata; files that are not our detectors
    pass.

    Raises:
        ValueError: if it is not what the export wrote.
    """
    path = pathlib.Path(path)
    try:
        wanted, found = _seals(path)
    except OSError:
        raise
    except Exception as error:  # flipped bits make the archive reader raise anything
        raise _damaged(path, f"its metadata cannot be read: {error}") from error
    if wanted not in (found, BLANK, None):
        raise _damaged(path, "its sha256 is not the one that its metadata hold")


def _seals(path):
    """The checksum in the metadata (`None` without metadata), and that of the actual content."""
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
    """The checksum in metadata, or in a file that contains them."""
    field = _FIELD.search(about)
    if field is not None:
        return field[1].decode(errors="replace")
    return "missing" if _VERSION in about and METADATA_KEY.encode() in about else None


def _filled(about, digest):
    """The metadata with the checksum's field set."""
    return _FIELD.sub(f'"sha256": "{digest}"'.encode(), about, count=1)


def _damaged(path, why):
    return ValueError(f"{path} is damaged: {why}. Copy it again, or export the detector anew.")


def _of_folder(path, about):
    """The checksum over the names and contents of all files that the export wrote, with a blank
    field in the metadata; files left by a file manager (`.DS_Store`) or added for a server
    (`assets.extra`) do not count."""
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
