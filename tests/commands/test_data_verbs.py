"""The verbs of data sets and `predict`, with a detector that needs no training."""

import json

import numpy as np
import pytest
from makers import coco, picture, put, yolo
from perfect import Perfect, paint
from PIL import Image

from keras_detblocks import data
from keras_detblocks.cli import main
from keras_detblocks.commands import options as shared


@pytest.fixture
def folder(tmp_path):
    """A COCO folder with train and val, category ids of its own."""
    categories = [{"id": 30, "name": "cat"}, {"id": 7, "name": "dog"}]
    for split, name in (("train", "a"), ("val", "b")):
        picture(tmp_path / "set" / split / f"{name}.png")
        put(tmp_path / "set" / f"{split}.json", coco([name], categories))
    return tmp_path / "set"


def test_check_as_json(folder, capsys):
    assert main(["check", str(folder), "--json"]) == 0
    train, val = json.loads(capsys.readouterr().out)
    assert (train["split"], val["split"]) == ("train", "val")
    assert train["objects"] == 2 and val["classes"][1] == {
        "name": "cat",
        "id": 30,
        "objects": 1,
        "sides_5_50_95": [21.9, 21.9, 21.9],
    }
    picture(folder / "val/b.png", (20, 15))
    assert main(["check", str(folder), "--split", "val", "--json"]) == 0
    (val,) = json.loads(capsys.readouterr().out)
    assert val["account"][0]["kind"] == "repaired" and val["account"][0]["count"] == 1


def test_check_of_a_split_that_cannot_be_used(folder, capsys):
    (folder / "train/a.png").unlink()
    assert main(["check", str(folder)]) == 2
    printed = capsys.readouterr()
    assert "1 images" in printed.out and "--images FOLDER" in printed.err
    assert main(["check", str(folder), "--json"]) == 2
    train, val = json.loads(capsys.readouterr().out)
    assert "found none of 1" in train["error"] and val["images"] == 1


def test_check_of_every_layout_goes_by_evidence(tmp_path, capsys):
    picture(tmp_path / "images/a.png")
    put(tmp_path / "labels/a.txt", yolo("a"))
    assert main(["check", str(tmp_path)]) == 0
    assert "classes without names" in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--layout", "CSV"]) == 2
    assert "expected CSV: .csv files" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["coco", "voc", "yolo"])
def test_convert(folder, tmp_path, capsys, layout):
    out = tmp_path / layout
    assert main(["convert", str(folder), "--to", layout, "--out", str(out)]) == 0
    assert "account.json" in capsys.readouterr().out
    for split in ("train", "val"):
        one, other = data.load(folder, split), data.load(out, split)
        assert one.class_names == other.class_names
        np.testing.assert_array_equal(one.records[0].boxes, other.records[0].boxes)
    assert main(["convert", str(folder), "--to", layout, "--out", str(out)]) == 2
    assert "new or empty folder" in capsys.readouterr().err


def test_tile(folder, tmp_path, capsys):
    out = tmp_path / "tiles"
    assert main(["tile", str(folder), "--size", "16", "--out", str(out), "--overlap", "0"]) == 0
    assert len(data.load(out, "train")) == 6 and "in tiles" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["none", "mosaic"])
def test_show(folder, tmp_path, capsys, augment):
    out = tmp_path / "seen"
    options = ["--out", str(out), "--augment", augment, "--size", "64x80", "--count", "3"]
    assert main(["show", str(folder), *options]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["plots.png", "sheet-1.png"]
    sheet = np.asarray(Image.open(out / "sheet-1.png"))
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 3
    assert main(["show", str(folder), "--out", str(out), "--count", "0"]) == 2


@pytest.fixture
def seeing(monkeypatch):
    monkeypatch.setattr(shared, "open_model", lambda path: Perfect((32, 32), ("cat", "dog")))


def _painted(path, boxes=((2, 3, 12, 9), (20, 5, 30, 25)), labels=(0, 1)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paint((30, 40), boxes, labels)).save(path)
    return path


def test_predict_writes_as_it_goes_and_takes_every_suffix(seeing, tmp_path, monkeypatch, capsys):
    for name in ("a.png", "b.bmp", "c.tif", "d.ppm"):
        _painted(tmp_path / "in" / name)
    put(tmp_path / "in/e.heic", b"\0\0\0\x18ftypheic" + bytes(30))
    put(tmp_path / "in/._a.png", b"macos")
    seen = []

    def stop(self, path, picture, found):
        seen.append(list(json.loads((tmp_path / "out/detections.json").read_text())))

    monkeypatch.setattr("keras_detblocks.commands.predict._Drawn.__call__", stop)
    assert main(["predict", "m", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    assert [len(each) for each in seen] == [1, 2, 3, 4]
    rows = json.loads((tmp_path / "out/detections.json").read_text())
    assert [row["class"] for row in rows[str(tmp_path / "in/a.png")]] == ["cat", "dog"]
    assert rows[str(tmp_path / "in/b.bmp")][0]["box"] == [2, 3, 12, 9]
    err = capsys.readouterr().err
    assert "pillow-heif" in err and "1 of 5 pictures" in err


def test_predict_writes_coco_results_with_the_sets_own_ids(seeing, folder, tmp_path):
    for split, name in (("train", "a"), ("val", "b")):
        _painted(folder / split / f"{name}.png")
    out = tmp_path / "out"
    options = ["--data", str(folder), "--split", "val", "--format", "coco", "--no-pictures"]
    assert main(["predict", "m", "--out", str(out), *options]) == 0
    results = json.loads((out / "detections.json").read_text())
    assert [p.name for p in out.iterdir()] == ["detections.json"]
    assert [(r["image_id"], r["category_id"]) for r in results] == [(0, 30), (0, 7)]
    assert results[0]["bbox"] == [2, 3, 10, 6] and 0 < results[0]["score"] <= 1
    path = _painted(tmp_path / "000000000139.png")
    assert main(["predict", "m", str(path), "--out", str(out), "--format", "coco"]) == 0
    results = json.loads((out / "detections.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in results] == [(139, 1), (139, 2)]


def test_predict_needs_pictures_or_data(seeing, folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["predict", "m", "--out", out]) == 2
    assert "Give pictures or folders" in capsys.readouterr().err
    assert main(["predict", "m", str(folder), "--data", str(folder), "--out", out]) == 2


def test_parts_for_training(folder, tmp_path, capsys):
    """--val-data of another layout, --val-fraction, and only one of them."""
    from keras_detblocks.cli import parser_for
    from keras_detblocks.commands import datasets, settings

    for name in "ab":
        picture(tmp_path / f"yolo/images/{name}.png")
        put(tmp_path / f"yolo/labels/{name}.txt", yolo(name))
    put(tmp_path / "yolo/classes.txt", "cat\ndog\n")

    def parts(data_set, *more):
        command = ["train", str(data_set), "--out", str(tmp_path / "run"), *more]
        options = parser_for(command).parse_args(command)
        settings.settle(options)
        return datasets.for_training(options), options

    (train, val), _ = parts(folder)
    assert (len(train), len(val)) == (1, 1)
    (train, val), _ = parts(folder, "--val-data", str(tmp_path / "yolo"))
    assert len(val) == 2 and val.class_names == train.class_names == ("dog", "cat")
    (train, val), options = parts(tmp_path / "yolo", "--val-fraction", "0.5", "--seed", "3")
    assert (len(train), len(val)) == (1, 1)
    (tmp_path / "run").mkdir()
    datasets.write_down(options, val)
    assert (tmp_path / "run/validation.txt").read_text() == f"{val.records[0].path}\n"
    assert parts(tmp_path / "yolo")[0][1] is None and "--val-fraction" in capsys.readouterr().out
    with pytest.raises(ValueError, match="Give one of"):
        parts(folder, "--val-split", "val", "--val-fraction", "0.5")


def test_deep_pictures_of_both_parts_are_scaled_alike(tmp_path):
    """A dark part would else be as bright as the other."""
    from keras_detblocks.cli import parser_for
    from keras_detblocks.commands import datasets, settings

    for split, name, most in (("train", "a", 4000), ("val", "b", 100)):
        (tmp_path / "set" / split).mkdir(parents=True)
        pixels = np.linspace(0, most, 1200).astype("uint16").reshape(30, 40)
        Image.fromarray(pixels).save(tmp_path / "set" / split / f"{name}.png")
        put(tmp_path / "set" / f"{split}.json", coco([name]))
    command = ["train", str(tmp_path / "set"), "--out", str(tmp_path / "run")]
    options = parser_for(command).parse_args(command)
    settings.settle(options)
    train, val = datasets.for_training(options)
    assert train.levels == val.levels == (0, 4095)
