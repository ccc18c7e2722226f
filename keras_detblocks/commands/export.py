"""The verb `detblocks export`."""

import pathlib

from . import options as shared

# How MediaPipe treats a detector, by the way it fits pictures.
MEDIAPIPE = {
    "letterbox": "MediaPipe opens the .tflite files, but stretches each picture to the input, and "
    "this detector was trained on letterboxed ones: pictures of other proportions than the input's "
    "lose accuracy there. Letterbox them first, or train with --resize stretch.",
    "stretch": "MediaPipe opens the .tflite files and fits pictures as in training: it stretches "
    "them.",
}
# The library's names for the options of this verb.
FLAGS = {
    "`batch_size`": "--any-batch",
    "`image_size=(height, width)`": "--size HEIGHTxWIDTH",
    "`image_size`": "--size",
    "`iou_threshold`": "--iou-threshold",
    "`max_detections`": "--max-detections",
    "`outputs`": "--outputs",
    "`score_threshold`": "--score-threshold",
    "`version`": "--version-folder",
}
HELP = "write SavedModel, ONNX and TFLite files of a detector, each opened and compared"
BEST = "best"


def _score(text):
    return text if text == BEST else float(text)


# Attributes of a detector that an export fixes.
THRESHOLDS = {"score_threshold": _score, "iou_threshold": float, "max_detections": int}


def add_options(parser):
    parser.add_argument("model", type=pathlib.Path, help=".keras file")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument(
        "--formats",
        type=str.lower,
        default="saved_model,onnx,tflite,tflite-fp16",
        help="and tflite-int8, onnx-fp16, onnx-int8 (default: %(default)s)",
    )
    parser.add_argument(
        "--calibration",
        type=pathlib.Path,
        default=None,
        help="data set whose pictures int8 is calibrated on",
    )
    parser.add_argument(
        "--size", type=shared.size, default=None, help="input size, for models of dynamic size"
    )
    parser.add_argument(
        "--outputs",
        choices=("mediapipe", "pixels"),
        default="mediapipe",
        help=(
            "outputs of .tflite files: the four tensors of MediaPipe and EfficientDet-Lite, or "
            "ours with boxes in pixels, which MediaPipe refuses (default: %(default)s)"
        ),
    )
    parser.add_argument(
        "--raw", action="store_true", help="leave out decoding and suppression, for other devices"
    )
    parser.add_argument(
        "--any-batch", action="store_true", help="write ONNX files that take any number of pictures"
    )
    parser.add_argument(
        "--version-folder", type=int, default=None, help="version number for TensorFlow Serving"
    )
    for name, kind in THRESHOLDS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=None,
            help="of the file; default: the detector's own"
            + ("; 'best': the one that an evaluation stored" if kind is _score else ""),
        )
    parser.add_argument(
        "--class-agnostic",
        action="store_true",
        default=None,
        help="keep one box per place, whatever its class",
    )


def run(options):
    from .. import export
    from ..training.state import prepare_folder

    detector = shared.open_model(options.model)
    if not hasattr(detector, "get_config"):
        raise ValueError(
            f"A trained detector (.keras) is what can be exported. Received: {options.model}, an "
            f"export already"
        )
    out = prepare_folder(options.out)
    if options.score_threshold == BEST:
        options.score_threshold = _best_threshold(detector, options.model)
    for name in (*THRESHOLDS, "class_agnostic"):
        if getattr(options, name) is not None:
            setattr(detector, name, getattr(options, name))
    reports = export.export_all(
        detector,
        out,
        tuple(options.formats.split(",")),
        calibration=_calibration(options, detector),
        image_size=options.size,
        batch_size=None if options.any_batch else 1,
        outputs=options.outputs,
        postprocess=not options.raw,
        version=options.version_folder,
    )
    for report in reports:
        print(report)
    if "tflite" in options.formats and options.outputs == "mediapipe" and not options.raw:
        print(MEDIAPIPE[detector.resize])


def _best_threshold(detector, path):
    if detector.best_score_threshold is None:
        raise ValueError(
            f"No evaluation stored a best threshold in {path}: run `detblocks evaluate {path} DATA "
            f"--report DIR` first, or give a number."
        )
    return detector.best_score_threshold


def _calibration(options, detector):
    if options.calibration is None:
        if "int8" in options.formats:
            raise ValueError(
                "int8 needs pictures to calibrate on: give --calibration DATA (about 100 of your "
                "training pictures)."
            )
        return None
    from .. import data
    from .datasets import first

    dataset = data.load(options.calibration, first(data.splits(options.calibration), "TRAINING"))
    return data.pipeline(
        dataset.take(100), detector.image_size or options.size, 1, resize=detector.resize
    )
