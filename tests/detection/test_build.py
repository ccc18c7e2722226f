import keras
import numpy as np
import pytest
from without_values import without_values

import keras_detblocks as kdb
from keras_detblocks.detection.build import CONTEXTS, NECKS, ModelOptions, build_detector


@pytest.mark.parametrize("neck", NECKS)
@without_values()
def test_every_neck_changes_by_one_word(neck):
    detector = build_detector(["cat", "dog"], (64, 96), neck=neck, filters=16)
    outputs = detector.output
    # The smallest scale of MLFPN comes from a 3x3 window without padding, two cells less than the
    # map before it.
    last = (2, 4, 2) if neck == "mlfpn" else (2, 3, 2)
    assert [tuple(outputs[f"P{level}_logits"].shape[1:]) for level in (3, 4, 5)] == [
        (8, 12, 2),
        (4, 6, 2),
        last,
    ]


@pytest.fixture(scope="module")
def mobilenet():
    model = keras.applications.MobileNet(
        alpha=0.25, weights=None, include_top=False, input_shape=(64, 96, 3)
    )
    return kdb.feature_pyramid(
        model, (3, 4, 5), preprocess=keras.applications.mobilenet.preprocess_input
    )


@pytest.mark.slow
@pytest.mark.parametrize("neck", NECKS)
def test_every_neck_works_on_a_net_of_keras_applications(mobilenet, neck):
    # One size for all: MLFPN needs the larger maps, EFM the level below.
    levels = (3, 4) if neck == "mlfpn" else (4, 5)
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
@without_values()
def test_every_context_block_changes_by_one_word(context):
    detector = build_detector(["cat"], (64, 96), context=context, filters=16)
    assert context in {layer.name for layer in detector.layers}
    assert detector.output["P5_logits"].shape == (None, 2, 3, 1)


@pytest.mark.slow
def test_names_in_any_case():
    """The backbone by the name that `detblocks models` prints for a call."""
    detector = build_detector(
        ["cat"],
        64,
        backbone='RegNetX("400mf_tv")',
        neck="FPN",
        context="SPPF",
        levels=(3, 4, 5, 6),
        filters=16,
        head="anchor_free",
    )
    assert detector.backbone.name == "regnetx_004_tv"
    assert tuple(detector(keras.ops.zeros((1, 64, 64, 3)))["P6_logits"].shape) == (1, 1, 1, 1)


def test_a_number_of_classes_and_a_side():
    detector = build_detector(np.int64(3), 64, levels=(4,), filters=np.int64(8))
    assert detector.class_names == ("0", "1", "2") and detector.image_size == (64, 64)


def test_every_name_that_is_listed_or_printed_is_taken(capsys):
    """`RegNetY("64gf")` too: what can be read in the table can be typed."""
    kdb.print_part_table()
    printed = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:4] == "    "
    ]
    printed, recipes = printed[: -len(kdb.recipes.RECIPES)], printed[-len(kdb.recipes.RECIPES) :]
    assert printed == ["compact", *kdb.list_necks(), *kdb.list_contexts(), *kdb.list_heads()]
    assert recipes == kdb.recipes.list()
    for name in [row["name"] for row in kdb.model_table()]:
        assert ModelOptions(backbone=name).backbone == name
    assert {ModelOptions(neck=name).neck for name in kdb.list_necks()} == set(NECKS)
    assert {ModelOptions(context=name).context for name in kdb.list_contexts()} == set(CONTEXTS)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"neck": "fqn"}, "Unknown neck 'fqn'. Did you mean 'fpn'"),
        ({"context": "sspf"}, "Unknown context block 'sspf'. Did you mean 'sppf'"),
        ({"backbone": "regnety08"}, "Unknown backbone 'regnety08'. Did you mean 'RegNetY08"),
        ({"backbone": "compakt"}, "Unknown backbone 'compakt'. Did you mean 'compact'"),
        ({"backbone": 3}, "Unknown backbone 3"),
        ({"head": "yolo"}, "Unknown head 'yolo'. Known: anchor_free"),
        ({"levels": 3}, "`levels` must be ascending level numbers"),
        ({"image_size": (64, 64, 3)}, "`image_size` must be an int"),
        ({"filters": True}, "`filters` must be an int"),
        ({"filters": 10**9}, "`filters` must be an int of at least 1 and at most 8192"),
        ({"image_size": (64, 10**6)}, "`image_size` must be an int of at least 1 and at most 1638"),
        ({"levels": range(3, 100)}, "`levels` must be from 2 to 6"),
        ({"levels": (2, 3), "neck": "efm"}, "`levels` must be from 3 to 6"),
        ({"class_names": "cat"}, "`class_names` a list of names"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        build_detector(**{"class_names": ["cat"], "image_size": (64, 64), **options})
