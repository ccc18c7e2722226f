"""Makes a TFLite detector one that MediaPipe's ObjectDetector, and programs written for
EfficientDet-Lite, can open: the order of its four outputs, and TFLite metadata
(https://ai.google.dev/edge/litert/models/metadata), written with `flatbuffers` only.
"""

import numpy as np

from ..runtime.forms import RATIOS
from .flatbuffer import parse, schema, serialize

LABELS_FILE = "labels.txt"
# The names by which MediaPipe tells the outputs apart, in the order that it and other programs
# expect.
_OUTPUT_NAMES = ("location", "category", "score", "number of detections")
# Numbers of TensorFlow's metadata_schema.fbs.
_RGB = 1
_IMAGE, _FEATURE, _BOX = 2, 1, 3  # ContentProperties
_NORMALIZATION = 1  # ProcessUnitOptions
_BOUNDARIES = 1  # BoundingBoxType, whose coordinates are ratios, type 0
_LABELS_BY_VALUE = 3  # AssociatedFileType
_BOX_ORDER = (1, 0, 3, 2)  # positions of left, top, right and bottom in a box


def as_mediapipe(content):
    """Turns the bytes of a TFLite file with the outputs `RATIOS` into a file for MediaPipe."""
    model = parse(content)
    index = {t.name.decode(): t.tensorIndex for t in model.signatureDefs[0].outputs}
    model.subgraphs[0].outputs = [index[name] for name in RATIOS]  # the converter sorts by name
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(_metadata(), "uint8")
    model.buffers.append(buffer)
    entry = schema().MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return serialize(model)


def _metadata():
    """The flatbuffer `ModelMetadata`."""
    table = _Tables()
    outputs = [_OUTPUT_EXTRAS.get(name, _plain)(table) for name in _OUTPUT_NAMES]
    named = [
        table(7, {0: table.text(name), **extra}) for name, extra in zip(_OUTPUT_NAMES, outputs)
    ]
    graph = table(10, {2: table.tables([_input(table)]), 3: table.tables(named)})
    root = table(
        8, {0: table.text("ObjectDetector"), 3: table.tables([graph]), 7: table.text("1.3.0")}
    )
    table.builder.Finish(root, file_identifier=b"M001")
    return bytes(table.builder.Output())


def _input(table):
    """Describes the picture: RGB, normalized as (x - 0) / 1, since our files take 0 to 255."""
    numbers = table.floats([0.0]), table.floats([1.0])
    options = table(2, {0: numbers[0], 1: numbers[1]})
    unit = table(2, {0: _byte(_NORMALIZATION), 1: options})
    content = table(3, {0: _byte(_IMAGE), 1: table(2, {0: _byte(_RGB)})})
    stats = table(2, {0: table.floats([255.0]), 1: table.floats([0.0])})
    return table(7, {0: table.text("image"), 3: content, 4: table.tables([unit]), 5: stats})


def _plain(table):
    return {}


def _location(table):
    box = table(3, {0: table.uints(_BOX_ORDER), 1: _byte(_BOUNDARIES)})
    return {3: table(3, {0: _byte(_BOX), 1: box})}


def _category(table):
    labels = table(5, {0: table.text(LABELS_FILE), 2: _byte(_LABELS_BY_VALUE)})
    return {3: table(3, {0: _byte(_FEATURE), 1: table(0, {})}), 6: table.tables([labels])}


_OUTPUT_EXTRAS = {"location": _location, "category": _category}


class _byte(int):
    """A field of one byte; other fields are offsets of tables written before."""


class _Tables:
    """Writes flatbuffer tables by the numbers of their fields."""

    def __init__(self):
        import flatbuffers

        self.builder = flatbuffers.Builder(1024)
        self.text = self.builder.CreateString

    def __call__(self, fields, values):
        self.builder.StartObject(fields)
        for slot, value in values.items():
            if isinstance(value, _byte):
                self.builder.PrependUint8Slot(slot, value, 0)
            else:
                self.builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        return self.builder.EndObject()

    def tables(self, offsets):
        return self._vector(self.builder.PrependUOffsetTRelative, offsets)

    def floats(self, values):
        return self._vector(self.builder.PrependFloat32, values)

    def uints(self, values):
        return self._vector(self.builder.PrependUint32, values)

    def _vector(self, prepend, values):
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            prepend(value)
        return self.builder.EndVector()
