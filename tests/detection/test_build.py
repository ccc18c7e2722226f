import keras
import numpy as np
import pytest

import keras_detblocks as kdb
from keras_detblocks.detection.build import CONTEXTS, NECKS, build_detector


@pytest.mark.parametrize("neck", NECKS)
def test_every_neck_changes_by_one_word(neck):
    detector = build_detector(["cat", "dog"], (64, 96), neck=neck, filters=16)
    outputs = detector(keras.ops.zeros((1, 64, 96, 3)))
    # The smallest scale of MLFPN comes from a 3x3 window without padding, two cells less than the
    # map before it.
    last = (1, 2, 4, 2) if neck == "mlfpn" else (1, 2, 3, 2)
    assert [tuple(outputs[f"P{level}_logits"].shape) for level in (3, 4, 5)] == [
        (1, 8, 12, 2),
        (1, 4, 6, 2),
        last,
    ]


@pytest.fixture(scope="module")
def mobilenet():
    model = keras.applications.MobileNetV2(
        alpha=0.35, weights=None, include_top=False, input_shape=(64, 96, 3)
    )
    return kdb.feature_pyramid(
        model, (3, 4, 5), preprocess=keras.applications.mobilenet_v2.preprocess_input
    )


@pytest.mark.slow
@pytest.mark.parametrize("neck", NECKS)
def test_every_neck_works_on_a_net_of_keras_applications(mobilenet, neck):
    levels = (
        (3, 4) if neck == "mlfpn" else (4, 5)
    )  # one size for all: MLFPN needs the larger maps, EFM the level below
    detector = kdb.Detector(mobilenet, NECKS[neck](16, levels), class_names=["cat", "dog"])
    outputs = detector(np.zeros((1, 64, 96, 3), "float32"))
    stride = 2 ** levels[0]
    assert tuple(outputs[f"P{levels[0]}_logits"].shape) == (1, 64 // stride, 96 // stride, 2)


@pytest.mark.slow
def test_a_detector_on_keras_applications_is_saved_with_its_preprocessing(mobilenet, tmp_path):
    detector = kdb.Detector(mobilenet, NECKS["fpn"](16, (3, 4, 5)), class_names=["cat", "dog"])
    detector.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype("float32")
    for key, value in keras.models.load_model(tmp_path / "m.keras")(x).items():
        np.testing.assert_allclose(value, detector(x)[key], atol=1e-5)


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_context_block_changes_by_one_word(context):
    detector = build_detector(["cat"], (64, 96), context=context, filters=16)
    assert context in {layer.name for layer in detector.layers}
    assert tuple(detector(keras.ops.zeros((1, 64, 96, 3)))["P5_logits"].shape) == (1, 2, 3, 1)


def test_a_published_backbone_by_name():
    detector = build_detector(
        ["cat"], (64, 64), backbone="regnetx002", levels=(3, 4, 5, 6), filters=16
    )
    assert tuple(detector(keras.ops.zeros((1, 64, 64, 3)))["P6_logits"].shape) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"neck": "fqn"}, "Unknown neck 'fqn'. Did you mean 'fpn'"),
        ({"context": "sspf"}, "Unknown context block 'sspf'. Did you mean 'sppf'"),
        ({"backbone": "regnety08"}, "Unknown backbone 'regnety08'. Did you mean 'regnety08"),
    ],
)
def test_unknown_names_list_the_near_ones(options, message):
    with pytest.raises(ValueError, match=message):
        build_detector(["cat"], (64, 64), **options)
