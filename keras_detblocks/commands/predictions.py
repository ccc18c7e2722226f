"""Writes the detections of `detblocks predict` as JSON that is complete after each picture."""

import contextlib
import json
import os
import pathlib

from ..images.files import SUFFIXES
from ..images.video import is_camera, is_url


@contextlib.contextmanager
def json_stream(path, brackets):
    """Yields a function `(text)` that appends an entry to a JSON object ("{}") or list ("[]"); the
    file is complete after each, whatever happens to the process."""
    first = True
    with open(path, "w+b") as file:
        file.write("\n".join(brackets).encode())

        def append(text):
            nonlocal first
            file.seek(-2, os.SEEK_END)  # over the closing bracket
            file.write(f"{'' if first else ','}\n{text}\n{brackets[1]}".encode())
            file.flush()
            first = False

        yield append


def by_picture(path, found, record):
    """The entry of one picture in the plain form: its path, and class, score and box (x_min, y_min,
    x_max, y_max in pixels) of each object."""
    return [f"{json.dumps(str(path))}: {json.dumps(_objects(found))}"]


def print_line(source, found, **more):
    """Prints one picture or frame as a line of JSON."""
    print(json.dumps({"source": str(source), **more, "objects": _objects(found)}), flush=True)


def _objects(found):
    return [
        {"class": name, "score": round(float(score), 4), "box": [round(float(v), 2) for v in box]}
        for name, score, box in zip(found["class_names"], found["scores"], found["boxes"])
    ]


class CocoResults:
    """Makes entries in COCO's format for results, https://cocodataset.org/#format-results.

    Args:
        class_names: those of the model.
        dataset: a `data.Dataset` whose ids of pictures and classes are written; without one, a
            picture's id is the number in its name (or the name), and classes count from 1.
    """

    def __init__(self, class_names, dataset=None):
        ids = {} if dataset is None else dict(zip(dataset.class_names, dataset.category_ids))
        numbered = dict(zip(class_names, range(1, len(class_names) + 1)))
        self.category_ids = numbered if dataset is None else ids

    def __call__(self, path, found, record):
        stem = stem_of(path)
        image_id = record.image_id if record else int(stem) if stem.isdigit() else stem
        for name, score, box in zip(found["class_names"], found["scores"], found["boxes"]):
            x0, y0, x1, y1 = map(float, box)
            entry = {
                "image_id": image_id,
                "category_id": self.category_ids.get(name, name),
                "bbox": [round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)],
                "score": round(float(score), 5),
            }
            yield json.dumps(entry)


def pictures_in(path):
    """The file itself, or the pictures in a folder, of every kind that can be read.

    Raises:
        ValueError: a folder without pictures.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if not file.name.startswith("._"))
    found = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not found:
        usual = ", ".join(SUFFIXES[:11])
        raise ValueError(f"{path}: expected pictures in this folder ({usual}, ...); received none.")
    return found


def stem_of(source):
    """The name, without suffix, of the files that are written for a picture or a video.

    >>> [stem_of(each) for each in ("a/b.c.jpg", "clip.mp4", "0", "http://host/live?id=1")]
    ['b.c', 'clip', 'camera0', 'stream']
    """
    text = str(source)
    if is_camera(text):
        return f"camera{text}"
    return "stream" if is_url(text) else pathlib.Path(text).stem


def free_name(path, taken):
    """The path, with a number if it is one of the input pictures or was written for another of the
    same name."""
    number, wanted = 2, path
    while path.resolve() in taken:
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
    taken.add(path.resolve())
    return path
