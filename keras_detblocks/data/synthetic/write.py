"""Writes synthetic pictures as a folder of PNG files with COCO JSON, which `data.load` and the
command line read."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from ...checks import check_int, check_pair
from ...files import written_beside
from ..errors import check_new_folder
from .masks import CLASS_NAMES
from .scene import LEAST_SIZE, draw_scene

_SPLITS = ("train", "val")


def write_scenes(out, train_images=2000, val_images=200, image_size=256, seed=0):
    """Writes a data set of synthetic pictures.

    The folder appears whole or not at all: it is written beside its place and renamed when done.

    Args:
        out: folder to make: `train/*.png`, `val/*.png`, `annotations/instances_train.json`,
            `annotations/instances_val.json`.
        train_images, val_images: numbers of pictures.
        image_size: `(height, width)` in pixels, or one number for a square.
        seed: decides the pictures.

    Returns:
        The folder, a `pathlib.Path`, ready for `data.load(folder, "train")`.

    Raises:
        ValueError: a split of no pictures, a size below 64, or `out` exists already.
    """
    out = check_new_folder(out)
    counts = check_int(train_images, "train_images"), check_int(val_images, "val_images")
    image_size = check_pair(image_size, "image_size", least=LEAST_SIZE)
    seed = check_int(seed, "seed", least=0)
    with written_beside(out, durable=False) as partial:  # it can be made again
        (partial / "annotations").mkdir(parents=True)
        for number, (split, count) in enumerate(zip(_SPLITS, counts)):
            drawn = _split(partial / split, (seed, number), count, image_size)
            annotations = partial / "annotations" / f"instances_{split}.json"
            annotations.write_text(json.dumps(_coco(drawn)))
    return out


def _split(folder, seed, count, image_size):
    """Draws and saves the pictures of one split; returns the argument of `_coco`."""
    folder.mkdir()

    def draw_and_save(i):
        pixels, boxes, labels = draw_scene((*seed, i), image_size)
        name = f"{i + 1:06d}.png"
        Image.fromarray(pixels).save(folder / name, compress_level=1)
        return name, pixels.shape, boxes, labels

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(draw_and_save, range(count)))


def _coco(drawn):
    """COCO's tables of the pictures, each as (file name, shape, boxes, labels)."""
    images, annotations = [], []
    for i, (name, (height, width, _), boxes, labels) in enumerate(drawn, start=1):
        images.append({"id": i, "file_name": name, "width": width, "height": height})
        for (x0, y0, x1, y1), label in zip(boxes.tolist(), labels.tolist()):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}
