"""Makes two small data sets of real pictures for `compare_learning.py` from two packages: nuclei
under a microscope, and faces on photographs.

    pip download --no-deps --only-binary :all: scikit-image==0.26.0 stardist==0.9.2 -d wheels
    python examples/small_sets.py --wheels wheels --out sets

Nothing is installed: the wheels are opened. `nuclei`: 20 crops of 128x128 of the left half of
stardist's test picture, and 20 of its right half to test on; nuclei with less than 40 % in a crop
have no box. `faces`: 40 pictures of 192x192 and 40 to test on; each is a part of a photograph of
scikit-image with one to four of its 100 faces on it, and up to three patches without a face.
Different faces and photographs serve for testing. The same seed makes the same pictures.
"""

import argparse
import io
import pathlib
import tempfile
import zipfile

import numpy as np
from PIL import Image

import keras_detblocks as kdb

PHOTOGRAPHS = {
    "train": "brick.png coffee.png rocket.jpg chelsea.png motorcycle_left.png page.png".split(),
    "test": "grass.png gravel.png hubble_deep_field.jpg ihc.png retina.jpg moon.png".split(),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheels", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(arguments)
    draw = np.random.default_rng(0)
    write(options.out / "nuclei", "nucleus", nuclei(opened(options.wheels, "stardist"), draw))
    write(options.out / "faces", "face", faces(opened(options.wheels, "scikit_image"), draw))


def opened(folder, package):
    """Returns a function from a path within the package's wheel to its content."""
    found = sorted(folder.glob(f"{package}-*.whl"))
    if len(found) != 1:
        raise SystemExit(f"Expected one {package}-*.whl in {folder}; found {len(found)}.")
    wheel = zipfile.ZipFile(found[0])
    return lambda path: io.BytesIO(wheel.read(path))


def nuclei(read, draw, side=128, count=20):
    pixels = np.asarray(Image.open(read("stardist/data/images/img2d.tif"))).astype(float)
    mask = np.asarray(Image.open(read("stardist/data/images/mask2d.tif")))
    low, high = np.percentile(pixels, (0.5, 99.8))
    pixels = (np.clip((pixels - low) / (high - low), 0, 1) * 255).astype("uint8")
    middle, areas = pixels.shape[1] // 2, np.bincount(mask.ravel())

    def crop(left, right):
        y = draw.integers(0, pixels.shape[0] - side + 1)
        x = draw.integers(left, right - side + 1)
        window = np.s_[y : y + side, x : x + side]
        boxes = [box_of(mask[window] == each, areas[each]) for each in np.unique(mask[window])[1:]]
        return np.repeat(pixels[window][..., None], 3, 2), [box for box in boxes if box]

    train = [crop(0, middle) for _ in range(count)]
    return {"train": train, "test": [crop(middle, pixels.shape[1]) for _ in range(count)]}


def box_of(inside, area):
    """The box around a nucleus of which enough is inside, or None."""
    ys, xs = np.nonzero(inside)
    if len(ys) < 0.4 * area or np.ptp(xs) < 4 or np.ptp(ys) < 4:
        return None
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def faces(read, draw, side=192, count=40):
    # 100 faces, then 100 patches without one
    patches = np.load(read("skimage/data/lfw_subset.npy"))
    patches = (patches * 255 / patches.max()).astype("uint8")
    chosen = {"train": (range(60), range(100, 160)), "test": (range(60, 100), range(160, 200))}
    made = {}
    for split, names in PHOTOGRAPHS.items():
        photographs = [Image.open(read(f"skimage/data/{n}")).convert("RGB") for n in names]
        photographs = [np.asarray(each) for each in photographs]
        made[split] = [
            with_faces(photographs, patches, *chosen[split], side, draw) for _ in range(count)
        ]
    return made


def with_faces(photographs, patches, with_face, without, side, draw):
    photograph = photographs[draw.integers(len(photographs))]
    y, x = (draw.integers(0, max(1, length - side + 1)) for length in photograph.shape[:2])
    part = Image.fromarray(photograph[y : y + side, x : x + side])
    pixels, taken, boxes = np.array(part.resize((side, side))), [], []
    for is_face in draw.permutation([1] * draw.integers(1, 5) + [0] * draw.integers(0, 4)):
        members = with_face if is_face else without
        patch, own = patches[members[draw.integers(len(members))]], int(draw.integers(22, 64))
        patch = np.asarray(Image.fromarray(patch).resize((own, own), Image.Resampling.BICUBIC))
        for _ in range(20):  # tries to find a free place
            top, left = draw.integers(0, side - own, 2)
            box = (left, top, left + own, top + own)
            if not any(overlap(box, other) for other in taken):
                tint = draw.uniform(0.8, 1.1, 3)
                pixels[top : top + own, left : left + own] = np.clip(
                    patch[..., None] * tint, 0, 255
                )
                taken.append(box)
                boxes += [box] if is_face else []
                break
    return pixels, boxes


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def write(folder, name, splits):
    """Writes a data set of one class in COCO's layout."""
    with tempfile.TemporaryDirectory() as pictures:
        parts = {}
        for split, drawn in splits.items():
            records = []
            for number, (pixels, boxes) in enumerate(drawn, 1):
                path = pathlib.Path(pictures, f"{split}-{number:04d}.png")
                Image.fromarray(pixels).save(path)
                boxes = np.reshape(boxes, (-1, 4))
                records.append({"image": path, "boxes": boxes, "labels": [0] * len(boxes)})
            parts[split] = kdb.data.from_records(records, [name], source=f"{folder.name}, {split}")
            print(parts[split].describe())
        kdb.data.write(parts, folder, "coco")


if __name__ == "__main__":
    main()
