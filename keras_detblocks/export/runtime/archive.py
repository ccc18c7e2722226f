"""Files packed into a model file: a `.tflite` file ends in a zip archive, which its runtimes
ignore."""

import io
import json
import zipfile

# Where a detector's metadata lie: a file beside the graph of a SavedModel and in TFLite files, a
# property of ONNX files.
METADATA_FILE, METADATA_KEY = "keras_detblocks.json", "keras_detblocks"


def is_tflite(content):
    """Whether bytes, of which eight are enough, are the beginning of a TFLite file."""
    return content[4:8] == b"TFL3"


def packed(about):
    """The files that travel in a TFLite file, by name: the metadata, and one class name per
    line."""
    return {
        METADATA_FILE: json.dumps(about, indent=1),
        # One line is one class: a line's end within a name would shift all others.
        "labels.txt": "".join(" ".join(name.split()) + "\n" for name in about["class_names"]),
    }


def with_files(content, files):
    """The bytes of a TFLite file with a zip archive of `files` (name -> text or bytes) behind them,
    as MediaPipe's label files are."""
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return stream.getvalue()


def parts(content):
    """`(model, files)` of a TFLite file: its bytes without the archive, and those of the files in
    it, `{}` without one.

    Raises:
        zipfile.BadZipFile: if a file is not what its checksum says.
    """
    if METADATA_FILE.encode() not in content:
        return content, {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        files = {each.filename: archive.read(each) for each in members}
    return content[: min(each.header_offset for each in members)], files
