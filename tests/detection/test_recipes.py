"""Recipes: every one builds, has the parts of its paper, and takes changes."""

import pytest
from without_values import without_values

import keras_detblocks as kdb

PARTS = {  # a layer that only this plan has
    "efficientdet-like-s": "bifpn",
    "yolo-like-s": "csppanet",
    "yolo-like-m": "csppanet",
    "m2det-like-s": "mlfpn",
    "rfbnet-like-s": "rfb",
    "asff-like-s": "asff",
}


def test_the_list_is_the_table():
    assert kdb.recipes.list() == [*PARTS]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PARTS if not name.endswith("-m")])
@without_values()
def test_small_recipes_build(name):
    size = (320, 256) if name.startswith("m2det") else (128, 96)  # its pyramid needs large maps
    detector = kdb.recipes.build(name, ["a", "b"], image_size=size, filters=16)
    assert detector.image_size == size and detector.num_classes == 2
    assert detector.get_layer(PARTS[name])
    if "efficientdet" in name or "m2det" in name:
        assert "P7_logits" in detector.output


def test_unknown_names_and_changes():
    with pytest.raises(ValueError, match="yolo-like-s"):
        kdb.recipes.options("yolo-s")
    with pytest.raises(ValueError, match="fpnx"):
        kdb.recipes.options("asff-like-s", neck="fpnx")
