"""The verb `detblocks predict`."""

import pathlib
import sys

from . import datasets, predictions
from . import options as shared

HELP = "draw the detections of a model onto pictures"


def add_options(parser):
    parser.add_argument(
        "model", type=pathlib.Path, help=".keras, .onnx or .tflite file, or SavedModel folder"
    )
    parser.add_argument(
        "pictures", nargs="*", type=pathlib.Path, help="pictures, or folders of them"
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        required=True,
        help="folder for the pictures and detections.json",
    )
    parser.add_argument(
        "--score", type=float, default=0.4, help="least score (default: %(default)s)"
    )
    parser.add_argument(
        "--format",
        choices=("plain", "coco"),
        default="plain",
        help="of detections.json: boxes by picture, or COCO's results with the ids of --data",
    )
    parser.add_argument("--no-pictures", action="store_true", help="write detections.json alone")
    parser.add_argument(
        "--tile",
        type=shared.size,
        default=None,
        help="HEIGHTxWIDTH: look at tiles of large pictures, for small objects",
    )
    parser.add_argument(
        "--overlap", type=float, default=0.2, help="share of a tile (default: %(default)s)"
    )
    shared.add_max_detections(parser)
    _add_data(parser)


def _add_data(parser):
    """The pictures of a data set, with its ids."""
    parser.add_argument(
        "--data", type=pathlib.Path, default=None, help="the pictures of a data set, with its ids"
    )
    parser.add_argument("--split", default=None, help="of --data (default: test, else val)")
    parser.add_argument("--images", type=pathlib.Path, default=None, help="of --data")
    datasets.add_reading(parser)


def run(options):
    from ..images.read import read_image
    from ..training.state import prepare_folder

    if (options.data is None) == (not options.pictures):
        raise ValueError("Give pictures or folders of them, or --data DATA.")
    detector = shared.open_model(options.model)
    shared.set_max_detections(detector, options.max_detections)
    dataset = None if options.data is None else datasets.for_evaluation(options)
    wanted, levels = _wanted(options, dataset)
    out = prepare_folder(options.out)
    drawn = None if options.no_pictures else _Drawn(out, wanted, detector.class_names)
    entries, brackets = predictions.by_picture, "{}"
    if options.format == "coco":
        entries, brackets = predictions.CocoResults(detector.class_names, dataset), "[]"
    limit = {} if options.tile is None else {"max_pixels": datasets.LARGEST_TILED}
    tiles = {"tile": options.tile, "overlap": options.overlap}
    unread = 0
    with predictions.json_stream(out / "detections.json", brackets) as append:
        for path, record in wanted.items():
            try:
                picture = read_image(path, levels, **limit)
            except ValueError as error:
                print(f"{path}: skipped: {shared.one_line(error)}", file=sys.stderr)
                unread += 1
                continue
            found = detector.detect(picture, options.score, **tiles)
            for text in entries(path, found, record):
                append(text)
            target = f" -> {drawn(path, picture, found)}" if drawn else ""
            print(f"{path}: {len(found['boxes'])} objects{target}")
    if unread:
        raise ValueError(
            f"{unread} of {len(wanted)} pictures could not be read; the others are done."
        )


def _wanted(options, dataset):
    """`({path: record or None}, levels)`: deep pictures of one call are scaled alike."""
    from ..images.files import ImageError
    from ..images.header import image_header
    from ..images.read import levels_of_files

    if dataset is not None:
        print(dataset.describe())
        return {pathlib.Path(r.path): r for r in dataset.records}, dataset.levels
    files = [file for path in options.pictures for file in predictions.pictures_in(path)]
    deep = []
    for path in files:
        try:
            deep += [path] if image_header(path).deep else []
        except ImageError:
            continue  # told when the picture itself is read
    return dict.fromkeys(files), levels_of_files(deep)


class _Drawn:
    """Writes pictures with boxes."""

    def __init__(self, out, wanted, class_names):
        self.out, self.class_names = out, class_names
        self.taken = {path.resolve() for path in wanted}

    def __call__(self, path, picture, found):
        from ..images.draw import draw_boxes

        target = predictions.free_name(self.out / f"{path.stem}.png", self.taken)
        labels, scores = found["labels"], found["scores"]
        draw_boxes(picture, found["boxes"], labels, scores, self.class_names).save(target)
        return target
