"""At every door, objects of another kind are refused in one sentence: what is no path, no data set,
no detector, no model (`test_arguments.py` does so for numbers, flags and names)."""

import functools

import numpy as np
import pytest
from PIL import Image
from test_arguments import GRAY, IMAGE_MODEL, dataset, detector, found

import keras_detblocks as kdb
from keras_detblocks import data, design, evaluation, export, images, training, weights
from keras_detblocks.data import synthetic

NO_PATH = (3, b"x", ["a"], "")
NO_DATASET = (3, None, "folder", ["a"])
NO_MODEL = (3, None, "x.keras")
NO_DETECTOR = (*NO_MODEL, IMAGE_MODEL)
of = functools.partial


def train(**changed):
    given = {
        "build": detector, "train_set": dataset(), "validation_set": None, "out": "nowhere",
        "epochs": 1,
    }  # fmt: skip
    return training.train(**given | changed)


# (function of a keyword argument, the argument, what it must not be)
WRONG = [
    # Data and pictures
    (data.load, "path", (*NO_PATH, None)),
    (of(data.load, "nowhere"), "images", NO_PATH),
    (data.splits, "path", (*NO_PATH, None)),
    (data.from_records, "records", (3, None, "x", {})),
    (of(data.from_records, []), "images", NO_PATH),
    (of(data.hold_out, fraction=0.5), "dataset", NO_DATASET),
    (data.merge, "datasets", (3, None, "ab", [3], [])),
    (lambda **k: data.merge(dataset()), "datasets", (None,)),
    (of(data.repeat_factors, threshold=0.5), "dataset", NO_DATASET),
    (of(data.pipeline, image_size=32, batch_size=2), "dataset", NO_DATASET),
    (lambda **k: data.pipeline(dataset(), 32, 2, **k), "augment", (3, ["flip"])),
    (of(data.write, out="nowhere", layout="coco"), "parts", (*NO_DATASET, {"train": 3}, {})),
    (lambda **k: data.write(dataset(), layout="coco", **k), "out", (*NO_PATH, None)),
    (of(data.write_tiles, out="nowhere"), "parts", (*NO_DATASET, {"train": 3}, {})),
    (lambda **k: data.write_tiles(dataset(), **k), "out", (*NO_PATH, None)),
    (lambda **k: data.write_tiles(dataset(), "nowhere", **k), "suffix", (3, "png", ".gif")),
    (data.write_digits, "out", (*NO_PATH, None)),
    (synthetic.write_scenes, "out", (*NO_PATH, None)),
    (of(data.letterbox, size=32), "image", (3, None, "a.png", GRAY / 255, GRAY[..., 0])),
    (images.image_header, "path", (3, None, ["a"])),
    (of(images.read_letterboxed, size=32), "path", (*NO_PATH, None)),
    (of(kdb.images.draw_boxes, boxes=[]), "image", (3, None, "a.png")),
    (of(kdb.images.draw_boxes, GRAY), "boxes", (3, None, "a", np.ones((1, 3)), [[1, 2, 3]])),
    (of(images.detection_grid, [Image.new("RGB", (8, 8))]), "path", (*NO_PATH, None)),
    # Models
    (kdb.start_weights, "detector", NO_DETECTOR),
    (lambda **k: kdb.start_weights(detector(), **k), "path", NO_PATH),
    (of(kdb.save_start, path="nowhere"), "detector", NO_DETECTOR),
    (lambda **k: kdb.save_start(detector(), **k), "path", (*NO_PATH, None)),
    (kdb.parameters, "model", NO_MODEL),
    (kdb.conv_groups, "model", NO_MODEL),
    (kdb.evaluation_settings, "model", NO_MODEL),
    (kdb.clip_after_reduction, "optimizer", (3, "adam")),
    (kdb.model_table, "filter", (3, None)),
    (kdb.print_part_table, "filter", (3, None)),
    (of(weights.load, source={}), "target", NO_MODEL),
    (weights.load_keras_file, "path", (*NO_PATH, None)),
    # Training and evaluation
    (train, "build", (*NO_MODEL, IMAGE_MODEL)),
    (train, "train_set", NO_DATASET),
    (train, "validation_set", (3, "folder", ["a"])),
    (train, "out", (*NO_PATH, None)),
    (train, "augment", (3, ["flip"])),
    (training.compile_detector, "model", NO_DETECTOR),
    (training.fingerprint, "dataset", NO_DATASET),
    (training.synchronize_batch_norm, "model", NO_MODEL),
    (lambda **k: training.averaged(**k).__enter__(), "model", NO_MODEL),
    (lambda **k: training.evaluate_ap(dataset=dataset(), **k), "detector", NO_DETECTOR),
    (lambda **k: training.evaluate_ap(detector(), **k), "dataset", (3, None, "folder")),
    (training.ValidationAP, "dataset", (3, None, "folder")),
    (lambda **k: training.predict_dataset(dataset=dataset(), **k), "detector", NO_DETECTOR),
    (lambda **k: training.predict_dataset(detector(), **k), "dataset", NO_DATASET),
    (lambda **k: training.coco_ap(detections=found(), **k), "dataset", NO_DATASET),
    (lambda **k: training.coco_ap(dataset(), **k), "detections", (3, None, [3] * 3, [{}] * 3)),
    (lambda **k: evaluation.measure(detections=found(), **k), "dataset", NO_DATASET),
    (lambda **k: evaluation.measure(dataset(), **k), "detections", (3, None, [3] * 3, [{}] * 3)),
    (lambda **k: evaluation.evaluate(dataset=dataset(), **k), "detector", NO_DETECTOR),
    (lambda **k: evaluation.evaluate(detector(), **k), "dataset", (3, None, "folder")),
    (lambda **k: evaluation.compare(dataset=dataset(), **k), "models", (3, None, [3], {"a": 3})),
    (lambda **k: evaluation.compare({"a": detector()}, **k), "dataset", NO_DATASET),
    (of(evaluation.write_report, folder="nowhere"), "evaluation", (3, None, "x")),
    (
        lambda **k: evaluation.write_report(evaluation.measure(dataset(), found()), **k),
        "folder",
        (*NO_PATH, None),
    ),
    (of(evaluation.store_threshold, threshold=0.5), "path", (*NO_PATH, None)),
    # Exports
    *(
        (lambda export=each, **k: export(IMAGE_MODEL, **k), "path", (*NO_PATH, None))
        for each in (export.to_onnx, export.to_tflite, export.to_saved_model)
    ),
    (of(export.export_all, folder="nowhere", formats="onnx"), "detector", NO_DETECTOR),
    (lambda **k: export.export_all(detector(), formats="onnx", **k), "folder", (*NO_PATH, None)),
    (lambda **k: export.export_all(detector(), "nowhere", **k), "formats", (3, None)),
    (
        of(export.to_onnx, IMAGE_MODEL, "nowhere", quantization="int8"),
        "representative_data",
        (3, "x"),
    ),
    (of(export.exported_path, format="onnx"), "folder", (*NO_PATH, None)),
    (export.file_size, "path", (*NO_PATH, None)),
    (export.open_exported, "path", (*NO_PATH, None)),
    (export.Session, "path", (*NO_PATH, None)),
    (export.benchmark, "model", (3, None, b"x", ["a"], IMAGE_MODEL)),
    (export.compare_latency, "paths", (3, None, [3], "x")),
    # Design spaces
    (of(design.report, []), "path", (*NO_PATH, None)),
    (design.load_sweep, "storage", (3, None, ["a"], "")),
    (of(design.sweep, design.RegNetXSpace, 1, lambda _: 0.5), "out", (*NO_PATH, None)),
]
CASES = [pytest.param(*case, id=f"{i}-{case[1]}") for i, case in enumerate(WRONG)]


@pytest.mark.parametrize("call, name, values", CASES)
def test_other_kinds_are_refused_in_a_sentence(call, name, values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in values:
        with pytest.raises(ValueError) as told:
            call(**{name: value})
        assert f"`{name}` must be" in str(told.value) and "Received: " in str(told.value), value
    assert not list(tmp_path.iterdir())  # and nothing is left behind


def test_augmentations_by_name():
    """In any case, as on the command line."""
    assert data.augment.augmentation("Flip") == data.AUGMENTATIONS["flip"]
    assert data.augment.augmentation("none") is data.augment.augmentation(None) is None
    with pytest.raises(ValueError, match="Unknown augmentation 'flop'. Did you mean 'flip'"):
        data.pipeline(dataset(), 32, 2, augment="flop")


def test_long_values_are_cut_off():
    with pytest.raises(ValueError) as told:
        kdb.parameters("x" * 1000)
    assert len(str(told.value)) < 200
