"""The verb `detblocks predict`."""

import pathlib
import sys

from . import options as shared

HELP = "draw the detections of a model onto pictures"
PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def add_options(parser):
    parser.add_argument(
        "model", type=pathlib.Path, help=".keras, .onnx or .tflite file, or SavedModel folder"
    )
    parser.add_argument("images", nargs="+", type=pathlib.Path, help="pictures, or folders of them")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        required=True,
        help="folder for the pictures and detections.json",
    )
    parser.add_argument(
        "--score", type=float, default=0.4, help="least score (default: %(default)s)"
    )


def run(options):
    import json

    from ..data import ImageError, read_image
    from ..detection.inference import detect
    from ..images.draw import draw_boxes
    from ..training.state import prepare_folder

    detector, out = shared.open_model(options.model), prepare_folder(options.out)
    images = [file for path in options.images for file in _pictures(path)]
    rows, taken, unread = {}, {path.resolve() for path in images}, 0
    for path in images:
        try:
            picture = read_image(path)
        except ImageError as error:
            print(f"{path}: skipped: {shared.one_line(error)}", file=sys.stderr)
            unread += 1
            continue
        (found,) = detect(detector, [picture], options.score, batch_size=1)
        target = _free(out / f"{path.stem}.png", taken)
        draw_boxes(
            picture, found["boxes"], found["labels"], found["scores"], detector.class_names
        ).save(target)
        rows[str(path)] = [
            {
                "class": name,
                "score": round(float(score), 4),
                "box": [round(float(v), 2) for v in box],
            }
            for name, score, box in zip(found["class_names"], found["scores"], found["boxes"])
        ]
        print(f"{path}: {len(rows[str(path)])} objects -> {target}")
    (out / "detections.json").write_text(json.dumps(rows, indent=1))
    if unread:
        raise ValueError(
            f"{unread} of {len(images)} pictures could not be read; the others are done."
        )


def _pictures(path):
    """The file itself, or the pictures in a folder."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
    if not found:
        raise ValueError(
            f"{path}: expected pictures in this folder ({', '.join(PICTURES)}); received none."
        )
    return found


def _free(path, taken):
    """The path, numbered if it is one of the pictures themselves or was written for another of the
    same name."""
    number, wanted = 2, path
    while path.resolve() in taken:
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
    taken.add(path.resolve())
    return path
