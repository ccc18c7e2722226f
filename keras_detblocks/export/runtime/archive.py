"""Packs files into a model file: a `.tflite` file ends in a zip archive, which its runtimes
ignore."""

import io
import json
import zipfile

# The name of a detector's metadata: a file beside the graph of a SavedModel and in TFLite files, a
# property of ONNX files.
METADATA_FILE, METADATA_KEY = "keras_detblocks.json", "keras_detblocks"


def is_tflite(content):
    """Whether bytes, of which eight are enough, begin a TFLite file."""
    return content[4:8] == b"TFL3"


def packed(about):
    """The files in a TFLite file, by name: the metadata, and the class names, one per line."""
    return {
        METADATA_FILE: json.dumps(about, indent=1),
        # A line is a class: a line break within a name would shift all others.
        "labels.txt": "".join(" ".join(name.split()) + "\n" for name in about["class_names"]),
    }


def with_files(content, files):
    """The bytes of a TFLite file followed by a zip archive of `files` (name -> text or bytes), as
    with MediaPipe's label files."""
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()


def parts(content):
    """Splits a TFLite file into `(model, files)`: its bytes without the archive, and those of the
    files in it, `{}` without one.

    Raises:
        zipfile.BadZipFile: if a file does not match its checksum.
    """
    if METADATA_FILE.encode() not in content:
        return content, {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        files = {each.filename: archive.read(each) for each in members}
    return content[: min(each.header_offset for each in members)], files
