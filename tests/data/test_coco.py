"""The COCO reader: numbering, layouts, dirty annotations, malformed files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_detblocks import data


def _image(path, size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path, **options)
    return path


def _coco(**changes):
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 9, "file_name": "b.png", "width": 40, "height": 30},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 90,
                "bbox": [1, 2, 10, 20],
                "area": 123.5,
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "ant"}],
    }
    return content | changes


def _write(folder, content, images="images"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        _image(folder / images / name)
    path = folder / "set.json"
    path.write_text(json.dumps(content))
    return path


def test_ids_of_any_numbering(tmp_path):
    dataset = data.load(_write(tmp_path, _coco()))
    assert dataset.class_names == ("ant", "zebra") and dataset.category_ids == (3, 90)
    first, second = dataset.records
    assert (first.image_id, second.image_id) == (7, 9)
    np.testing.assert_array_equal(first.boxes, [[1, 2, 11, 22]])
    np.testing.assert_array_equal(first.labels, [1])
    np.testing.assert_array_equal(first.areas, [123.5])
    assert second.boxes.shape == (0, 4) and second.labels.shape == (0,)
    assert dataset.skipped.total == 0 and dataset.max_boxes == 1
    assert "zebra: 1 objects" in dataset.describe()


DIRTY = [
    ({"bbox": [50, 50, 10, 10]}, "box outside its image", 0),
    ({"bbox": [-5, 5, 10, 10]}, "box reaching out of its image (clipped)", 1),
    ({"bbox": [5, 5, 0, 10]}, "box of zero or negative size", 0),
    ({"bbox": [5, 5, 10, -3]}, "box of zero or negative size", 0),
    ({"bbox": [5, 5, 10]}, "annotation without a bbox of four numbers", 0),
    ({"bbox": [5, 5, 10, "x"]}, "annotation without a bbox of four numbers", 0),
    ({"bbox": [5, 5, float("nan"), 3]}, "annotation without a bbox of four numbers", 0),
    ({"bbox": None}, "annotation without a bbox of four numbers", 0),
    ({"category_id": 4}, "annotation with an unknown category id", 0),
    ({"category_id": [3]}, "annotation with an unknown category id", 0),
    ({"image_id": 1}, "annotation with an unknown image id", 0),
]


@pytest.mark.parametrize(("change", "reason", "kept"), DIRTY)
def test_dirty_annotations_are_skipped_and_counted(tmp_path, change, reason, kept):
    good = _coco()["annotations"]
    dataset = data.load(_write(tmp_path, _coco(annotations=good + [good[0] | {"id": 2} | change])))
    assert dataset.skipped.counts == {reason: 1}
    boxes = dataset.records[0].boxes
    assert len(boxes) == 1 + kept
    assert boxes.min() >= 0 and (boxes[:, 2:] > boxes[:, :2]).all()
    assert reason in dataset.describe()


def test_annotation_that_is_no_object(tmp_path):
    dataset = data.load(_write(tmp_path, _coco(annotations=[3, None])))
    assert dataset.skipped.counts == {"annotation that is not a JSON object": 2}


def test_bad_images_are_skipped_and_counted(tmp_path):
    path = _write(tmp_path, _coco())
    (tmp_path / "images" / "a.png").write_bytes((tmp_path / "images" / "a.png").read_bytes()[:60])
    dataset = data.load(path)
    assert [r.image_id for r in dataset.records] == [9]
    assert dataset.skipped.counts == {"image missing, truncated or unreadable": 1}
    shutil.rmtree(tmp_path / "images")
    _image(tmp_path / "images" / "a.png")
    assert [r.image_id for r in data.load(path).records] == [7]


def test_a_resized_picture_takes_its_boxes_along_and_another_one_does_not(tmp_path):
    path = _write(tmp_path, _coco())
    _image(tmp_path / "images" / "a.png", (20, 15))
    dataset = data.load(path)
    assert (dataset.records[0].width, dataset.records[0].height) == (20, 15)
    np.testing.assert_array_equal(dataset.records[0].boxes, [[0.5, 1, 5.5, 11]])
    assert any("resized after annotation" in reason for reason in dataset.skipped.counts)
    _image(tmp_path / "images" / "a.png", (20, 30))
    dataset = data.load(path)
    np.testing.assert_array_equal(dataset.records[0].boxes, [[1, 2, 11, 22]])
    assert any("size differs" in reason for reason in dataset.skipped.counts)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_on_stored_pixels_turn_with_the_image(tmp_path, orientation):
    """Annotated without regard to EXIF: a painted rectangle must stay under its box in the upright
    image."""
    path = _write(tmp_path, _coco())
    stored = Image.new("RGB", (40, 30))
    stored.paste("white", (1, 2, 11, 22))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "images" / "a.png", exif=exif)
    record = data.load(path).records[0]
    pixels = data.read_image(record.path)
    assert pixels.shape == (record.height, record.width, 3) == (40, 30, 3)
    x0, y0, x1, y1 = record.boxes[0].astype(int)
    assert pixels[y0:y1, x0:x1].min() == 255 and pixels[..., 0].sum() == 255 * 200


def test_crowds_are_kept_and_marked(tmp_path):
    good = _coco()["annotations"]
    dataset = data.load(_write(tmp_path, _coco(annotations=good + [good[0] | {"iscrowd": 1}])))
    np.testing.assert_array_equal(dataset.records[0].crowd, [False, True])
    assert dataset.max_boxes == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "does not parse"),
        ("[]", "no list 'images'"),
        ('{"images": []}', "no list 'annotations'"),
        (json.dumps(_coco(images=[{"id": 1}])), "file_name"),
        (json.dumps(_coco(images=[3])), "file_name"),
        (json.dumps(_coco(categories=[])), "at least one category"),
        (json.dumps(_coco(categories=[{"name": "x"}])), "in every entry of categories"),
    ],
)
def test_malformed_files(tmp_path, text, message):
    path = tmp_path / "set.json"
    path.write_text(text)
    with pytest.raises(data.DatasetError, match=message):
        data.load(path)


def test_nothing_usable(tmp_path):
    for path in (tmp_path / "missing", tmp_path, tmp_path / "x.json"):
        with pytest.raises(data.DatasetError, match="expected"):
            data.load(path)
    (tmp_path / "x.json").write_text(json.dumps(_coco()))
    with pytest.raises(data.DatasetError, match="image files"):
        data.load(tmp_path / "x.json")
    (tmp_path / "x.json").write_text(json.dumps(_coco(images=[], annotations=[])))
    with pytest.raises(data.DatasetError, match="image files|at least one usable image"):
        data.load(tmp_path / "x.json")


LAYOUTS = [
    ("annotations/instances_train.json", "train"),
    ("annotations/instances_train.json", "images/train"),
    ("annotations/instances_train.json", "images"),
    ("train/_annotations.coco.json", "train"),
    ("train.json", "images"),
    ("train.json", "train"),
    ("annotations/train.json", "train"),
]


@pytest.mark.parametrize(("json_at", "images_at"), LAYOUTS)
def test_layouts(tmp_path, json_at, images_at):
    for split in ("train", "val"):
        path = tmp_path / json_at.replace("train", split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_coco()))
        for name in ("a.png", "b.png"):
            _image(tmp_path / images_at.replace("train", split) / name)
    (tmp_path / "annotations").mkdir(exist_ok=True)
    (tmp_path / "annotations" / "captions_train.json").write_text(json.dumps(_coco()))
    (tmp_path / "settings.json").write_text("{}")
    assert set(data.splits(tmp_path)) == {"train", "val"}
    assert len(data.load(tmp_path, "val")) == 2
    with pytest.raises(data.DatasetError, match="expected one of the splits"):
        data.load(tmp_path)
    with pytest.raises(data.DatasetError, match="'test'"):
        data.load(tmp_path, "test")
