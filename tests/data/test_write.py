"""What was read is written in every layout and read back the same; tiles hold every object."""

import json
import pathlib

import makers
import numpy as np
import pytest
from PIL import Image

from keras_detblocks import data


@pytest.fixture
def parts(tmp_path):
    """Two splits of pictures of random boxes with the same names in two folders, turned by EXIF."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    parts = {}
    for split, size in (("train", (64, 48)), ("val", (33, 57))):
        records = []
        for i in range(3):
            path = makers.picture(tmp_path / split / f"{i}.jpg", size[::-1], exif=exif)
            corner = rng.uniform(0, 20, (i, 2))
            boxes = np.concatenate([corner, corner + rng.uniform(1, 12, (i, 2))], 1)
            crowd = [False] * i if split == "val" else [k == 1 for k in range(i)]
            record = {"image": path, "boxes": boxes, "labels": rng.integers(0, 2, i)}
            records.append(record | {"crowd": crowd, "image_id": 7 * i + len(split)})
        parts[split] = data.from_records(records, ("zebra & co", "ant"), exif="upright")
    return parts


def _same(one, other, layout):
    assert other.class_names == one.class_names
    assert len(other) == len(one)
    records = one.records, other.records
    if layout == "yolo":  # in the order of their names
        records = (sorted(r, key=lambda r: (r.width, (~r.crowd).sum())) for r in records)
    for a, b in zip(*records):
        assert (a.width, a.height) == (b.width, b.height)
        keep = ~a.crowd if layout == "yolo" else np.ones(len(a.crowd), bool)
        np.testing.assert_array_equal(a.boxes[keep], b.boxes)
        np.testing.assert_array_equal(a.labels[keep], b.labels)
        np.testing.assert_array_equal(a.crowd[keep], b.crowd)
        np.testing.assert_allclose(a.areas[keep], b.areas, rtol=1e-6)
        if layout == "coco":
            assert a.image_id == b.image_id
        np.testing.assert_array_equal(data.read_image(a.path), data.read_image(b.path))


@pytest.mark.parametrize("layout", ["coco", "voc", "yolo"])
@pytest.mark.parametrize("link", [False, True])
def test_read_back_it_is_the_same(tmp_path, parts, layout, link):
    said = data.write(parts, tmp_path / "out", layout, link)
    assert said == (["YOLO has no crowd or difficult objects: 1 are left out"] * (layout == "yolo"))
    assert set(data.splits(tmp_path / "out")) == {"train", "val"}
    for split, part in parts.items():
        again = data.load(tmp_path / "out", split)
        _same(part, again, layout)
        assert not again.skipped.of("skipped") and not again.skipped.of("repaired")
    account = json.loads((tmp_path / "out" / "account.json").read_text())
    assert account["train"][0]["kind"] == "assumed"


@pytest.mark.parametrize("layout", ["coco", "voc", "yolo"])
def test_without_splits(tmp_path, parts, layout):
    data.write(parts["val"], tmp_path / "out", layout)
    _same(parts["val"], data.load(tmp_path / "out"), layout)


@pytest.mark.parametrize("layout", ["coco", "voc", "yolo"])
def test_splits_that_share_pictures(tmp_path, parts, layout):
    whole = data.merge([parts["train"], parts["val"]])
    data.write(parts | {"trainval": whole}, tmp_path / "out", layout)
    _same(whole, data.load(tmp_path / "out", "trainval"), layout)
    stems = {p.stem for p in (tmp_path / "out").rglob("*.jpg")}
    assert stems == {"0", "1", "2", "0_2", "1_2", "2_2"}


@pytest.mark.parametrize("layout", ["coco", "voc", "yolo"])
def test_names_that_mean_something_to_a_layout(tmp_path, layout):
    """Classes, files and splits with the marks that its files are made of."""
    names = ("a:b", "# x", "background", "\"q\" 'q'", "<y>&", "1", "null", "{e}", "c\\d", "[x]")
    files = (
        "a b",
        "a#b",
        "100%25",
        "a.b",
        "-x",
        "train",
        "classes",
        "[g]*",
        "x'y;z",
        "_annotations",
    )
    records = []
    for i, file in enumerate(files):
        path = makers.picture(tmp_path / f"in/{file}.png")
        records.append({"image": path, "boxes": [[1, 2, 9 + i, 12]], "labels": [names[i]]})
    part = data.from_records(records, names)
    data.write({"my split": part}, tmp_path / "out", layout)
    assert data.splits(tmp_path / "out") == ("my split",)
    again = data.load(tmp_path / "out")
    assert again.class_names == names and not again.skipped.total
    found = {pathlib.Path(r.path).stem: r for r in again.records}
    for i, file in enumerate(files):
        np.testing.assert_array_equal(found[file].boxes, [[1, 2, 9 + i, 12]])
        assert found[file].labels.tolist() == [i]


def test_what_cannot_be_written(tmp_path, parts):
    with pytest.raises(ValueError, match="Unknown layout .*Known: coco, voc, yolo"):
        data.write(parts, tmp_path / "out", "csv")
    with pytest.raises(data.DatasetError, match="new or empty folder"):
        data.write(parts, tmp_path / "train", "coco")
    other = parts["val"].with_classes(("zebra & co", "ant", "owl"))
    with pytest.raises(data.DatasetError, match="same classes in all parts"):
        data.write({"a": parts["train"], "b": other}, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()


def test_tiles_hold_every_object_and_its_pixels(tmp_path):
    """White objects on black: each is whole in a tile, under its box there."""
    picture = Image.new("RGB", (300, 200))
    boxes = [(x, y, x + 12, y + 9) for x in range(3, 280, 31) for y in range(4, 185, 27)]
    for box in boxes:
        picture.paste("white", box)
    picture.save(tmp_path / "a.png")
    whole = data.from_records(
        [{"image": tmp_path / "a.png", "boxes": boxes, "labels": ["dot"] * len(boxes)}]
    )
    tiled = data.write_tiles({"train": whole}, tmp_path / "out", size=(64, 96), overlap=0.25)
    again = data.load(tmp_path / "out", "train")
    _same(tiled["train"], again, "coco")
    found = set()
    for record in again.records:
        x, y = map(int, record.path.removesuffix(".png").split("_")[-2:])
        pixels = data.read_image(record.path)
        assert pixels.shape == (record.height, record.width, 3) == (64, 96, 3)
        for x0, y0, x1, y1 in record.boxes.astype(int):
            assert pixels[y0:y1, x0:x1].min() == 255
            found.add((x0 + x, y0 + y, x1 + x, y1 + y))
        covered = sum((b[2] - b[0]) * (b[3] - b[1]) for b in record.boxes)
        assert covered == (pixels[..., 0] == 255).sum()
        part = [(b[2] - b[0]) * (b[3] - b[1]) < 0.3 * 108 for b in record.boxes]
        np.testing.assert_array_equal(record.crowd, part)
    assert set(boxes) <= found


def test_a_part_held_out_has_each_classs_share(tmp_path):
    path = makers.picture(tmp_path / "a.png")
    boxes = np.array([[0, 0, 9, 9]], "float32")

    def record(i):
        labels = np.array([0] if i % 10 else [1 if i else 2], "int32")
        crowd, areas = np.zeros(1, bool), np.ones(1, "float32")
        return data.Record(str(path), 40, 30, boxes, labels, crowd, areas, i)

    records = [record(i) for i in range(200)]
    dataset = data.Dataset(records, ("many", "few", "one"), (0, 1, 2))
    train, held = data.hold_out(dataset, 0.2, seed=3)
    assert len(held) == 40 and len(train) == 160
    labels = np.concatenate([r.labels for r in held.records])
    assert np.bincount(labels, minlength=3).tolist() == [36, 4, 0]
    shuffled = data.Dataset(records[::-1], dataset.class_names, (0, 1, 2))
    again = data.hold_out(shuffled, 0.2, seed=3)[1]
    assert {r.image_id for r in again.records} == {r.image_id for r in held.records}
    other = data.hold_out(dataset, 0.2, seed=4)[1]
    assert {r.image_id for r in other.records} != {r.image_id for r in held.records}
    for fraction in (0, 1, 1.5):
        with pytest.raises(ValueError, match="`fraction` must be .* above 0 and below 1"):
            data.hold_out(dataset, fraction)
    with pytest.raises(data.DatasetError, match="two or more pictures"):
        data.hold_out(dataset.take(1), 0.5)


def test_records_of_ones_own(tmp_path):
    makers.picture(tmp_path / "a.png")
    record = {"image": "a.png", "boxes": [(0.25, 0.2, 0.5, 0.5)], "labels": ["cat"], "areas": [9.0]}
    dataset = data.from_records([record], images=tmp_path)
    np.testing.assert_allclose(dataset.records[0].boxes, [[10, 6, 20, 15]], atol=1e-4)
    boxes = [(0, 0, 50, 9), (0, 0, 0, 0), ("x", 0, 1, 1), (1, 1, 9, 9)]
    record |= {"boxes": boxes, "labels": [0, 0, 0, 5], "crowd": [True] * 4, "areas": None}
    dataset = data.from_records([record], ["cat"], tmp_path)
    assert dataset.records[0].crowd.all() and dataset.skipped.total == 4
    for wrong in ({"boxes": None}, {"labels": []}, {"image": None}):
        with pytest.raises(data.DatasetError, match="expected"):
            data.from_records([record | wrong])
    with pytest.raises(data.DatasetError, match="dict with image"):
        data.from_records([3])
