import keras
import pytest

from keras_detblocks.assemble import CONTEXTS, NECKS, build_detector


@pytest.mark.parametrize("neck", NECKS)
def test_every_neck_changes_by_one_word(neck):
    detector = build_detector(["cat", "dog"], (64, 96), neck=neck, filters=16)
    outputs = detector(keras.ops.zeros((1, 64, 96, 3)))
    # The smallest scale of MLFPN comes from a 3x3 window without padding, two cells less than the map before it.
    last = (1, 2, 4, 2) if neck == "mlfpn" else (1, 2, 3, 2)
    assert [tuple(outputs[f"P{level}_logits"].shape) for level in (3, 4, 5)] == [(1, 8, 12, 2), (1, 4, 6, 2), last]


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_context_block_changes_by_one_word(context):
    detector = build_detector(["cat"], (64, 96), context=context, filters=16)
    assert context in {layer.name for layer in detector.layers}
    assert tuple(detector(keras.ops.zeros((1, 64, 96, 3)))["P5_logits"].shape) == (1, 2, 3, 1)


def test_a_published_backbone_by_name():
    detector = build_detector(["cat"], (64, 64), backbone="regnetx002", levels=(3, 4, 5, 6), filters=16)
    assert tuple(detector(keras.ops.zeros((1, 64, 64, 3)))["P6_logits"].shape) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"neck": "fqn"}, "Unknown neck 'fqn'. Did you mean fpn"),
        ({"context": "sspf"}, "Unknown context block 'sspf'. Did you mean sppf"),
        ({"backbone": "regnety08"}, "Unknown backbone 'regnety08'. Did you mean regnety08"),
    ],
)
def test_unknown_names_list_the_near_ones(options, message):
    with pytest.raises(ValueError, match=message):
        build_detector(["cat"], (64, 64), **options)
