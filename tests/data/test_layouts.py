"""Every layout in its smallest form, as its tool writes it: found by evidence, read the same."""

import pathlib

import makers
import pytest
from makers import CLASSES, coco, labelme, picture, put, voc, yolo

from keras_detblocks import data
from keras_detblocks.data.load import LAYOUTS as KNOWN

YAML = "names: [cat, dog]\nnc: 2\n"
VOC_LISTS = {"train": "a\n", "val": "b\n"}
CSV_HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"


def _rows(name, form="{file},40,30,{label},{0},{1},{2},{3}"):
    return "".join(
        form.format(*box, file=f"{name}.png", label=label) + "\n"
        for label, box in makers.OBJECTS[name]
    )


def _ultralytics(root):
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / f"images/{split}/{name}.png")
        put(root / f"labels/{split}/{name}.txt", yolo(name))
    return put(root / "data.yaml", f"path: {root}\ntrain: images/train\nval: images/val\n{YAML}")


def _roboflow_yolo(root):
    for split, name in (("train", "a"), ("valid", "b")):
        picture(root / f"{split}/images/{name}.png")
        put(root / f"{split}/labels/{name}.txt", yolo(name))
    put(root / "data.yaml", f"train: ../train/images\nval: ../valid/images\n{YAML}")


def _yolo_with_a_dict_and_lists(root):
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / f"images/{split}/{name}.png")
        put(root / f"labels/{split}/{name}.txt", yolo(name, polygon=True))
        put(root / f"{split}.txt", f"./images/{split}/{name}.png\n")
    put(
        root / "data.yml",
        "path: ../datasets/elsewhere\ntrain: train.txt\nval: [val.txt]\n"
        "names:\n  0: cat\n  1: dog\n",
    )


def _yolo_without_a_file(root):
    for name in "ab":
        picture(root / f"images/{name}.png")
        put(root / f"labels/{name}.txt", yolo(name))
    put(root / "classes.txt", "cat\ndog\n")
    put(root / "notes.json", {"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2026}})


def _darknet(root):
    for name in "ab":
        picture(root / f"obj_train_data/{name}.png")
        put(root / f"obj_train_data/{name}.txt", yolo(name))
    put(root / "obj.names", "cat\ndog\n")
    put(root / "train.txt", "data/obj_train_data/a.png\ndata/obj_train_data/b.png\n")
    put(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")


def _csv(root):
    for name in "ab":
        picture(root / f"{name}.png")
    put(root / "labels.csv", f"{CSV_HEADER}\n{_rows('a')}{_rows('b')}")


def _csv_roboflow(root):
    for split, name in (("train", "a"), ("valid", "b")):
        picture(root / split / f"{name}.png")
        put(root / split / "_annotations.csv", f"{CSV_HEADER}\n{_rows(name)}")


def _csv_without_header(root):
    for name in "ab":
        picture(root / f"images/{name}.png")
    form = "images/{file},{0},{1},{2},{3},{label}"
    put(root / "train.csv", _rows("a", form))
    put(root / "val.csv", _rows("b", form))


def _csv_of_sides(root):
    for name in "ab":
        picture(root / f"{name}.png")
    rows = "".join(
        f"{n};{label};{x0};{y0};{x1 - x0};{y1 - y0}\n"
        for n in "ab"
        for label, (x0, y0, x1, y1) in makers.OBJECTS[n]
    )
    put(root / "boxes.csv", f"\ufeffimage;label;x;y;w;h\n{rows}")


def _labelme(root):
    for name in "ab":
        picture(root / f"{name}.png")
        put(root / f"{name}.json", labelme(name))


def _labelme_apart(root):
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / split / f"images/{name}.png")
        put(root / split / f"json/{name}.json", labelme(name, f"..\\images\\{name}.png"))


def _voc(root):
    for name in "ab":
        picture(root / f"JPEGImages/{name}.png")
        put(root / f"Annotations/{name}.xml", voc(name))
    for split, text in VOC_LISTS.items():
        put(root / f"ImageSets/Main/{split}.txt", text)


def _labelimg(root):
    for name in "ab":
        picture(root / f"{name}.png")
        put(root / f"{name}.xml", voc(name))


def _voc_roboflow(root):
    for split, name in (("train", "a"), ("valid", "b")):
        picture(root / split / f"{name}.png")
        put(root / split / f"{name}.xml", voc(name))


def _voc_small_letters(root):
    for name in "ab":
        picture(root / f"images/{name}.png")
        put(root / f"annotations/{name}.xml", voc(name, f"C:\\Users\\me\\{name}.png"))


def _voc_pets(root):
    for name in "ab":
        picture(root / f"images/{name}.png")
        put(root / f"annotations/xmls/{name}.xml", voc(name, name))


def _voc_split_folders(root):
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / split / f"images/{name}.png")
        put(root / split / f"annotations/{name}.xml", voc(name, f"{name}.jpg"))


def _voc_nested(root):
    for name in "ab":
        picture(root / f"site/{name}/shot/{name}.png")
        put(root / f"site/{name}/labels/{name}.xml", voc(name))


def _fiftyone_voc(root):
    for name in "ab":
        picture(root / f"data/{name}.png")
        put(root / f"labels/{name}.xml", voc(name))


def _fiftyone_coco(root):
    for name in "ab":
        picture(root / f"data/{name}.png")
    put(root / "labels.json", coco())


def _coco_per_split(root):
    for split, name in (("train", "a"), ("val", "b")):
        picture(root / split / f"images/{name}.png")
        put(root / split / "annotations.json", coco([name]))


def _coco_names(json_name, folder):
    def make(root):
        for split, name in (("train", "a"), ("val", "b")):
            picture(root / folder.format(split) / f"{name}.png")
            put(root / json_name.format(split), coco([name]))

    return make


def _label_studio_coco(root):
    for name in "ab":
        picture(root / f"images/0a1b2c3d-{name}.png")
        # what was uploaded keeps its prefix in the export
    categories = [{"id": i, "name": n} for i, n in enumerate(CLASSES)]
    put(root / "result.json", coco(categories=categories, file_name="images\\0a1b2c3d-{}.png"))


def _cvat_coco(root):
    for name in "ab":
        picture(root / f"images/default/{name}.png")
    put(root / "annotations/instances_default.json", coco())


def _cvat_xml(root):
    images = ""
    for i, name in enumerate("ab"):
        picture(root / f"images/{name}.png")
        boxes = "".join(
            f'<box label="{label}" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" occluded="0"></box>'
            for label, (x0, y0, x1, y1) in makers.OBJECTS[name]
        )
        images += f'<image id="{i}" name="{name}.png" width="40" height="30">{boxes}</image>'
    labels = "".join(f"<label><name>{n}</name></label>" for n in CLASSES)
    meta = f"<meta><job><labels>{labels}</labels></job></meta>"
    put(
        root / "annotations.xml", f"<annotations><version>1.1</version>{meta}{images}</annotations>"
    )


def _label_studio_json(root):
    tasks = []
    for i, name in enumerate("ab"):
        picture(root / f"media/{name}.png")
        results = [
            {
                "type": "rectanglelabels",
                "original_width": 40,
                "original_height": 30,
                "value": {
                    "x": 100 * x0 / 40,
                    "y": 100 * y0 / 30,
                    "width": 100 * (x1 - x0) / 40,
                    "height": 100 * (y1 - y0) / 30,
                    "rectanglelabels": [label],
                },
            }
            for label, (x0, y0, x1, y1) in makers.OBJECTS[name]
        ]
        image = f"/data/upload/1/0a1b2c3d-{name}.png"
        tasks.append({"id": i, "annotations": [{"result": results}], "data": {"image": image}})
    put(root / "export.json", tasks)


def _createml(root):
    for split, name in (("train", "a"), ("valid", "b")):
        picture(root / split / f"{name}.png")
        objects = [
            {
                "label": label,
                "coordinates": {
                    "x": (x0 + x1) / 2,
                    "y": (y0 + y1) / 2,
                    "width": x1 - x0,
                    "height": y1 - y0,
                },
            }
            for label, (x0, y0, x1, y1) in makers.OBJECTS[name]
        ]
        put(
            root / split / "_annotations.createml.json",
            [{"image": f"{name}.png", "annotations": objects}],
        )


TRAIN_VAL, TRAIN_VALID, WHOLE = ("train", "val"), ("train", "valid"), (None,)
LAYOUTS = {
    "ultralytics": (_ultralytics, TRAIN_VAL),
    "roboflow yolo": (_roboflow_yolo, ("train", "val")),
    "yolo, names by number, lists": (_yolo_with_a_dict_and_lists, TRAIN_VAL),
    "label studio yolo": (_yolo_without_a_file, WHOLE),
    "darknet, cvat yolo": (_darknet, ("train",)),
    "csv": (_csv, WHOLE),
    "csv roboflow": (_csv_roboflow, TRAIN_VALID),
    "csv without header": (_csv_without_header, TRAIN_VAL),
    "csv of sides": (_csv_of_sides, WHOLE),
    "labelme": (_labelme, WHOLE),
    "labelme apart": (_labelme_apart, TRAIN_VAL),
    "voc": (_voc, TRAIN_VAL),
    "labelimg": (_labelimg, WHOLE),
    "voc roboflow": (_voc_roboflow, TRAIN_VALID),
    "voc small letters": (_voc_small_letters, WHOLE),
    "voc pets": (_voc_pets, WHOLE),
    "voc split folders": (_voc_split_folders, TRAIN_VAL),
    "voc nested": (_voc_nested, WHOLE),
    "fiftyone voc": (_fiftyone_voc, WHOLE),
    "fiftyone coco": (_fiftyone_coco, WHOLE),
    "coco per split": (_coco_per_split, TRAIN_VAL),
    "coco split_annotations": (_coco_names("{}_annotations.json", "{}"), TRAIN_VAL),
    "coco split_images": (_coco_names("{}.json", "{}_images"), TRAIN_VAL),
    "coco annotations_split": (_coco_names("annotations_{}.json", "images"), TRAIN_VAL),
    "coco roboflow": (_coco_names("{}/_annotations.coco.json", "{}"), TRAIN_VAL),
    "label studio coco": (_label_studio_coco, WHOLE),
    "label studio json": (_label_studio_json, WHOLE),
    "cvat coco": (_cvat_coco, ("default",)),
    "cvat xml": (_cvat_xml, WHOLE),
    "create ml": (_createml, TRAIN_VALID),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout(tmp_path, name):
    make, expected = LAYOUTS[name]
    make(tmp_path)
    assert sorted(data.splits(tmp_path), key=str) == sorted(expected, key=str)
    strip = (
        (lambda s: s.removeprefix("0a1b2c3d-")) if name == "label studio coco" else (lambda s: s)
    )
    for split, names in zip(expected, ("a", "b") if len(expected) == 2 else ("ab",)):
        dataset = data.load(tmp_path, split)
        records = [pathlib.Path(r.path).stem for r in dataset.records]
        assert list(map(strip, records)) == list(names)
        if name != "label studio coco":
            makers.check(dataset, names)
        assert dataset.class_names == CLASSES
        skipped = {r for r, kind in dataset.skipped.kinds.items() if kind == "skipped"}
        assert not skipped, dataset.skipped


@pytest.mark.parametrize("name", ["ultralytics", "voc", "fiftyone coco", "csv", "labelme apart"])
def test_paths_relative_to_the_folder_one_is_in(tmp_path, monkeypatch, name):
    make, expected = LAYOUTS[name]
    make(tmp_path / "set")
    for folder, path in ((tmp_path, "set/"), (tmp_path / "set", ".")):
        monkeypatch.chdir(folder)
        for split, names in zip(expected, ("a", "b") if len(expected) == 2 else ("ab",)):
            makers.check(data.load(path, split), names)


def test_single_files_in_the_folder_one_is_in(tmp_path, monkeypatch):
    for make, file in (
        (_fiftyone_coco, "labels.json"),
        (_csv, "labels.csv"),
        (_cvat_xml, "annotations.xml"),
        (_label_studio_json, "export.json"),
    ):
        make(tmp_path / file[:-4])
        monkeypatch.chdir(tmp_path / file[:-4])
        makers.check(data.load(file))


def test_yolo_file_itself_and_its_empty_missing_and_wrong_lines(tmp_path):
    yaml = _ultralytics(tmp_path)
    put(tmp_path / "labels/train/a.txt", "0 .5 .5 .2 .2\n7 .5 .5 .2 .2\nx 1\n0 900 400 20 20\n\n")
    picture(tmp_path / "images/train/empty.png")
    put(tmp_path / "labels/train/empty.txt", "")
    picture(tmp_path / "images/train/none.png")
    scored = "0 .5 .5 .2 .2 .9\n0 .5 .5 .2 .2 1.57\n"  # of predictions, and a turned box
    put(tmp_path / "labels/train/none.txt", scored)
    picture(tmp_path / "images/train/z.png")
    dataset = data.load(yaml, "train")
    assert [len(r.boxes) for r in dataset.records] == [1, 0, 1, 0]
    assert dataset.skipped.counts == {
        "sixth number of a line (taken as a score)": 1,
        "line with a number of columns that no box or polygon has": 1,
        "class number beyond the names": 1,
        "line that is not a class and a box": 1,
        "box that is not in shares of the picture (0 to 1)": 1,
        "picture without a label file (taken as empty)": 1,
    }


def test_csv_lines_that_say_nothing_or_too_little(tmp_path):
    _csv(tmp_path)
    picture(tmp_path / "empty.png")
    table = tmp_path / "labels.csv"
    put(
        table, table.read_text() + "empty.png,40,30,,,,,\na.png,40,30,cat,1,2,x,4\n,,,cat,1,2,3,4\n"
    )
    dataset = data.load(table)
    assert [len(r.boxes) for r in dataset.records] == [2, 1, 0]
    assert dataset.skipped.counts == {
        "line without a class or a box of four numbers": 1,
        "line without the name of a picture": 1,
    }


@pytest.mark.parametrize("deep", ["[" * 3000, "{" * 3000, "names: [[a, b]]\ntrain: x"])
def test_yolo_without_a_usable_yaml_goes_by_its_folders(tmp_path, deep):
    put(_ultralytics(tmp_path), f"names: [cat]\nx: {deep}\n")
    dataset = data.load(tmp_path, "train")
    assert dataset.class_names == ("0", "1") and len(dataset.records[0].boxes) == 2
    assert dataset.skipped.of("skipped")
    with pytest.raises(data.DatasetError, match="expected the data.yaml"):
        data.load(tmp_path / "data.yaml")


def test_yolo_splits_that_are_not_there_and_pictures_elsewhere(tmp_path):
    """Roboflow names a test split that it does not write; labels may come without pictures."""
    _roboflow_yolo(tmp_path / "set")
    yaml = tmp_path / "set/data.yaml"
    put(yaml, yaml.read_text() + "test: ../test/images\nroboflow:\n  version: 1\n")
    assert data.splits(tmp_path / "set") == ("train", "val")
    dataset = data.load(tmp_path / "set", "train")
    makers.check(dataset, "a")
    assert dataset.skipped.of("assumed") == {"split whose pictures are not there": 1}
    for name, split in (("a", "train"), ("b", "valid")):
        (tmp_path / f"set/{split}/images/{name}.png").unlink()
        picture(tmp_path / f"far/{name}.png")
    with pytest.raises(data.DatasetError):
        data.load(tmp_path / "set", "train")
    for split, name in (("train", "a"), ("val", "b")):
        makers.check(data.load(tmp_path / "set", split, images=tmp_path / "far"), name)
    yaml.unlink()
    put(tmp_path / "set/classes.txt", "cat\ndog\n")
    assert data.splits(tmp_path / "set", images=tmp_path / "far") == (None,)
    makers.check(data.load(tmp_path / "set", images=tmp_path / "far"))


def test_yolo_names_that_stand_twice(tmp_path):
    yaml = _ultralytics(tmp_path)
    put(yaml, yaml.read_text().replace("[cat, dog]", "[cat, cat]"))
    dataset = data.load(yaml, "train")
    assert dataset.class_names == ("cat",) and len(dataset.records[0].boxes) == 2
    assert dataset.skipped.of("repaired") == {"classes of one name (joined)": 1}


CSV_HEADERS = {
    "ImageID,Source,LabelName,XMin,XMax,YMin,YMax": "a,x,cat,0.25,0.5,0.2,0.5",
    "image_path,cx,cy,w,h,category": "x/a.png,15,10.5,10,9,cat",
    "image_id,width,height,bbox,label": 'a,40,30,"[10, 6, 10.0, 9]",cat',
    "xmin,ymin,xmax,ymax,name,image": "10,6,20,15,cat,a.png",
    "filename\twidth\theight\tclass\txmin\tymin\txmax\tymax": "a.png\t80\t60\tcat\t20\t12\t40\t30",
}


@pytest.mark.parametrize("header", CSV_HEADERS)
def test_headers_of_tables(tmp_path, header):
    picture(tmp_path / "a.png")
    put(tmp_path / "t.csv", f"{header}\n{CSV_HEADERS[header]}\n")
    dataset = data.load(tmp_path)
    assert dataset.records[0].boxes.round(3).tolist() == [[10, 6, 20, 15]]
    assert dataset.class_names == ("cat",) and not dataset.skipped.of("skipped")


def test_one_of_several_layouts_is_read_and_the_others_told(tmp_path):
    _csv(tmp_path)
    _labelimg(tmp_path)
    dataset = data.load(tmp_path)
    assert dataset.skipped.examples["layout that was found too and not read"] == ["CSV"]
    for layout in ("CSV", "csv"):
        makers.check(data.load(tmp_path, layout=layout))
    with pytest.raises(ValueError, match="Unknown layout 'xlsx'.*Known: COCO JSON"):
        data.load(tmp_path, layout="xlsx")


def test_a_path_that_matches_nothing_names_what_was_looked_for(tmp_path):
    picture(tmp_path / "a.png")
    with pytest.raises(data.DatasetError) as error:
        data.load(tmp_path)
    for layout in KNOWN:
        assert layout.NAME in str(error.value)
    assert "1 .png" in str(error.value) and "from_records" in str(error.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("set.zip", "Unpack"), ("a.tfrecord", "tf.data"), ("metadata.jsonl", "from_records")],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path, name, remedy):
    put(tmp_path / name, b"PK")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(data.DatasetError, match=remedy):
            data.load(path)


def test_pictures_of_a_folder_elsewhere(tmp_path):
    """For folders too, found by their names alone."""
    put(tmp_path / "set/train.json", coco(["a"], file_name="/home/u/images/{}.png"))
    picture(tmp_path / "far/deep/er/a.png")
    with pytest.raises(data.PicturesNotFound, match="`images`"):
        data.load(tmp_path / "set")
    dataset = data.load(tmp_path / "set", images=tmp_path / "far")
    makers.check(dataset, "a")
    assert list(dataset.skipped.kinds.values()) == ["assumed"]
    with pytest.raises(data.DatasetError, match="expected images to be the folder"):
        data.load(tmp_path / "set", images=tmp_path / "nowhere")
