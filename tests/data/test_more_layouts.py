"""What further tools export, and what they write otherwise than in the smallest form: lists of
pictures, rotated boxes, pixels from 0, subsets, names of classes elsewhere."""

import csv
import io
import json

import makers
import numpy as np
import pytest
from makers import CLASSES, OBJECTS, SIZE, coco, labelme, picture, put, voc, yolo

from keras_detblocks import data

SPLITS = (("train", "a"), ("val", "b"))
YAML = "names: [cat, dog]\n"


def _lines(names, form):
    """A line an object of the pictures named; `form` has the corners as {0} to {3}."""
    return "".join(
        form.format(*box, file=f"{n}.png", c=label, i=CLASSES.index(label), w=x1 - x0, h=y1 - y0)
        for n in names
        for label, box in OBJECTS[n]
        for x0, y0, x1, y1 in [box]
    )


def _shares(box):
    """x, y, width, height in shares of the picture."""
    x0, y0, x1, y1 = box
    return [x0 / SIZE[0], y0 / SIZE[1], (x1 - x0) / SIZE[0], (y1 - y0) / SIZE[1]]


def _beside(root, form="{}.png"):
    for name in "ab":
        picture(root / form.format(name))


def _yolo(root, form):
    for split, name in SPLITS:
        path = picture(root / form.format(split, name))
        folder = str(path.parent).replace("images", "labels").replace("Images", "Labels")
        put(f"{folder}/{name}.txt", yolo(name))


def _darknet_data_file(root):
    _yolo(root, "obj/{1}.png")
    put(root / "train.txt", "/home/u/darknet/data/obj/a.png\n")
    put(root / "test.txt", "/home/u/darknet/data/obj/b.png\n")
    put(root / "voc.names", "cat\ndog\n")
    lists = "train  = /home/u/darknet/train.txt\nval = data/test.txt\n"
    put(root / "voc.data", f"classes= 2\n{lists}names = data/voc.names\n")


def _lists_alone(root):
    _yolo(root, "images/{1}.png")
    put(root / "train.txt", "images/a.png\n")
    put(root / "val.txt", "./images/b.png\n")
    put(root / "classes.txt", "cat\ndog\n")


def _capital_folders(root):
    _yolo(root, "{0}/Images/{1}.png")
    for split in ("train", "val"):  # of one name, so that only the folder tells whose they are
        picture(root / f"{split}/Images/c.png")
        put(root / f"{split}/Labels/c.txt", yolo("a"))
        (root / f"{split}/Images/c.png").unlink()
    put(root / "classes.txt", "cat\ndog\n")


def _names_in_a_file(root):
    _yolo(root, "images/{0}/{1}.png")
    put(root / "classes.txt", "cat\ndog\n")
    put(root / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames: classes.txt\n")


def _other_machine(root):
    _yolo(root, "images/{0}/{1}.png")
    put(root / "val.txt", "/home/u/set/images/val/b.png\n")
    train = "train: C:\\Users\\me\\set\\images\\train\n"
    put(root / "data.yaml", f"path: C:\\Users\\me\\set\n{train}val: val.txt\ntest:\n{YAML}")


def _keras_txt(root):
    for split, name in SPLITS:
        picture(root / split / f"{name}.png")
        boxes = _lines(name, " {0},{1},{2},{3},{i}")
        put(root / split / "_annotations.txt", f"{name}.png{boxes}\n")
        put(root / split / "_classes.txt", "cat\ndog\n")


def _kitti(root):
    for split, name in SPLITS:
        picture(root / split / f"image_2/{name}.png")
        form = "{c} 0.00 0 -1.57 {0}.00 {1}.00 {2}.00 {3}.00 1.5 1.6 3.7 -0.6 1.7 47.5 1.6\n"
        put(root / split / f"label_2/{name}.txt", _lines(name, form))


def _dota(root):
    for name in "ab":
        picture(root / f"images/{name}.png")
        head = "imagesource:GoogleEarth\ngsd:0.14\n"
        lines = _lines(name, "{0} {1} {2} {1} {2} {3} {0} {3} {c} 0\n")
        put(root / f"labelTxt/{name}.txt", head + lines)


def _openimages_downloader(root):
    for name in "ab":
        picture(root / f"{name}.png")
        put(root / f"Label/{name}.txt", _lines(name, "{c} {0}.0 {1}.0 {2}.0 {3}.0\n"))


def _supervisely(root):
    put(root / "meta.json", {"classes": [{"title": "cat"}, {"title": "dog"}], "tags": []})
    for split, name in SPLITS:
        picture(root / split / f"img/{name}.png")
        objects = [
            {"classTitle": c, "points": {"exterior": [[x0, y0], [x1, y1]], "interior": []}}
            | ({"geometryType": "rectangle"} if c == "cat" else {})
            for c, (x0, y0, x1, y1) in OBJECTS[name]
        ]
        size = {"width": SIZE[0], "height": SIZE[1]}
        put(root / split / f"ann/{name}.png.json", {"size": size, "objects": objects})


def _fiftyone(root):
    _beside(root, "data/{}.png")
    labels = {
        n: [{"label": CLASSES.index(c), "bounding_box": _shares(box)} for c, box in OBJECTS[n]]
        for n in "ab"
    }
    put(root / "labels.json", {"classes": CLASSES, "labels": labels})


def _fiftyone_samples(root):
    _beside(root, "data/{}.png")
    samples = []
    for n in "ab":
        found = [{"label": c, "bounding_box": _shares(box)} for c, box in OBJECTS[n]]
        truth = {"_cls": "Detections", "detections": found}
        guess = {"_cls": "Detections", "detections": []}
        samples.append({"filepath": f"data/{n}.png", "guess": guess, "ground_truth": truth})
    put(root / "samples.json", {"samples": samples})


def _via(names="ab", regions=list):
    entries = {}
    for n in names:
        found = []
        for c, (x0, y0, x1, y1) in OBJECTS[n]:
            shape = {"name": "rect", "x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
            about = {"quality": {"good": True}, "class": c}
            found.append({"shape_attributes": shape, "region_attributes": about})
        found = found if regions is list else {str(i): r for i, r in enumerate(found)}
        entries[f"{n}.png99"] = {"filename": f"{n}.png", "size": 99, "regions": found}
    return entries


def _via_json(root):
    for split, name in SPLITS:
        picture(root / split / f"{name}.png")
        put(root / split / "via_region_data.json", _via(name, dict))


def _via_project(root):
    _beside(root)
    put(root / "via_project.json", {"_via_settings": {}, "_via_img_metadata": _via()})


def _via_csv(root):
    _beside(root)
    rows = [
        [e["filename"], json.dumps(r["shape_attributes"]), json.dumps(r["region_attributes"])]
        for e in _via().values()
        for r in e["regions"]
    ]
    put(root / "via.csv", _table("filename,region_shape_attributes,region_attributes", rows))


def _table(header, rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return f"{header}\n{text.getvalue()}"


def _label_studio_csv(root):
    _beside(root, "images/{}.png")
    rows = []
    for i, n in enumerate("ab"):
        results = [
            dict(zip(("x", "y", "width", "height"), (100 * v for v in _shares(box))))
            | {"rotation": 0, "rectanglelabels": [c], "original_width": 40, "original_height": 30}
            for c, box in OBJECTS[n]
        ]
        rows.append([i, 1, f"/data/upload/1/0a1b2c3d-{n}.png", json.dumps(results)])
    put(root / "export.csv", _table("annotation_id,annotator,image,label", rows))


def _cvat_subsets(root):
    images = ""
    for split, n in SPLITS:
        picture(root / f"images/{split}/{n}.png")
        boxes = _lines(n, '<mask label="{c}" left="{0}" top="{1}" width="{w}" height="{h}"/>')
        images += f'<image name="{n}.png" subset="{split}" width="40" height="30">{boxes}</image>'
    put(root / "annotations.xml", f"<annotations><meta/>{images}</annotations>")


def _voc_from_0(root):
    for n in "ab":
        picture(root / f"{n}.png")
        form = "<object><name>{c}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax>"
        objects = _lines(n, form + "<ymax>{3}</ymax></bndbox></object>")
        put(root / f"{n}.xml", f"<annotation><filename>{n}.png</filename>{objects}</annotation>")


def _voc_rotated(root):
    for n in "ab":
        picture(root / f"{n}.png")
        objects = ""
        for c, (x0, y0, x1, y1) in OBJECTS[n]:
            values = ((x0 + x1) / 2, (y0 + y1) / 2, y1 - y0, x1 - x0, np.pi / 2)
            sides = zip(("cx", "cy", "w", "h", "angle"), values)
            box = "".join(f"<{k}>{v}</{k}>" for k, v in sides)
            objects += f"<object><name>{c}</name><robndbox>{box}</robndbox></object>"
        put(root / f"{n}.xml", f"<annotation><filename>{n}.png</filename>{objects}</annotation>")


def _voc_one_name_in_two_splits(root):
    for split, n in SPLITS:
        picture(root / f"{split}/JPEGImages/{n}.png")
        put(root / f"{split}/Annotations/{n}.xml", voc(n))
        picture(root / f"{split}/JPEGImages/c.png")
        put(root / f"{split}/Annotations/c.xml", voc("c", objects=[]))


def _labelme_beside(root):
    for split, n in SPLITS:
        picture(root / f"images/{split}/{n}.png")
        content = labelme(n) | {"imageData": "A" * 40_000}
        put(root / f"labels/{split}/{n}.json", {k: content[k] for k in sorted(content)})


def _coco_behind_its_licenses(root):
    _beside(root, "data/{}.png")
    licenses = [{"id": i, "name": "x" * 200} for i in range(200)]
    put(root / "labels.json", {"licenses": licenses, "info": {}} | coco())


def _coco_keypoints(root):
    for split, n in SPLITS:
        picture(root / f"images/{split}/{n}.png")
        put(root / f"annotations/person_keypoints_{split}.json", coco([n]))


def _create_ml(root):
    _beside(root)
    entries = []
    for n in "ab":
        objects = [
            {"label": c, "coordinates": dict(zip(("x", "y", "width", "height"), center))}
            for c, (x0, y0, x1, y1) in OBJECTS[n]
            for center in [((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)]
        ]
        entries.append({"imagefilename": f"{n}.png", "annotation": objects})
    put(root / "annotations.json", entries)


def _csv(form, header="", pictures="{}.png"):
    def make(root):
        _beside(root, pictures)
        put(root / "table.csv", f"{header}\n{_lines('ab', form)}")

    return make


OPENIMAGES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n"
    "a,x,/m/1,1,0.25,0.5,0.2,0.5,0,0\na,x,/m/2,1,0,0.2,0,0.26666667,0,1\n"
    "b,x,/m/1,1,0.1,0.6,0.1,0.9,1,0\n"
)
MAKESENSE = "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height"
CLASS_AND_NAME = "image,class,class_name,x1,y1,x2,y2"
TRAIN_VAL = ("train", "val")
LAYOUTS = {
    "darknet data file": (_darknet_data_file, TRAIN_VAL),
    "lists alone": (_lists_alone, TRAIN_VAL),
    "capital folders": (_capital_folders, TRAIN_VAL),
    "names in a file": (_names_in_a_file, TRAIN_VAL),
    "paths of another machine": (_other_machine, TRAIN_VAL),
    "keras txt": (_keras_txt, TRAIN_VAL),
    "kitti": (_kitti, TRAIN_VAL),
    "dota": (_dota, ()),
    "openimages downloader": (_openimages_downloader, ()),
    "supervisely": (_supervisely, TRAIN_VAL),
    "fiftyone": (_fiftyone, ()),
    "fiftyone samples": (_fiftyone_samples, ()),
    "via": (_via_json, TRAIN_VAL),
    "via project": (_via_project, ()),
    "via csv": (_via_csv, ()),
    "label studio csv": (_label_studio_csv, ()),
    "cvat subsets": (_cvat_subsets, TRAIN_VAL),
    "voc from 0": (_voc_from_0, ()),
    "voc rotated": (_voc_rotated, ()),
    "labelme beside": (_labelme_beside, TRAIN_VAL),
    "coco behind its licenses": (_coco_behind_its_licenses, ()),
    "coco keypoints": (_coco_keypoints, TRAIN_VAL),
    "create ml": (_create_ml, ()),
    "makesense": (_csv("{c},{0},{1},{w},{h},{file},40,30\n"), ()),
    "makesense header": (_csv("{c},{0},{1},{w},{h},{file},40,30\n", MAKESENSE), ()),
    "sku-110k": (_csv("{file},{0},{1},{2},{3},{c},40,30\n", pictures="images/{}.png"), ()),
    "udacity": (_csv("{file},{0},{2},{1},{3},{c}\n", "frame,xmin,xmax,ymin,ymax,label_id"), ()),
    "gtsrb": (_csv("{0};{1};{2};{3};{c};{file}\n", "Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId;Path"), ()),
    "class and its name": (_csv("{file},{i},{c},{0},{1},{2},{3}\n", CLASS_AND_NAME), ()),
    "decimal comma": (_csv("{file};{c};{0},0;{1},0;{2},0;{3},0\n", "file;class;x1;y1;x2;y2"), ()),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_export(tmp_path, name):
    make, splits = LAYOUTS[name]
    make(tmp_path)
    found = data.splits(tmp_path)
    assert set(found) == set(splits) if splits else len(found) == 1
    for split, names in zip(found, "ab" if splits else ["ab"]):
        dataset = data.load(tmp_path, split)
        makers.check(dataset, names, 1e-3)
        assert dataset.class_names == CLASSES
        skipped = {r for r, kind in dataset.skipped.kinds.items() if kind == "skipped"}
        assert not skipped, dataset.skipped


def test_pictures_of_one_name_in_two_splits(tmp_path):
    _voc_one_name_in_two_splits(tmp_path)
    for split, name in SPLITS:
        dataset = data.load(tmp_path, split)
        assert [r.path for r in dataset.records] == [
            str(tmp_path / split / f"JPEGImages/{n}.png") for n in (name, "c")
        ]
        assert dataset.skipped.total == 0


def test_pictures_that_no_list_names_are_told(tmp_path):
    _lists_alone(tmp_path)
    picture(tmp_path / "images/c.png")
    put(tmp_path / "labels/c.txt", yolo("a"))
    dataset = data.load(tmp_path, "val")
    makers.check(dataset, "b")
    assert dataset.skipped.of("skipped") == {"picture with labels that is in no list": 1}


def test_lists_of_pictures_beside_another_layout_are_none_of_yolos(tmp_path):
    _beside(tmp_path, "JPEGImages/{}.png")
    for name in "ab":
        put(tmp_path / f"Annotations/{name}.xml", voc(name))
    put(tmp_path / "ImageSets/Main/train.txt", "a.png\nb.png\n")
    put(tmp_path / "train.txt", "JPEGImages/a.png\nJPEGImages/b.png\n")
    dataset = data.load(tmp_path, "train")
    makers.check(dataset)
    assert dataset.skipped.total == 0


def test_openimages_groups_and_descriptions(tmp_path):
    _beside(tmp_path, "train/{}.png")
    put(tmp_path / "train-annotations-bbox.csv", OPENIMAGES)
    put(tmp_path / "class-descriptions-boxable.csv", "/m/1,cat\n/m/2,dog\n/m/3,owl\n")
    dataset = data.load(tmp_path, "train")
    makers.check(dataset)
    assert dataset.records[0].crowd.tolist() == [False, True] and dataset.class_names == CLASSES


def test_regions_without_a_class_are_crowds_of_each(tmp_path):
    _kitti(tmp_path)
    path = tmp_path / "train/label_2/a.txt"
    line = "DontCare -1 -1 -10 20.0 20.0 30.0 30.0 -1 -1 -1 -1000 -1000 -1000 -10\n"
    put(path, path.read_text() + line)
    dataset = data.load(tmp_path, "train")
    (record,) = dataset.records
    assert record.crowd.tolist() == [False, False, True, True] and dataset.class_names == CLASSES
    assert record.boxes[2:].tolist() == [[20, 20, 30, 30]] * 2 and dataset.skipped.of("assumed")


TURNED = '<box label="cat" xtl="10" ytl="10" xbr="20" ybr="14" rotation="90"/>'
ROTATED = {
    "cvat": (TURNED, [13, 7, 17, 17]),
    "cvat ellipse": ('<ellipse label="cat" cx="15" cy="12" rx="5" ry="2"/>', [10, 10, 20, 14]),
    "label studio": (
        {"x": 50, "y": 50, "width": 20, "height": 10, "rotation": 90, "rectanglelabels": ["cat"]},
        [17, 15, 20, 23],
    ),
    "label studio ellipse": (
        {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 90, "ellipselabels": ["cat"]},
        [17, 11, 23, 19],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROTATED)
def test_boxes_around_what_is_turned(tmp_path, name):
    shape, box = ROTATED[name]
    picture(tmp_path / "a.png")
    if isinstance(shape, str):
        image = f'<image name="a.png" width="40" height="30">{shape}</image>'
        put(tmp_path / "annotations.xml", f"<annotations>{image}</annotations>")
    else:
        result = {"original_width": 40, "original_height": 30, "value": shape}
        nose = {"value": {"x": 1, "y": 1, "keypointlabels": ["nose"]}}
        task = {"data": {"image": "a.png"}, "annotations": [{"result": [result, nose]}]}
        put(tmp_path / "tasks.json", [task])
    dataset = data.load(tmp_path)
    np.testing.assert_allclose(dataset.records[0].boxes, [box], atol=1e-4)
    assert dataset.skipped.total == ("label studio" in name)  # the nose has no extent


def test_tasks_that_nobody_finished_are_told(tmp_path):
    _beside(tmp_path)
    given_up = {"result": [], "was_cancelled": True}
    box = {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": ["cat"]}
    tasks = [
        {"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": [{"value": box}]}]},
        {"id": 2, "data": {"image": "b.png"}, "annotations": [given_up]},
    ]
    put(tmp_path / "tasks.json", tasks)
    dataset = data.load(tmp_path)
    assert [len(r.boxes) for r in dataset.records] == [1, 0]
    assert list(dataset.skipped.of("assumed").values()) == [1]


def test_tracks_of_a_video_say_what_to_export(tmp_path):
    put(tmp_path / "a.xml", "<annotations><track label='x'><box frame='0'/></track></annotations>")
    with pytest.raises(data.DatasetError, match="CVAT for images"):
        data.load(tmp_path)


def test_a_folder_of_a_list_that_is_missing_is_told(tmp_path):
    _yolo(tmp_path, "images/{0}/one/{1}.png")
    splits = "train: [images/train/one, images/train/gone]\nval: images/val\n"
    put(tmp_path / "data.yaml", splits + YAML)
    dataset = data.load(tmp_path, "train")
    makers.check(dataset, "a")
    assert "gone" in str(dataset.skipped) and dataset.skipped.total == 1


BROKEN = {
    "yolo lists": ("voc.data", f"{'#' * 64}\ntrain = train.txt\nnames = a\0b.names\n"),
    "via csv": ("via.csv", "filename,region_shape_attributes,region_attributes\na.png,{x,{}\n"),
    "via": ("via.json", json.dumps(_via()).replace("[{", "[3, {").replace('"rect"', '"point"')),
    "fiftyone": ("labels.json", '{"labels": {"a": [{"bounding_box": [1, 2], "label": 7}, 3]}}'),
    "supervisely": ("ann/a.png.json", '{"objects": [{"classTitle": "cat", "points": 3}, null]}'),
    "keras txt": (
        "_annotations.txt",
        "a.png 1,2,3,4,0 x,1,2,3,4 1,2,9,9,-1\nno 1,2,3,4,5\na.png\n",
    ),
    "kitti": ("a.txt", "cat 0 0 0 1 2 9 9 0 0 0 0 0 0 0\ncat 0 0 0 1 x 9 9 0 0 0 0 0 0 0\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_items_of_the_others(tmp_path, name):
    file, content = BROKEN[name]
    for place in ("a.png", "img/a.png", "data/a.png"):
        picture(tmp_path / place)
    put(tmp_path / file, content)
    put(tmp_path / "train.txt", "a.png\n")
    dataset = data.load(tmp_path)
    assert [r.image_id for r in dataset.records] in (["a"], ["a.png"])
    assert dataset.skipped.total
