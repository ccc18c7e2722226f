"""What is wrong in real data sets: counted with an example, and nothing is decided in silence."""

import json
import os

import makers
import numpy as np
import pytest
from makers import coco, picture, put, voc
from PIL import Image

from keras_detblocks import data

SIDES = ("x", "y", "width", "height")


def _both(root, content, **options):
    for name in "ab":
        picture(root / f"images/{name}.png")
    put(root / "set.json", content if isinstance(content, bytes) else json.dumps(content))
    return data.load(root / "set.json", **options)


def _turned(path, upright=(100, 60), orientation=6, suffix="jpg"):
    """A picture file whose upright form has the size, stored turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    size = upright[::-1] if orientation >= 5 else upright
    return picture(path.with_suffix(f".{suffix}"), size, exif=exif)


def _turned_set(root, boxes, stated=(60, 100), orientation=6, suffix="jpg"):
    """One picture for each box."""
    images, annotations = [], []
    for i, box in enumerate(boxes):
        _turned(root / f"{i}", orientation=orientation, suffix=suffix)
        name = f"{i}.{suffix}"
        images.append({"id": i, "file_name": name, "width": stated[0], "height": stated[1]})
        annotations.append({"id": i, "image_id": i, "category_id": 1, "bbox": box})
    categories = [{"id": 1, "name": "cat"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return put(root / "set.json", content)


def test_a_box_that_leaves_the_stored_frame_tells_for_the_whole_set(tmp_path):
    """Upright 100x60, stored 60x100 and stated so: a box to x = 95 was drawn on the upright one."""
    path = _turned_set(tmp_path, [[10, 5, 20, 20], [70, 10, 25, 30]])
    dataset = data.load(path)
    np.testing.assert_array_equal(dataset.records[0].boxes, [[10, 5, 30, 25]])
    np.testing.assert_array_equal(dataset.records[1].boxes, [[70, 10, 95, 40]])
    ((reason, count),) = dataset.skipped.of("assumed").items()
    assert "drawn on the upright picture" in reason and count == 2


def test_a_box_that_leaves_the_upright_frame_tells_too(tmp_path):
    path = _turned_set(tmp_path, [[10, 5, 20, 20], [10, 70, 20, 25]], stated=(100, 60))
    first = data.load(path).records[0]
    np.testing.assert_array_equal(first.boxes, [[75, 10, 95, 30]])
    assert (first.width, first.height) == (100, 60)


def test_without_evidence_the_stated_size_decides_and_the_option_overrides(tmp_path):
    path = _turned_set(tmp_path, [[10, 5, 20, 20]])
    dataset = data.load(path)
    assert "as they are stored" in dataset.describe()
    np.testing.assert_array_equal(dataset.records[0].boxes, [[75, 10, 95, 30]])
    upright = data.load(path, exif="upright").records[0].boxes
    np.testing.assert_array_equal(upright, [[10, 5, 30, 25]])
    with pytest.raises(ValueError, match="`exif` must be 'evidence', 'upright' or 'stored'"):
        data.load(path, exif="yes")


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_mirrored_pictures_cannot_be_told_apart_and_it_is_said(tmp_path, orientation):
    path = _turned_set(tmp_path, [[10, 5, 20, 20]], (100, 60), orientation)
    dataset = data.load(path)
    np.testing.assert_array_equal(dataset.records[0].boxes, [[10, 5, 30, 25]])
    assert "EXIF orientation 2 to 4" in dataset.describe()
    expected = {2: [70, 5, 90, 25], 3: [70, 35, 90, 55], 4: [10, 35, 30, 55]}[orientation]
    np.testing.assert_array_equal(data.load(path, exif="stored").records[0].boxes, [expected])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_tiff_is_turned_once(tmp_path, orientation):
    path = _turned_set(tmp_path, [[10, 5, 80, 20]], (100, 60), orientation, "tif")
    (record,) = data.load(path).records
    assert (record.width, record.height) == (100, 60)
    assert data.read_image(record.path).shape == (60, 100, 3)
    np.testing.assert_array_equal(record.boxes, [[10, 5, 90, 25]])


def test_two_pictures_of_one_id_are_left_out(tmp_path):
    content = coco()
    picture(tmp_path / "images/c.png")
    content["images"].append(content["images"][1] | {"file_name": "c.png"})
    dataset = _both(tmp_path, content)
    makers.check(dataset, "a")
    assert list(dataset.skipped.counts.values()) == [2]


def test_what_is_entered_twice_counts_once(tmp_path):
    content = coco()
    content["images"] += [content["images"][0], content["images"][1] | {"id": 7}]
    content["annotations"] += [
        content["annotations"][0],
        content["annotations"][-1] | {"image_id": 7, "id": 99},
    ]
    content["categories"].append(content["categories"][0])
    dataset = _both(tmp_path, content)
    makers.check(dataset)
    assert [len(r.boxes) for r in dataset.records] == [2, 1]
    assert set(dataset.skipped.kinds.values()) == {"repaired"} and dataset.skipped.total == 5


def test_one_number_of_two_objects_keeps_both(tmp_path):
    """Sets joined without renumbering their annotations."""
    content = coco()
    for annotation in content["annotations"]:
        annotation["id"] = 1
    makers.check(_both(tmp_path, content))


def test_a_category_id_of_two_classes_takes_nobody_along(tmp_path):
    content = coco()
    content["categories"].append({"id": 2, "name": "owl"})
    dataset = _both(tmp_path, content)
    assert dataset.class_names == ("cat",)
    assert dataset.skipped.counts["annotation of a category id that two classes have"] == 1


def _voc_set(root, lists, names=("a", "b")):
    for name in names:
        picture(root / f"JPEGImages/{name}.png")
        put(root / f"Annotations/{name}.xml", voc(name, objects=makers.OBJECTS["a"]))
    for split, content in lists.items():
        put(root / f"ImageSets/Main/{split}.txt", content)


@pytest.mark.parametrize(
    "content",
    [
        "\n\na\n",
        b"\xef\xbb\xbfa\r\n",
        "a".encode("utf-16"),
        "a.jpg\n",
        "JPEGImages/a.png\n",
        "..\\JPEGImages\\a.jpg\n",
        "/home/u/VOC/Annotations/a.xml\n",
        "a\na\n",
        "a 1\n",
    ],
)
def test_lists_of_pictures_as_people_write_them(tmp_path, content):
    _voc_set(tmp_path, {"train": content, "val": "b\n"})
    assert data.splits(tmp_path) == ("train", "val")
    assert [r.image_id for r in data.load(tmp_path, "train").records] == ["a"]


def test_names_with_blanks_are_no_list_of_a_class(tmp_path):
    lists = {"train": "photo 1\n", "val": "photo 0\n", "cat_val": "photo 0  1\nphoto 1 -1\n"}
    _voc_set(tmp_path, lists | {"dog_val": "b  1\n"}, ("photo 1", "photo 0", "b"))
    assert data.splits(tmp_path)[-2:] == ("train", "val") and "dog_val" not in data.splits(tmp_path)
    assert [r.image_id for r in data.load(tmp_path, "train").records] == ["photo 1"]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [("0", 0), ("false", 0), (False, 0), (None, 0), ("1", 1), ("true", 1), (True, 1), (1.0, 1)],
)
def test_iscrowd_of_any_type(tmp_path, value, crowd):
    content = coco()
    content["annotations"][0]["iscrowd"] = value
    record = _both(tmp_path, content).records[0]
    assert sorted(record.crowd) == [False, bool(crowd)]


def test_numbers_as_text(tmp_path):
    content = coco()
    content["images"] = [{k: str(v) for k, v in i.items()} for i in content["images"]]
    for annotation in content["annotations"]:
        annotation.update({k: str(v) for k, v in annotation.items() if k != "bbox"})
        annotation["bbox"] = [f" {v}" for v in annotation["bbox"]]
    dataset = _both(tmp_path, content)
    makers.check(dataset)
    assert dataset.records[0].areas.tolist() == [90, 64] and not dataset.records[0].crowd.any()


def test_ids_of_floats_and_whole_boxes_as_text(tmp_path):
    content = coco()
    for annotation, form in zip(content["annotations"], (str, str, lambda v: dict(zip(SIDES, v)))):
        annotation |= {"category_id": f"{annotation['category_id']}.0"}
        annotation |= {"bbox": form(annotation["bbox"])}
    dataset = _both(tmp_path, content)
    makers.check(dataset)
    assert dataset.skipped.of("repaired") == {"number or id written as text": 3}


def test_corners_that_are_read_as_sides_are_pointed_out(tmp_path):
    content = coco()
    boxes = [[20, 10, 39, 29], [25, 15, 38, 28], [22, 16, 37, 30]]
    for annotation, box in zip(content["annotations"], boxes):
        annotation["bbox"] = box
    dataset = _both(tmp_path, content)
    assert "x_min, y_min, x_max, y_max" in dataset.describe()
    for annotation in content["annotations"]:
        annotation["bbox"] = [35, 2, 20, 10]  # these only reach out
    assert "x_min, y_min, x_max, y_max" not in _both(tmp_path, content).describe()


def test_shares_are_taken_as_shares(tmp_path):
    content = coco()
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x / 40, y / 30, w / 40, h / 30]
    dataset = _both(tmp_path, content)
    makers.check(dataset)
    assert "shares of its width and height" in dataset.describe()
    text = voc("a").replace("<xmin>11<", "<xmin>0.25<").replace("<ymin>7<", "<ymin>0.2<")
    text = text.replace("<xmax>20<", "<xmax>0.5<").replace("<ymax>15<", "<ymax>0.5<")
    text = text[: text.index("</object>") + 9] + "</annotation>"
    picture(tmp_path / "voc/a.png")
    put(tmp_path / "voc/a.xml", text)
    boxes = data.load(tmp_path / "voc").records[0].boxes
    np.testing.assert_allclose(boxes, [[10, 6, 20, 15]], atol=1e-4)


NAMES = {
    "images\\{}.png": "images/{}.png",
    "../../up/{}.png": "{}.png",
    "/home/u/images/{}.png": "images/{}.png",
    "/data/local-files/?d=images/{}.png": "images/{}.png",
    "https://host/x/{}.png?width=640": "{}.png",
    "my%20images/{}.png": "my images/{}.png",
    "caf\u00e9/{}.png": "cafe\u0301/{}.png",
    "{}.PNG": "{}.png",
    "{}.jpg": "{}.png",
    "{}": "{}.png",
    "{}.PNG ": "x/y/{}.png",
}


@pytest.mark.parametrize("written", NAMES)
def test_names_that_are_not_quite_those_of_the_files(tmp_path, written):
    for name in "ab":
        picture(tmp_path / NAMES[written].format(name))
    put(tmp_path / "set.json", coco(file_name=written.strip()))
    dataset = data.load(tmp_path)
    makers.check(dataset)
    assert set(dataset.skipped.kinds.values()) <= {"assumed"}


def test_shares_of_a_whole_set_with_odd_boxes(tmp_path):
    """A box of the whole picture, one of no size, one that reaches out: the set decides."""
    content = coco()
    content["annotations"] = [
        {"id": i, "image_id": i % 2, "category_id": 1, "bbox": box}
        for i, box in enumerate(
            ([0.1, 0.1, 0.2, 0.3], [0, 0, 1, 1], [0.2, 0.2, 0, 0.1], [0.5, 0.5, 0.7, 0.2])
        )
    ]
    content["images"].append({"id": 2, "file_name": "c.png"})
    content["annotations"].append(content["annotations"][0] | {"id": 9, "image_id": 2})
    picture(tmp_path / "images/c.png")
    dataset = _both(tmp_path, content)
    np.testing.assert_allclose(dataset.records[1].boxes, [[0, 0, 40, 30], [20, 15, 40, 21]])
    np.testing.assert_allclose(dataset.records[0].boxes, [[4, 3, 12, 12]], rtol=1e-6)
    picture(tmp_path / "one/a.png")
    content = coco(["a"])
    content["annotations"] = [content["annotations"][0] | {"bbox": [0, 0, 1, 1]}]
    put(tmp_path / "one/a.json", content)
    np.testing.assert_array_equal(data.load(tmp_path / "one").records[0].boxes, [[0, 0, 1, 1]])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_among_the_annotations_do_not_hang(tmp_path):
    _voc_set(tmp_path, {})
    os.mkfifo(tmp_path / "Annotations/pipe.xml")
    dataset = data.load(tmp_path)
    assert len(dataset) == 2
    assert dataset.skipped.counts == {"annotation file that does not parse": 1}
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(data.DatasetError):
        data.load(tmp_path / "pipe.json")


def test_a_name_that_several_pictures_have_is_not_guessed(tmp_path):
    for folder in ("x", "y"):
        picture(tmp_path / folder / "a.png")
    put(tmp_path / "set.json", coco(["a"], file_name="/gone/{}.png"))
    with pytest.raises(data.PicturesNotFound):
        data.load(tmp_path)


def test_a_name_without_suffix_that_has_several(tmp_path):
    for suffix in ("png", "bmp"):
        picture(tmp_path / f"a.{suffix}")
    put(tmp_path / "a.xml", voc("a", "a"))
    dataset = data.load(tmp_path)
    assert dataset.records[0].path.endswith("a.bmp")
    assert "has several" in str(dataset.skipped) and dataset.skipped.of("assumed")


def test_two_names_that_lead_to_one_file_are_left_out(tmp_path):
    """A folder of folders, flattened: whose is a.png?"""
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "images/b.png")
    content = coco(["a", "a", "b"])
    for image, name in zip(content["images"], ("x/a.png", "y/a.png", "b.png")):
        image["file_name"] = name
    put(tmp_path / "set.json", content)
    dataset = data.load(tmp_path)
    makers.check(dataset, "b")
    assert list(dataset.skipped.of("skipped").values()) == [2]
    content["images"][0]["file_name"] = "images/a.png"
    put(tmp_path / "set.json", content)
    makers.check(data.load(tmp_path))


def test_the_first_pictures_missing_does_not_mean_that_all_are(tmp_path):
    content = coco()
    missing = [{"id": 100 + i, "file_name": f"no{i}.png"} for i in range(30)]
    dataset = _both(tmp_path, content | {"images": missing + content["images"]})
    makers.check(dataset)
    assert dataset.skipped.counts == {"image missing, truncated or unreadable": 30}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_json_in_any_encoding(tmp_path, encoding):
    categories = [
        {"id": 1, "name": "cat"},
        {"id": 2, "name": "dog"},
        {"id": 3, "name": "h\u00f6hle"},
    ]
    content = json.dumps(coco(categories=categories), ensure_ascii=False).encode(encoding)
    dataset = _both(tmp_path, content)
    makers.check(dataset)
    assert dataset.class_names[-1] == "h\u00f6hle"
    assert len(data.load(tmp_path)) == 2  # found in the folder too


@pytest.mark.parametrize(
    ("outline", "box"),
    [
        ([[10, 6, 20, 6, 20, 15, 10, 15]], [10, 6, 20, 15]),
        ({"size": [30, 40], "counts": [306, 9, 21, 9, 855]}, [10, 6, 12, 15]),
        ({"size": [30, 40], "counts": "b99e00Rj0"}, [10, 6, 12, 15]),
        ({"size": [30, 40], "counts": [300, 60, 840]}, [10, 0, 12, 30]),
    ],
)
@pytest.mark.parametrize("written", [None, [], [0, 0, 0, 0], "missing"])
def test_outlines_without_a_box(tmp_path, outline, box, written):
    content = coco(["a"])
    del content["annotations"][1:]
    content["annotations"][0]["bbox"] = written
    if written == "missing":
        del content["annotations"][0]["bbox"]
    content["annotations"][0]["segmentation"] = outline
    dataset = _both(tmp_path, content)
    np.testing.assert_array_equal(dataset.records[0].boxes, [box])
    assert dataset.skipped.total == 1


PHANTOM = [
    ([{"id": 0, "name": "cat"}, {"id": 1, "name": "cat", "supercategory": "cat"}], ("cat",), (1,)),
    (
        [
            {"id": 0, "name": "zoo-x1", "supercategory": "none"},
            {"id": 1, "name": "cat", "supercategory": "zoo-x1"},
            {"id": 2, "name": "dog", "supercategory": "zoo-x1"},
        ],
        ("cat", "dog"),
        (1, 2),
    ),
    (
        [{"id": 4, "name": "owl"}, {"id": 1, "name": "cat"}, {"id": 7, "name": "cat"}],
        ("cat", "owl"),
        (1, 4),
    ),
]


@pytest.mark.parametrize(("categories", "names", "ids"), PHANTOM)
def test_phantom_roots_and_doubled_names(tmp_path, categories, names, ids):
    content = coco(["b"])
    content["annotations"][0]["category_id"] = 1
    dataset = _both(tmp_path, content | {"categories": categories})
    assert (dataset.class_names, dataset.category_ids) == (names, ids)
    makers.check(dataset, "b")
    assert list(dataset.skipped.kinds.values()) == ["repaired"]


def test_classes_that_differ_by_case_are_pointed_out(tmp_path):
    content = coco()
    content["categories"].append({"id": 9, "name": "Cat"})
    dataset = _both(tmp_path, content)
    assert "cat, Cat" in dataset.describe() and len(dataset.class_names) == 3


BAD_ENTRIES = {
    "annotations": [
        {"bbox": [10**400, 1, 2, 3]},
        {"bbox": [1, 2, 10**400, 3]},
        {"bbox": {"x": 1}},
        {"bbox": "1234"},
        {"bbox": [[1], 2, 3, 4]},
        {"image_id": [1]},
        {"image_id": {"a": 1}},
        {"category_id": None},
        {"category_id": float("nan")},
        {"bbox": None, "segmentation": {"size": [1], "counts": "\u00ff"}},
        {"bbox": None, "segmentation": [["x", 2], [None]]},
    ],
    "images": [
        {"id": [1], "file_name": "a.png"},
        {"id": 50, "file_name": None},
        {"id": 51, "file_name": "n" * 5000},
        {"id": 52, "file_name": "nul\0.png"},
        {"id": 53, "file_name": "images"},
        {"id": None, "file_name": "a.png"},
        {"id": 54, "file_name": "x.png", "width": 10**400, "height": float("inf")},
        3,
        None,
        [],
    ],
    "categories": [{"id": None, "name": "x"}, {"id": [2], "name": "x"}, {"name": "x"}, 7, None],
}
ONE_BAD = [(part, entry) for part, entries in BAD_ENTRIES.items() for entry in entries]


@pytest.mark.parametrize(("part", "entry"), ONE_BAD, ids=lambda v: str(v)[:40])
def test_one_bad_entry_is_counted_and_the_rest_read(tmp_path, part, entry):
    content = coco()
    if part == "annotations":
        entry = content["annotations"][0] | {"id": 77} | entry
    content[part] = [*content[part], entry]
    dataset = _both(tmp_path, content)
    makers.check(dataset)
    assert dataset.skipped.total == 1 and dataset.skipped.of("skipped")


def test_numbers_without_end_and_brackets_without_bottom(tmp_path):
    text = json.dumps(coco())
    for value in ("1" + "0" * 5000, "[" * 100_000 + "]" * 100_000):
        bad = f'{{"id": 5, "image_id": 0, "category_id": 1, "bbox": [{value}, 2, 3, 4]}}'
        content = text.replace('"annotations": [', f'"annotations": [{bad}, ')
        dataset = _both(tmp_path, content.encode())
        makers.check(dataset)
        assert dataset.skipped.counts == {"annotation without a bbox of four numbers": 1}


VOC_BAD = {
    "empty": b"",
    "macos": b"\0\5\26\7 Mac OS X",
    "other": b"<html><body/></html>",
    "cut": b"<annotation><object><name>cat",
    "codec": b"<?xml version='1.0' encoding='no-such'?><annotation><object>\xff",
    "deep": b"<a>" * 3000,
}


@pytest.mark.parametrize("bad", VOC_BAD)
def test_one_bad_xml_is_counted(tmp_path, bad):
    _voc_set(tmp_path, {})
    put(tmp_path / "Annotations/c.xml", VOC_BAD[bad])
    dataset = data.load(tmp_path)
    assert len(dataset) == 2 and dataset.skipped.total == 1


def test_xml_of_strange_encodings_sizes_and_names(tmp_path):
    _voc_set(tmp_path, {})
    head = "<?xml version='1.0' encoding='gb2312'?>"
    text = voc("a", objects=[("\u732b", (1, 2, 9, 9))]).replace("<width>40<", "<width>1e999<")
    put(tmp_path / "Annotations/a.xml", (head + text).encode("gb2312"))
    put(tmp_path / "Annotations/b.xml", voc("b", "n" * 5000 + ".png").encode("utf-16"))
    dataset = data.load(tmp_path)
    assert dataset.class_names == ("cat", "dog", "\u732b")[:1] + ("\u732b",)
    assert len(dataset) == 2 and dataset.skipped.total == 0


def test_files_that_are_no_pictures(tmp_path):
    """A pipe would hang, an EPS would start Ghostscript."""
    content = coco()
    for i, name in enumerate(("pipe.png", "eps.jpg", "folder.png", "text.png")):
        content["images"].append({"id": 10 + i, "file_name": name})
    os.makedirs(tmp_path / "images/folder.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "images/pipe.png")
    put(tmp_path / "images/eps.jpg", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    put(tmp_path / "images/text.png", "text")
    dataset = _both(tmp_path, content)
    makers.check(dataset)
    assert dataset.skipped.counts == {"image missing, truncated or unreadable": 4}


def test_pictures_too_large_are_refused_or_read_reduced(tmp_path):
    picture(tmp_path / "a.png", (400, 300))
    picture(tmp_path / "b.jpg", (400, 300))
    for name in ("a.png", "b.jpg"):
        put(tmp_path / f"{name}.json", coco(["a"], file_name=name))
    with pytest.raises(data.DatasetError, match="400x300"):
        data.load(tmp_path / "a.png.json", max_pixels=10_000)
    assert len(data.load(tmp_path / "b.jpg.json", max_pixels=10_000)) == 1


def test_more_objects_than_coco_counts_are_told(tmp_path):
    picture(tmp_path / "a.png", (500, 500))
    boxes = [(4 * i, 0, 4 * i + 3, 3) for i in range(101)]
    record = {"image": tmp_path / "a.png", "boxes": boxes, "labels": ["cat"] * 101}
    dataset = data.from_records([record])
    assert "more than 100 objects (up to 101)" in dataset.describe()
    assert dataset.summary()["images_of_over_100_objects"] == 1
