"""The checksum that an exported detector carries in its own metadata: a flipped bit is told, not
taken for another weight."""

import hashlib
import io
import json
import pathlib
import re
import zipfile

from ..check.outputs import METADATA_FILE

# What the field holds until the file around it is written.
BLANK = "0" * 64
_FIELD = re.compile(rb'"sha256": "([0-9a-f]{64})"')


def seal(path):
    """Writes the checksum into the metadata of a detector's file or folder that is complete but for
    it."""
    path = pathlib.Path(path)
    if path.is_dir():
        beside = path / METADATA_FILE
        about = json.loads(beside.read_text())
        beside.write_text(json.dumps({**about, "sha256": _of_folder(path)}, indent=1))
    elif path.suffix == ".onnx":
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        path.write_bytes(_FIELD.sub(b'"sha256": "%s"' % digest.encode(), content))
    else:
        path.write_bytes(_sealed_archive(path.read_bytes()))


def check_seal(path):
    """Compares a file or folder with the checksum in its metadata; what has none passes.

    Raises:
        ValueError: if it is not what the export wrote.
    """
    path = pathlib.Path(path)
    try:
        wanted, found = _seals(path)
    except (zipfile.BadZipFile, KeyError, UnicodeError, json.JSONDecodeError) as error:
        raise _damaged(path, f"its metadata cannot be read: {error}") from error
    if wanted not in (found, BLANK, None):
        raise _damaged(path, "its sha256 is not the one that its metadata hold")


def _seals(path):
    """The checksum that the metadata hold (`None` without one), and that of what is there."""
    if path.is_dir():
        beside = path / METADATA_FILE
        about = json.loads(beside.read_text()) if beside.is_file() else {}
        return about.get("sha256"), _of_folder(path)
    content = path.read_bytes() if path.is_file() else b""
    if path.suffix == ".onnx":
        fields = _FIELD.findall(content)
        blank = _FIELD.sub(b'"sha256": "%s"' % BLANK.encode(), content)
        return fields[0].decode() if fields else None, hashlib.sha256(blank).hexdigest()
    if METADATA_FILE.encode() not in content:
        return None, None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        wanted = json.loads(archive.read(METADATA_FILE)).get("sha256")
    return wanted, hashlib.sha256(_model_bytes(content)).hexdigest()


def _damaged(path, why):
    return ValueError(f"{path} is damaged: {why}. Copy it again, or export the detector anew.")


def _of_folder(path):
    """Over the names and contents of all files but the metadata."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and p.name != METADATA_FILE):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _model_bytes(content):
    """A `.tflite` file without the archive behind it, whose members have checksums themselves."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return content[: min(member.header_offset for member in archive.infolist())]


def _sealed_archive(content):
    model = _model_bytes(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(member, archive.read(member)) for member in archive.infolist()]
    stream = io.BytesIO(model)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a") as archive:
        for member, data in members:
            if member.filename == METADATA_FILE:
                about = {**json.loads(data), "sha256": hashlib.sha256(model).hexdigest()}
                data = json.dumps(about, indent=1)
            archive.writestr(zipfile.ZipInfo(member.filename), data)
    return stream.getvalue()
