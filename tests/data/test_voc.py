"""The Pascal VOC reader: 1-based boxes, difficult objects, splits, dirty and malformed files."""

import numpy as np
import pytest
from PIL import Image

from keras_detblocks import data


def _object(name="cat", box=(11, 6, 20, 15), difficult=0):
    sides = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box))
    about = f"<name>{name}</name><difficult>{difficult}</difficult>"
    return f"<object>{about}<bndbox>{sides}</bndbox></object>"


def _annotate(folder, image, objects, size=(40, 30), filename="elsewhere.jpg"):
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    (folder / "Annotations" / f"{image}.xml").write_text(
        f"<annotation><filename>{filename}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        + "".join(objects)
        + "</annotation>"
    )


def _image(folder, name):
    (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / name)


def _split(folder, name, text):
    (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets" / "Main" / f"{name}.txt").write_text(text)


@pytest.fixture
def folder(tmp_path):
    _annotate(tmp_path, "a", [_object(), _object("dog", difficult=1)])
    _annotate(tmp_path, "b", [_object("bird", (1, 1, 40, 30))])
    _image(tmp_path, "a.jpg")
    _image(tmp_path, "b.png")
    _split(tmp_path, "train", "a\n")
    _split(tmp_path, "val", "b\n\n")
    _split(tmp_path, "cat_train", "a  1\n")
    return tmp_path


def test_boxes_labels_splits(folder):
    """A box of pixels 11 to 20, counted from 1, is 10 wide: from 10 to 20."""
    assert data.splits(folder) == ("train", "val")
    train, val = data.load(folder, "train"), data.load(folder, "val")
    assert train.class_names == val.class_names == ("bird", "cat", "dog")
    (record,) = train.records
    np.testing.assert_array_equal(record.boxes, [[10, 5, 20, 15]] * 2)
    np.testing.assert_array_equal(record.labels, [1, 2])
    np.testing.assert_array_equal(record.crowd, [False, True])
    np.testing.assert_array_equal(val.records[0].boxes, [[0, 0, 40, 30]])
    assert record.image_id == "a" and record.path.endswith("a.jpg") and train.skipped.total == 0


def test_splits_joined(folder):
    both = data.load(folder, "val+train")
    assert [r.image_id for r in both.records] == ["b", "a"]
    with pytest.raises(data.DatasetError, match="expected one of the splits train, val"):
        data.load(folder, "train+test")


@pytest.mark.parametrize("below", ["VOCdevkit/VOC2007", "VOC2012", "."])
def test_layouts(tmp_path, below):
    _annotate(tmp_path / below, "a", [_object()])
    _image(tmp_path / below, "a.jpg")
    assert data.splits(tmp_path) == (None,)
    assert len(data.load(tmp_path)) == 1
    _split(tmp_path / below, "train", "a\n")
    assert data.splits(tmp_path) == ("train",)


def test_two_years_are_not_taken_for_one(tmp_path):
    for year in ("VOC2007", "VOC2012"):
        _annotate(tmp_path / "VOCdevkit" / year, "a", [_object()])
        _image(tmp_path / "VOCdevkit" / year, "a.jpg")
    with pytest.raises(
        data.DatasetError, match="one Pascal VOC folder; found .*VOC2007, .*VOC2012"
    ):
        data.load(tmp_path)


def test_name_inside_the_file_comes_second(tmp_path):
    _annotate(tmp_path, "a", [_object()], filename="photo 7.jpg")
    _image(tmp_path, "photo 7.jpg")
    assert data.load(tmp_path).records[0].path.endswith("photo 7.jpg")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        # As in real annotations.
        (
            _object(box=(504, 337, 504, 337)),
            "box of zero or negative size",
        ),
        (_object(box=(20, 6, 11, 15)), "box of zero or negative size"),
        (_object(box=(100, 6, 120, 15)), "box outside its image"),
        (_object(box=("x", 6, 120, 15)), "object without a name or a box of four numbers"),
        ("<object><name>cat</name></object>", "object without a name or a box of four numbers"),
        (_object(name=""), "object without a name or a box of four numbers"),
    ],
)
def test_dirty_objects_are_skipped_and_counted(folder, bad, reason):
    _annotate(folder, "a", [_object(), bad])
    dataset = data.load(folder, "train")
    assert len(dataset.records[0].boxes) == 1
    assert dataset.skipped.counts == {reason: 1}


def test_missing_files_are_skipped_and_counted(folder):
    _split(folder, "train", "a\nc\nd\n")
    _annotate(folder, "d", [_object()])
    dataset = data.load(folder, "train")
    assert len(dataset) == 1
    assert dataset.skipped.counts == {
        "image without an annotation file": 1,
        "image missing, truncated or unreadable": 1,
    }


def test_size_left_out(folder):
    _annotate(folder, "a", [_object()], size=(0, 0))
    record = data.load(folder, "train").records[0]
    assert (record.width, record.height) == (40, 30)


def test_files_that_do_not_parse_are_counted_and_the_others_read(folder):
    for name, content in {
        "b.xml": b"<annotation><object>",
        "c.xml": b"",
        "d.xml": b"<html/>",
    }.items():
        (folder / "Annotations" / name).write_bytes(content)
    (folder / "Annotations" / "._a.xml").write_bytes(b"\x00\x05\x16\x07")
    dataset = data.load(folder, "train")
    assert len(dataset) == 1 and dataset.skipped.counts == {
        "annotation file that does not parse": 2,
        "XML file that is not a VOC annotation": 1,
        "file of macOS beside the real one (._name)": 1,
    }
    assert "b.xml" in str(dataset.skipped)


def test_nothing_in_the_folder(folder):
    for path in (folder / "Annotations").iterdir():
        path.unlink()
    with pytest.raises(data.DatasetError, match="expected XML files"):
        data.load(folder, "train")
