"""Files packed into a model file, and their reading: a `.tflite` file ends in a zip archive, which
its runtimes ignore."""

import io
import json
import pathlib
import zipfile

from ..check.outputs import METADATA_FILE, METADATA_KEY
from .session import Session, kind_of


def packed(about):
    """The files that travel in a TFLite file, by name: the metadata, and one class name per
    line."""
    return {
        METADATA_FILE: json.dumps(about, indent=1),
        # One line is one class: a line's end within a name would shift all others.
        "labels.txt": "".join(" ".join(name.split()) + "\n" for name in about["class_names"]),
    }


def with_files(content, files):
    """The bytes of a TFLite file with a zip archive of `files` (name -> text) behind them, as
    MediaPipe's label files are."""
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()


def read_metadata(path, session=None):
    """The metadata of an exported detector, as `detector.metadata` wrote it.

    Raises:
        ValueError: if the file is not a detector that this package exported.
    """
    path, kind = pathlib.Path(path), kind_of(path)
    text = None
    if kind == "saved_model" and (path / METADATA_FILE).is_file():
        text = (path / METADATA_FILE).read_text()
    elif kind == "tflite" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            text = (
                archive.read(METADATA_FILE).decode()
                if METADATA_FILE in archive.namelist()
                else None
            )
    elif kind == "onnx":
        text = _onnx(path, session)
    about = json.loads(text) if text else {}
    if about.get("format") != "keras_detblocks.detector":
        raise ValueError(
            f"{path} is not a detector exported by keras_detblocks: it carries no class names and "
            f"image size."
        )
    return about


def _onnx(path, session):
    if session is not None:
        return session.onnx_metadata.get(METADATA_KEY)
    with Session(path) as session:
        return session.onnx_metadata.get(METADATA_KEY)
