"""Reads the metadata of an exported detector."""

import json
import pathlib

from .archive import METADATA_FILE, METADATA_KEY, parts
from .seal import check_seal
from .session import Session, kind_of


def read_metadata(path, session=None):
    """The metadata of an exported detector, as `detector.metadata` wrote it.

    Args:
        path: of the file or folder.
        session: the `Session` that it runs in, if there is one.

    Raises:
        ValueError: if it is not a detector that this package exported, or damaged.
    """
    path, kind = pathlib.Path(path), kind_of(path)
    if session is None:  # a session would have checked it
        check_seal(path)
    text = _TEXTS[kind](path, session)
    about = json.loads(text) if text else {}
    if about.get("format") != "keras_detblocks.detector":
        raise ValueError(
            f"{path} is not a detector exported by keras_detblocks: it carries no class names and "
            f"image size."
        )
    return about


def _saved_model(path, session):
    beside = path / METADATA_FILE
    return beside.read_bytes() if beside.is_file() else None


def _tflite(path, session):
    return parts(path.read_bytes())[1].get(METADATA_FILE)


def _onnx(path, session):
    if session is not None:
        return session.onnx_metadata.get(METADATA_KEY)
    with Session(path) as session:
        return session.onnx_metadata.get(METADATA_KEY)


_TEXTS = {
    "saved_model": _saved_model,
    "tflite": _tflite,
    "onnx": _onnx,
    "keras": lambda path, session: None,
}
