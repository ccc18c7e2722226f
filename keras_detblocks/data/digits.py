"""Makes the demo's data set: real handwritten digits, drawn on textured noisy canvases, as PNG
files with COCO JSON.

The digits are the 1,797 scans (8x8 pixels) that ship inside scikit-learn
(https://archive.ics.uci.edu/dataset/80), so nothing is downloaded. The scans used for training and
for validation are disjoint.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from ..checks import check_int, check_path
from ..files import written_beside
from .errors import check_new_folder

_VERSION = 1  # raise when the drawing changes, so that old folders are not reused
VALIDATION_SCANS = 397
_SCAN_SIDE = (14, 80)
_CONTRAST = (50.0, 120.0)
_TEXTURE = (5.0, 20.0)
_NOISE_SIGMA = (3.0, 12.0)
_MAX_DIGITS = 6
_GAP = 2  # pixels between boxes
_HUFFMAN_ONLY = (
    2  # zlib's strategy: noise hardly compresses, and this is the fastest to write and to read
)
_INK = 0.3  # a pixel belongs to the box if the ink's alpha exceeds this
LEAST_SIZE = 96  # side of a canvas that holds the largest digit


def write_digits(out, train_images=4000, val_images=500, image_size=192, seed=0):
    """Writes the digits data set, or leaves it alone if it exists already with the same settings.

    The folder appears whole or not at all: it is written beside its place and renamed when done.

    Args:
        out: folder to make: `train/*.png`, `val/*.png`, `annotations/instances_train.json`,
            `annotations/instances_val.json`.
        train_images, val_images: numbers of images.
        image_size: side of the square images in pixels, at least 96.
        seed: decides the drawings and the shares of the scans.

    Returns:
        The folder, a `pathlib.Path`, ready for `data.load(folder, "train")`.

    Raises:
        ValueError: a size out of range, or `out` is a folder with something else in it.
        ImportError: scikit-learn is not installed.
    """
    out = check_path(out, "out")
    settings = {
        "data": "keras_detblocks digits",
        "version": _VERSION,
        "train_images": check_int(train_images, "train_images"),
        "val_images": check_int(val_images, "val_images"),
        "image_size": check_int(image_size, "image_size", least=LEAST_SIZE),
        "seed": check_int(seed, "seed", least=0),
    }
    found = _made_with(out)
    if found == settings:
        return out
    if found is None:
        check_new_folder(out)
    with written_beside(out, durable=False) as part:
        _write_all(part, settings)
    return out


def _made_with(out):
    """The settings of a complete folder; None if there is none."""
    try:
        return json.loads((out / "digits.json").read_text())
    except (OSError, ValueError):
        return None


def _write_all(folder, settings):
    scans, labels = read_scans(settings["seed"])
    parts = {"train": slice(VALIDATION_SCANS, None), "val": slice(VALIDATION_SCANS)}
    (folder / "annotations").mkdir(parents=True)
    for number, (split, part) in enumerate(parts.items()):
        (folder / split).mkdir()

        def draw_and_save(i, seed=(settings["seed"], number), split=split, part=part):
            # Each image has its own: the order of the threads does not matter.
            rng = np.random.default_rng([*seed, i])
            pixels, boxes, digits = _draw(rng, scans[part], labels[part], settings["image_size"])
            path = folder / split / f"{i + 1:06d}.png"
            Image.fromarray(pixels).save(path, compress_level=1, compress_type=_HUFFMAN_ONLY)
            return path.name, boxes, digits

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            drawn = list(pool.map(draw_and_save, range(settings[f"{split}_images"])))
        coco = _coco(drawn, settings["image_size"])
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco))
    (folder / "digits.json").write_text(json.dumps(settings))


def read_scans(seed):
    """The scans (1797, 8, 8) as float32 alpha 0 to 1 and their digits (1797,), in an order drawn
    from the seed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "write_digits needs scikit-learn: pip install 'keras_detblocks[demo]'"
        ) from error
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    return (digits.images[order] / 16.0).astype("float32"), digits.target[order]


def _coco(drawn, size):
    """COCO's tables of the images, each as (file name, boxes, digits)."""
    images, annotations = [], []
    for i, (name, boxes, digits) in enumerate(drawn, start=1):
        images.append({"id": i, "file_name": name, "width": size, "height": size})
        for box, digit in zip(boxes, digits):
            annotations.append(_annotation(len(annotations) + 1, i, box, digit))
    categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(id_, image_id, box, label):
    x, y, width, height = int(box[0]), int(box[1]), int(box[2] - box[0]), int(box[3] - box[1])
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": int(label) + 1,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
    }


def _draw(rng, scans, labels, size):
    """One canvas uint8 (size, size, 3), its boxes (n, 4) xyxy and labels (n,)."""
    # Color planes first, (3, size, size): several times faster in NumPy than colors last.
    canvas = _background(rng, size)
    boxes, drawn = [], []
    for _ in range(rng.integers(1, _MAX_DIGITS + 1)):
        index = rng.integers(len(scans))
        alpha = enlarged(scans[index], rng.integers(_SCAN_SIDE[0], _SCAN_SIDE[1] + 1))
        box = _place(rng, alpha.shape, boxes, size)
        if box is None:
            continue
        color = rng.choice([-1, 1]) * rng.uniform(*_CONTRAST) * rng.uniform(0.7, 1.0, 3)
        canvas[:, box[1] : box[3], box[0] : box[2]] += (
            color.astype("float32")[:, None, None] * alpha
        )
        boxes.append(box)
        drawn.append(labels[index])
    canvas += rng.standard_normal((size, size), "float32") * np.float32(rng.uniform(*_NOISE_SIGMA))
    pixels = np.clip(canvas, 0, 255, out=canvas).astype("uint8").transpose(1, 2, 0)
    return np.ascontiguousarray(pixels), np.array(boxes), np.array(drawn)


def _background(rng, size):
    """A tinted gray with a smooth random texture, float32 (3, size, size)."""
    cells = rng.integers(4, 17)
    coarse = rng.standard_normal((cells, cells), "float32") * np.float32(rng.uniform(*_TEXTURE))
    texture = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
    tint = rng.uniform(90, 165) + rng.uniform(-15, 15, 3)
    return texture + tint.astype("float32")[:, None, None]


def enlarged(scan, side):
    """The ink's alpha at the given side, cropped to the pixels above the threshold."""
    alpha = np.asarray(Image.fromarray(scan).resize((side, side), Image.Resampling.BICUBIC))
    rows, columns = np.nonzero((alpha > _INK).any(1))[0], np.nonzero((alpha > _INK).any(0))[0]
    return np.clip(alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 0, 1)


def _place(rng, shape, boxes, size, tries=20):
    """A free place for a patch of the shape (height, width), as x0, y0, x1, y1, or None."""
    height, width = shape
    for _ in range(tries):
        x, y = rng.integers(size - width + 1), rng.integers(size - height + 1)
        near = (x - _GAP, y - _GAP, x + width + _GAP, y + height + _GAP)
        if all(
            near[0] >= b[2] or near[2] <= b[0] or near[1] >= b[3] or near[3] <= b[1] for b in boxes
        ):
            return x, y, x + width, y + height
    return None
