"""Runs exported detectors like `Detector.predict`, and times them, for comparisons and the command
line."""

import pathlib
import tempfile
from types import SimpleNamespace

import keras
import numpy as np

from ...checks import check_int, check_kind, check_path, spelled
from ...detection.decode import decode
from ...detection.inference import detect
from ...detection.model import check_detector
from ..check.outputs import size_of
from ..formats.onnx import to_onnx
from ..formats.saved_model import to_saved_model
from ..formats.tflite import to_tflite
from ..suppression import as_keras
from .forms import as_pixels
from .metadata import read_metadata
from .session import Session, kind_of

FORMATS = {
    "saved_model": "saved_model",
    "onnx": "detector.onnx",
    "onnx-fp16": "detector_fp16.onnx",
    "onnx-int8": "detector_int8.onnx",
    "tflite": "detector.tflite",
    "tflite-fp16": "detector_fp16.tflite",
    "tflite-int8": "detector_int8.tflite",
}


def exported_path(folder, format):
    """The path at which `export_all` puts a format in a `folder`."""
    return check_path(folder, "folder") / FORMATS[spelled(FORMATS, format, "format")]


def export_all(
    detector,
    folder,
    formats=tuple(FORMATS),
    calibration=None,
    image_size=None,
    batch_size=1,
    outputs="mediapipe",
    postprocess=True,
    version=None,
):
    """Exports a detector in several formats.

    Args:
        detector: a `Detector`.
        folder: for the files, under the names of `FORMATS`.
        formats: keys of `FORMATS` in any case, or a string of them separated by commas.
        calibration: for int8: batches of fitted pictures (`data.pipeline`), about a hundred.
        image_size: `(height, width)`, for a detector of dynamic size.
        batch_size: of ONNX files, `None` for any; TFLite files have batch 1, SavedModels any.
        outputs: of TFLite files, as in `to_tflite`.
        postprocess: `False` for raw outputs. version: of the SavedModel, as in `to_saved_model`.

    Returns:
        A list of `ExportReport`.
    """
    check_kind(formats, "formats", (str, list, tuple), "names of formats")
    if isinstance(formats, str):
        formats = formats.split(",")
    names = [spelled(FORMATS, str(each).strip(), "format") for each in formats]
    paths = {name: exported_path(folder, name) for name in names}
    if any(each.endswith("int8") for each in paths) and calibration is None:
        raise ValueError("int8 needs `calibration`: batches of fitted pictures, about a hundred.")
    own = {
        "saved_model": {"version": version},
        "onnx": {"batch_size": batch_size},
        "tflite": {"outputs": outputs},
    }
    if not paths:
        raise ValueError(f"Formats are {', '.join(FORMATS)}. Received none.")
    _check_meant(own, paths)
    check_detector(detector)
    shared = {"image_size": image_size, "representative_data": calibration}
    return [
        _export(detector, each, path, **shared, postprocess=postprocess, **own[each.split("-")[0]])
        for each, path in paths.items()
    ]


# The defaults of arguments that only one kind of file has.
_UNASKED = {"version": None, "batch_size": 1, "outputs": "mediapipe"}


def _check_meant(own, formats):
    """Refuses an argument that applies to none of the formats."""
    kinds = {each.split("-")[0] for each in formats}
    for kind, arguments in own.items():
        for name, value in arguments.items():
            if value != _UNASKED[name] and kind not in kinds:
                raise ValueError(
                    f"`{name}` is of {kind} files alone: leave it out, or add the format {kind}. "
                    f"Received: {name}={value!r} for {', '.join(formats)}"
                )


def _export(detector, format, path, **options):
    kind, _, quantization = format.partition("-")
    if kind == "saved_model":
        return to_saved_model(detector, path, **options)
    convert = to_onnx if kind == "onnx" else to_tflite
    return convert(detector, path, quantization=quantization or None, **options)


def file_size(path):
    """The bytes of the file at `path`, or of all files in a folder."""
    return size_of(path)


def open_exported(path, num_threads=1):
    """Opens an exported detector (SavedModel, ONNX, TFLite) as an `ExportedDetector`.

    Args:
        path: of the file or folder.
        num_threads: how many threads it may use.

    Raises:
        ValueError: if it is not a detector that this package exported, or has changed since: every
            export carries a sha256 of itself.
    """
    return ExportedDetector(path, num_threads)


class ExportedDetector:
    """An exported file with what evaluation and drawing need of a `Detector`.

    It runs in a process of its own, on `num_threads` threads.

    Attributes:
        path: of the file or folder.
        image_size: `(height, width)`, or `None` for pictures of any size. resize, class_names,
            num_classes, max_detections: as in `Detector`.
        metadata: all that travels in the file.
    """

    def __init__(self, path, num_threads=1):
        self.path = check_path(path, "path")
        kind = kind_of(path)
        if kind == "keras":
            raise ValueError(
                f"{path} is a detector as it was saved, not an export: open it with "
                "keras.models.load_model, or export it first."
            )
        # Files of other origin are refused before they run, if that can be told.
        about = None if kind == "onnx" else read_metadata(path)
        self.session = Session(path, num_threads, checked=about is not None)
        try:
            self.metadata = about or read_metadata(path, self.session)
        except ValueError:
            self.session.close()
            raise
        size = self.metadata["image_size"]
        self.image_size = size and tuple(size)  # None: pictures of any size
        self.stride = self.metadata.get("stride")
        self.resize = self.metadata.get("resize", "letterbox")
        self.class_names = tuple(self.metadata["class_names"])
        self.num_classes = len(self.class_names)
        self.max_detections = self.metadata["max_detections"]
        self.score_threshold = self.metadata.get("score_threshold", 0.0)
        self.best_score_threshold = self.metadata.get("best_score_threshold")

    @property
    def seconds(self):
        """The time that the last image (batch, for a SavedModel) took."""
        return self.session.seconds

    def predict(self, x, batch_size=None, verbose=0):
        """Detections of letterboxed images.

        Args:
            x: `(B, H, W, 3)`, 0 to 255, or an iterable of such batches, alone or followed by
                targets (a `tf.data` pipeline).
            batch_size, verbose: accepted for compatibility with `keras.Model.predict`; not used.

        Returns:
            As `Detector.predict`: a dict of `boxes` `(B, M, 4)`, `scores`, `labels` and `count`.
        """
        batches = [x] if hasattr(x, "shape") else x
        found = [
            each
            for batch in batches
            for each in self._batch(batch[0] if isinstance(batch, (tuple, list)) else batch)
        ]
        if not found:
            raise ValueError("No images to predict.")
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    def _batch(self, images):
        shape, dtype = self.session.inputs["image"]
        images = np.asarray(images)
        if images.ndim != 4 or any(
            isinstance(side, int) and side != n for side, n in zip(shape[1:], images.shape[1:])
        ):
            raise ValueError(
                f"{self.path} takes images {(None, *shape[1:])}. Received: {images.shape}"
            )
        images = (np.rint(images) if dtype == "uint8" else images).astype(dtype)
        if shape[0] != 1:
            return [self._found(images)]
        return [self._found(images[i : i + 1]) for i in range(len(images))]

    def _found(self, images):
        found, size = self.session(image=images), images.shape[1:3]
        if self.metadata.get("outputs", {}).get("form") != "raw":
            return as_pixels(found, size)
        settings = SimpleNamespace(**self.metadata)
        found = as_keras(*decode(found, size), settings, size, settings.score_threshold)
        return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}

    def detect(self, images, score_threshold=None, tile=None, overlap=0.2):
        """Finds objects in pictures of any size. `images`, `score_threshold`, `tile` and `overlap`
        as in `Detector.detect`."""
        return detect(self, images, score_threshold, 16, tile, overlap)

    def close(self):
        """Ends the process."""
        self.session.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def benchmark(model, images=30, num_threads=1, image_size=None):
    """Measures milliseconds per image at batch 1, suppression included: the median of several runs
    in a separate process.

    Args:
        model: a `Detector`, an `ExportedDetector`, or the path of an exported file.
        images: number of runs.
        num_threads: of the runtime; an `ExportedDetector` keeps its own.
        image_size: for a detector of dynamic size.
    """
    images = check_int(images, "images")
    if isinstance(model, ExportedDetector):
        # On the threads that it was opened with.
        return _median_ms(model.session, images, image_size)
    if isinstance(model, (str, pathlib.Path)):
        with Session(model, num_threads) as session:
            return _median_ms(session, images, image_size)
    check_detector(model, "model", opened=True)
    with tempfile.TemporaryDirectory() as folder:
        model.save(pathlib.Path(folder) / "detector.keras")
        with Session(pathlib.Path(folder) / "detector.keras", num_threads) as session:
            return _median_ms(session, images, image_size)


def _median_ms(session, images, image_size):
    picture = session.picture(image_size)
    seconds = []
    for _ in range(images + 3):
        session(image=picture)
        seconds.append(session.seconds)
    return 1000 * float(np.median(seconds[3:]))
