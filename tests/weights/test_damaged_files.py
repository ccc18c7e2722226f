"""Files of weights that cannot be read are one line that says so."""

import json
import struct
import zipfile

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_detblocks import weights
from keras_detblocks.weights import load_keras_file


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(64)]).save(path)
    return path


def test_a_whole_file_loads(saved):
    assert load_keras_file(saved).count_params() == 320


def test_a_flipped_bit_anywhere_is_told(saved, tmp_path):
    """In the weights Keras itself does not notice it."""
    path, content = tmp_path / "m.keras", saved.read_bytes()
    before = load_keras_file(saved).get_weights()
    noticed = 0
    for place in np.random.default_rng(0).integers(0, len(content), 40):
        damaged = bytearray(content)
        damaged[place] ^= 8
        path.write_bytes(damaged)
        try:
            after = load_keras_file(path).get_weights()
        except ValueError as error:
            assert "is damaged" in str(error)
            noticed += 1
        else:  # a date or an attribute of the archive
            assert all(np.array_equal(a, b) for a, b in zip(before, after))
    assert noticed > 30


@pytest.mark.parametrize("length", [0, 10, 1000, -10])
def test_a_truncated_file(saved, tmp_path, length):
    (tmp_path / "m.keras").write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ValueError, match="is damaged, or not a model"):
        load_keras_file(tmp_path / "m.keras")


@pytest.mark.parametrize(
    "change",
    [
        lambda config: [],
        lambda config: {**config, "config": None},
        lambda config: {**config, "class_name": "Detector", "registered_name": "x>y"},
    ],
)
def test_a_config_of_something_else(saved, tmp_path, change):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(saved) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == "config.json":
                content = json.dumps(change(json.loads(content)))
            after.writestr(name, content)
    with pytest.raises(ValueError, match="is damaged, or not a model"):
        load_keras_file(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such model file"):
        load_keras_file(tmp_path / "m.keras")


def test_tensors_of_eight_bits(tmp_path):
    head = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "f8.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(4))
    with pytest.raises(ValueError, match="of a type that cannot be read here"):
        weights.read(path)


@pytest.mark.parametrize("content", ["[]", "{", '{"pretrained_cfg": []}'])
def test_a_config_beside_the_weights_that_is_none(tmp_path, content):
    save_file({"w": np.zeros(2, "float32")}, tmp_path / "m.safetensors")
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json"):
        weights.read(tmp_path / "m.safetensors")
