"""Context blocks as TFLite files of builtin operators, dilated convolutions without SpaceToBatch pairs."""

import keras
import numpy as np
import pytest
from cases import randomize
from context_golden import random_map

import keras_detblocks as kdb
from keras_detblocks.export import Session, to_tflite

CHANNELS = 32
BLOCKS = {
    "sppf": lambda: kdb.SPPF(24),
    "spp_csp": lambda: kdb.SPPCSP(16, activation="relu6"),
    "sppnet_max": lambda: kdb.SpatialPyramidPooling((1, 2, 3, 6)),
    "sppnet_average": lambda: kdb.SpatialPyramidPooling((1, 2, 4), mode="average", form="window"),
    "aspp": lambda: kdb.ASPP(24, rates=(3, 6, 9)),
    "aspp_separable": lambda: kdb.ASPP(24, rates=(3, 6), separable=True),
    "aspp_sum": lambda: kdb.ASPP(24, rates=(6, 12, 18, 24), merge="sum"),
    "rfb_stride_2": lambda: kdb.RFB(24, strides=2),
    **{name: lambda name=name: kdb.RFB(CHANNELS, name) for name in ("rfb_s", "rfb_mobile", "rfb_light")},
}


def all_blocks(size, batch=None):
    """One model of every block, so that there is one conversion and one run."""
    keras.utils.set_random_seed(0)
    x = keras.Input((*size, CHANNELS), batch_size=batch, name="x")
    model = keras.Model(x, {name: keras.layers.Identity(name=f"out_{name}")(make()(x)) for name, make in BLOCKS.items()})
    return randomize(model)


def outputs_of(model, x):
    return {name: np.asarray(y) for name, y in model(x).items()}


def normalized_error(y, want):
    return float(np.sqrt(np.mean((y - want) ** 2)) / want.std())


@pytest.mark.slow
def test_tflite(tmp_path):
    model = all_blocks((12, 9))
    report = to_tflite(model, tmp_path / "blocks.tflite")
    assert not [op for op in report.operators if "SPACE" in op or "Flex" in op or "CUSTOM" in op or op in ("SPLIT", "TILE")]
    errors = {name: [] for name in BLOCKS}
    with Session(tmp_path / "blocks.tflite") as session:
        for x in random_map(2, 1, 12, 9, CHANNELS, seed=2):
            got = session(x=x)
            for name, want in outputs_of(model, x).items():
                errors[name].append(normalized_error(got[name], want))
    errors = {name: max(values) for name, values in errors.items()}
    assert max(errors.values()) <= 1e-4, errors
