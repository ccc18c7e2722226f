import json

import keras
import numpy as np
import pytest
from toy import toy_backbone, toy_batch, toy_detector

import keras_detblocks as kdb


@pytest.fixture(scope="module")
def trained(trained_files):
    """(detector, history, (pictures, truth)), all from their files."""
    detector = keras.models.load_model(trained_files / "detector.keras")
    history = json.loads((trained_files / "history.json").read_text())
    with np.load(trained_files / "pictures.npz") as data:
        return detector, history, (data["x"], {key: data[key] for key in ("boxes", "labels")})


@pytest.fixture(scope="module")
def untrained():
    return toy_detector()


@pytest.mark.slow
def test_tiles_find_what_each_picture_shows(trained):
    """Four training pictures side by side, a tile each."""
    detector, _, (x, _) = trained
    pictures = [image.astype("uint8") for image in x[1:5]]
    rows = [np.concatenate(pictures[k : k + 2], 1) for k in (0, 2)]
    together = detector.detect(np.concatenate(rows), tile=(64, 96), overlap=0)
    alone = detector.detect(pictures)
    for part, (right, down) in zip(alone, ((0, 0), (96, 0), (0, 64), (96, 64))):
        for box, label in zip(part["boxes"] + np.array([right, down] * 2), part["labels"]):
            near = np.abs(together["boxes"] - box).max(1) < 0.5
            assert (together["labels"][near] == label).any()
    assert 0 < len(together["boxes"]) <= sum(len(part["boxes"]) for part in alone)
    with pytest.raises(ValueError, match="`tile` must be an int"):
        detector.detect(pictures[0], tile=0)


def test_raw_outputs_and_names(untrained):
    detector = untrained
    shapes = {
        key: tuple(value.shape)
        for key, value in detector(np.zeros((2, 64, 96, 3), "float32")).items()
    }
    assert shapes == {
        "P3_logits": (2, 8, 12, 3),
        "P3_distances": (2, 8, 12, 4),
        "P4_logits": (2, 4, 6, 3),
        "P4_distances": (2, 4, 6, 4),
    }
    assert detector.image_size == (64, 96) and detector.class_names == ("circle", "square", "star")


@pytest.mark.slow
def test_training_finds_the_rectangles(trained):
    detector, history, (x, y) = trained
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert {"loss", "classification_loss", "box_loss"} <= set(history)
    found = detector.detect([image.astype("uint8") for image in x[:8]])
    hits = total = 0
    for each, boxes, labels in zip(found, y["boxes"], y["labels"]):
        overlaps = np.asarray(
            kdb.detection.boxes.iou_matrix(boxes[labels >= 0], each["boxes"].reshape(-1, 4))
        )
        total += (labels >= 0).sum()
        hits += sum(
            bool(row.size) and each["labels"][row.argmax()] == label and row.max() > 0.5
            for row, label in zip(overlaps, labels)
        )
    assert hits >= 0.7 * total


@pytest.mark.slow
def test_thresholds_can_be_changed_after_training(trained):
    detector, _, (x, _) = trained
    many = detector.predict(x[:4], verbose=0)["count"].sum()
    detector.score_threshold = 0.3
    few = detector.predict(x[:4], verbose=0)
    assert few["count"].sum() < many and few["boxes"].shape == (4, 100, 4)
    detector.max_detections = 1
    assert detector.predict(x[:4], verbose=0)["boxes"].shape == (4, 1, 4)
    detector.score_threshold, detector.max_detections = 0.01, 100


@pytest.mark.parametrize(
    "name, value",
    [
        ("score_threshold", 1.5),
        ("iou_threshold", 0.0),
        ("max_detections", 0),
        ("class_agnostic", "yes"),
    ],
)
def test_bad_thresholds_are_refused(untrained, name, value):
    with pytest.raises(ValueError, match=name):
        setattr(untrained, name, value)


def test_other_classes_keep_the_weights_and_the_outputs_of_known_names(untrained):
    detector = untrained
    other = detector.with_classes(["star", "moon", "circle", "sun"])
    assert (
        other.class_names == ("star", "moon", "circle", "sun")
        and other.score_threshold == detector.score_threshold
    )
    x = toy_batch(2)[0]
    before, after = detector(x), other(x)
    for key, value in before.items():
        if key.endswith("distances"):
            np.testing.assert_allclose(after[key], value, atol=1e-6)
        else:
            np.testing.assert_allclose(
                np.asarray(after[key])[..., [2, 0]], np.asarray(value)[..., [0, 2]], atol=1e-5
            )
    new = np.asarray(other.get_layer("head").classifier.bias)[[1, 3]]
    np.testing.assert_allclose(new, np.log(0.01 / 0.99), atol=1e-5)


def test_other_classes_need_a_head_that_knows_its_classifier():
    head = keras.layers.Identity(name="features")
    backbone = kdb.RegNetX002(include_top=False, levels=(5,), input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="The head Identity has no `classifier`"):
        kdb.Detector(backbone, class_names=["a"], head=head).with_classes(["b"])


@pytest.mark.slow
def test_detect_returns_boxes_in_the_pictures_own_pixels(trained):
    detector, _, (x, y) = trained
    picture = x[2].astype("uint8")
    large = np.kron(picture, np.ones((3, 3, 1), "uint8"))
    small, big = detector.detect(picture), detector.detect(large)
    assert len(small["boxes"]) == len(big["boxes"]) == len(big["class_names"]) > 0
    np.testing.assert_allclose(big["boxes"][0], small["boxes"][0] * 3, atol=4)


def test_dynamic_sizes_and_one_neck_after_another():
    detector = kdb.Detector(
        toy_backbone((None, None, 3)), [kdb.FPN(16, levels=(3, 4)), kdb.FPN(8, levels=(3, 4))], 2
    )
    assert detector.image_size is None and detector.class_names == ("0", "1")
    found = detector.detect([np.zeros((50, 70), "uint8"), np.zeros((64, 64, 3), "uint8")])
    assert [set(each) for each in found] == [{"boxes", "scores", "labels", "class_names"}] * 2


def test_context_for_one_level_or_the_deepest():
    block = kdb.SPPF(24)
    assert (
        kdb.Detector(toy_backbone(), kdb.FPN(8, levels=(3, 4)), 2, context=block).get_config()[
            "context"
        ]
        is not None
    )
    detector = kdb.Detector(
        toy_backbone(), kdb.FPN(8, levels=(3, 4)), 2, context={"P3": kdb.SPPF(24)}
    )
    assert kdb.Detector.from_config(detector.get_config()).count_params() == detector.count_params()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.Detector(toy_backbone(), kdb.FPN(8, levels=(3, 4))), "num_classes"),
        (
            lambda: kdb.Detector(toy_backbone(), kdb.FPN(8, levels=(3, 4)), 3, class_names=["a"]),
            "3 classes, but 1",
        ),
        (
            lambda: kdb.Detector(toy_backbone(), kdb.FPN(8, levels=(3, 4)), class_names=["a", "a"]),
            "different",
        ),
        (lambda: kdb.Detector(toy_backbone(), None, 2, context={"P9": kdb.SPPF(8)}), "P9"),
        (
            lambda: kdb.Detector(
                toy_backbone(), kdb.FPN(8, levels=(3, 4)), 2, head=kdb.AnchorFreeHead(5)
            ),
            "5 classes",
        ),
        (
            lambda: kdb.Detector(
                keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]), None, 2
            ),
            "dict of levels",
        ),
        (lambda: kdb.Detector(toy_backbone(), "fpn", 2), "`neck` must be a layer.*'fpn'"),
        (
            lambda: kdb.Detector(toy_backbone(), None, 2, head="fcos"),
            "`head` must be a layer.*fcos",
        ),
        (
            lambda: kdb.Detector(toy_backbone(), None, 2, head=kdb.AnchorFreeHead),
            "`head` must be a layer",
        ),
        (lambda: kdb.Detector(toy_backbone(), ["fpn"], 2), "`build_detector` takes names.*'fpn'"),
        (lambda: kdb.Detector("RegNetY008", None, 2), "`backbone` must be a keras.Model"),
        (lambda: toy_detector().save("detector.h5"), "saved as a .keras file.*'detector.h5'"),
        (lambda: keras.models.clone_model(toy_detector()), r"from_config\(detector.get_config"),
        (lambda: toy_detector().compile(loss="mse"), "own loss"),
        (lambda: toy_detector().compile(box_loss="l1"), "box_loss"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "context, message",
    [
        ("rfb", "`context` must be a layer.*'rfb'"),
        ([kdb.SPPF(8)], "`context` must be a layer"),
        ({"P3": None}, "`context` must be a layer.*None"),
        (kdb.SpatialPyramidPooling(), "must return a feature map"),
        ({"P9": kdb.SPPF(8)}, "P9"),
    ],
)
def test_wrong_context(context, message):
    with pytest.raises(ValueError, match=message):
        kdb.Detector(toy_backbone(), kdb.FPN(8, levels=(3, 4)), num_classes=1, context=context)


@pytest.mark.parametrize("arguments", [{"class_names": "cat"}, {"num_classes": ["a", "b"]}])
def test_class_names_are_a_list(arguments):
    with pytest.raises(
        ValueError, match="`num_classes` is a number, `class_names` a list of names"
    ):
        kdb.Detector(toy_backbone(), kdb.FPN(8, levels=(3, 4)), **arguments)


def test_a_second_size_in_one_graph_is_explained():
    detector = kdb.Detector(toy_backbone((None, None, 3)), kdb.FPN(8, levels=(3, 4)), num_classes=2)
    with pytest.raises(ValueError, match="Give every batch one size"):
        for size in ((64, 96), (96, 96), (96, 64)):
            detector.predict(np.zeros((1, *size, 3), "float32"), verbose=0)


def test_parts_can_be_reached():
    detector = toy_detector()
    detector.backbone.trainable = False
    assert detector.head.num_classes == detector.num_classes
    assert all("head" in v.path or "fpn" in v.path for v in detector.trainable_weights)


def test_weights_of_another_detector_are_refused(tmp_path):
    """Keras would load what fits, or name its objects."""
    path = str(tmp_path / "other.weights.h5")
    other, detector = toy_detector(class_names=["a"]), toy_detector()
    other.save_weights(path)
    with pytest.raises(ValueError, match="holds the weights of another net"):
        detector.load_weights(path)
    detector.load_weights(path, skip_mismatch=True)
    np.testing.assert_array_equal(detector.weights[0], other.weights[0])
    with pytest.raises(FileNotFoundError, match="No such file"):
        detector.load_weights("nowhere.weights.h5")
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="holds the weights of another net"):
        kdb.weights.load(detector, str(tmp_path / "other.keras"))


def test_the_door_past_save_refuses_hdf5_too(tmp_path):
    with pytest.raises(ValueError, match="saved as a .keras file.*HDF5"):
        keras.models.save_model(toy_detector(), tmp_path / "detector.h5")
