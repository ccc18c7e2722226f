"""The verb `detblocks predict`."""

import contextlib
import pathlib
import sys

from . import datasets, predictions
from . import options as shared

# The library's names for the options of this verb.
FLAGS = {"`frames`": "--frames", "`score_threshold`": "--score"}
HELP = "draw the detections of a model onto pictures and videos"


def add_options(parser):
    from ..detection.inference import DEFAULT_SCORE_THRESHOLD

    parser.add_argument(
        "model", type=pathlib.Path, help=".keras, .onnx or .tflite file, or SavedModel folder"
    )
    parser.add_argument(
        "pictures",
        nargs="*",
        type=_source,
        help="pictures, folders of pictures, videos, camera numbers or stream URLs",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=None,
        help="folder for the pictures, the videos and detections.json",
    )
    parser.add_argument(
        "--json",
        choices=("-",),
        default=None,
        help="-: print one JSON object per line as pictures are done",
    )
    parser.add_argument("--frames", type=int, default=None, help="most frames of a video")
    parser.add_argument(
        "--score",
        type=float,
        default=None,
        help="least score (default: the best one that an evaluation stored in the model, else "
        f"{DEFAULT_SCORE_THRESHOLD})",
    )
    parser.add_argument(
        "--format",
        choices=("plain", "coco"),
        default="plain",
        help="of detections.json: boxes by picture, or COCO's results with the ids of --data",
    )
    parser.add_argument("--no-pictures", action="store_true", help="write only detections.json")
    _add_tiles(parser)
    shared.add_max_detections(parser)
    _add_data(parser)


def _add_tiles(parser):
    """Adds the options for small objects in large pictures."""
    parser.add_argument(
        "--tile",
        type=shared.size,
        default=None,
        help="HEIGHTxWIDTH: look at tiles of large pictures, for small objects",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.2,
        help="share of a tile that the next one covers too (default: %(default)s)",
    )


def _add_data(parser):
    """Adds the options for the pictures of a data set, with its ids."""
    parser.add_argument(
        "--data", type=pathlib.Path, default=None, help="the pictures of a data set, with its ids"
    )
    parser.add_argument("--split", default=None, help="split of --data (default: test, else val)")
    parser.add_argument("--images", type=pathlib.Path, default=None, help="of --data")
    datasets.add_reading(parser)


def run(options):
    from ..training.state import prepare_folder

    if (options.data is None) == (not options.pictures):
        raise ValueError("Give pictures or folders of them, or --data DATA.")
    if options.out is None and options.json is None:
        raise ValueError("Where to? Give --out FOLDER, or --json - for lines on standard output.")
    detector = shared.open_model(options.model)
    shared.set_max_detections(detector, options.max_detections)
    dataset = None if options.data is None else datasets.for_evaluation(options)
    wanted, levels = _wanted(options, dataset)
    out = options.out and prepare_folder(options.out)
    drawn = _Drawn(out, wanted, detector.class_names)
    for source in (each for each in options.pictures if isinstance(each, str)):
        _video(options, detector, source, drawn)
    if wanted:
        _run_pictures(options, detector, dataset, wanted, levels, drawn)


def _video(options, detector, source, drawn):
    from .video import predict_video

    target = None
    if drawn.out is not None and not options.no_pictures:
        name = f"{predictions.stem_of(source)}.mp4"
        target = predictions.free_name(drawn.out / name, drawn.taken)
    emit = None
    if options.json:

        def emit(frame, found):
            predictions.print_line(source, found, frame=frame)

    predict_video(detector, source, target, options.score, options.frames, emit)


def _run_pictures(options, detector, dataset, wanted, levels, drawn):
    from ..images.read import read_image

    where = sys.stderr if options.json else sys.stdout
    entries, brackets = predictions.by_picture, "{}"
    if options.format == "coco":
        entries, brackets = predictions.CocoResults(detector.class_names, dataset), "[]"
    limit = {} if options.tile is None else {"max_pixels": datasets.LARGEST_TILED}
    tiles = {"tile": options.tile, "overlap": options.overlap}
    unread = 0
    with contextlib.ExitStack() as stack:
        append = None
        if drawn.out is not None:
            path = drawn.out / "detections.json"
            append = stack.enter_context(predictions.json_stream(path, brackets))
        for path, record in wanted.items():
            try:
                picture = read_image(path, levels, **limit)
            except ValueError as error:
                print(f"{path}: skipped: {shared.one_line(error)}", file=sys.stderr)
                unread += 1
                continue
            found = detector.detect(picture, options.score, **tiles)
            if options.json:
                predictions.print_line(path, found)
            if append is None:
                continue
            for text in entries(path, found, record):
                append(text)
            target = "" if options.no_pictures else f" -> {drawn(path, picture, found)}"
            print(f"{path}: {len(found['boxes'])} objects{target}", file=where)
    if unread:
        raise ValueError(
            f"{unread} of {len(wanted)} pictures could not be read; the others are done."
        )


def _wanted(options, dataset):
    """Returns `({path: record or None}, levels)`: all deep pictures of a call are scaled alike."""
    from ..images.files import ImageError
    from ..images.header import image_header
    from ..images.read import levels_of_files

    if dataset is not None:
        print(dataset.describe())
        return {pathlib.Path(r.path): r for r in dataset.records}, dataset.levels
    paths = [each for each in options.pictures if not isinstance(each, str)]
    files = [file for path in paths for file in predictions.pictures_in(path)]
    deep = []
    for path in files:
        try:
            deep += [path] if image_header(path).deep else []
        except ImageError:
            continue  # reported when the picture itself is read
    return dict.fromkeys(files), levels_of_files(deep)


def _source(text):
    """Returns a path, or the text if it names a video, a camera or a stream."""
    from ..images.video import is_video

    path = pathlib.Path(text)
    return text if is_video(text) and not path.is_dir() else path


class _Drawn:
    """Writes pictures with boxes."""

    def __init__(self, out, wanted, class_names):
        self.out, self.class_names = out, class_names
        self.taken = {path.resolve() for path in wanted}

    def __call__(self, path, picture, found):
        from ..images.draw import draw_boxes

        target = predictions.free_name(self.out / f"{predictions.stem_of(path)}.png", self.taken)
        labels, scores = found["labels"], found["scores"]
        draw_boxes(picture, found["boxes"], labels, scores, self.class_names).save(target)
        return target
