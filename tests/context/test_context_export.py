"""Context blocks as int8 TFLite files of builtin operators without SpaceToBatch pairs, and as files
of dynamic size.

Float32 files of fixed size are made by `tests/test_export.py`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import fit_statistics, randomize
from context_golden import pyramid, random_map

import keras_detblocks as kdb
from keras_detblocks.export import Session, to_onnx, to_saved_model, to_tflite

CHANNELS = 32
RFB_FORMS = ("rfb", "rfb_s", "rfb_e", "rfb_e_light", "rfb_mobile", "rfb_s_mobile", "rfb_light")
BLOCKS = {
    "spp": lambda: kdb.SPP(),
    "sppf": lambda: kdb.SPPF(24),
    "spp_csp": lambda: kdb.SPPCSP(16),
    "sppnet_max": lambda: kdb.SpatialPyramidPooling((1, 2, 3, 6)),
    "sppnet_average": lambda: kdb.SpatialPyramidPooling((1, 2, 4), mode="average", form="window"),
    "aspp": lambda: kdb.ASPP(24, rates=(3, 6, 9)),
    "aspp_separable": lambda: kdb.ASPP(24, rates=(3, 6), separable=True),
    "aspp_sum": lambda: kdb.ASPP(24, rates=(6, 12, 18, 24), merge="sum"),
    "rfb_stride_2": lambda: kdb.RFB(24, strides=2),
    **{name: lambda name=name: kdb.RFB(CHANNELS, name) for name in RFB_FORMS},
}


def all_blocks(size):
    """One model of every block, so that there is one conversion and one run."""
    keras.utils.set_random_seed(0)
    x = keras.Input((*size, CHANNELS), name="x")
    return keras.Model(
        x,
        {
            name: keras.layers.Identity(name=f"out_{name}")(make()(x))
            for name, make in BLOCKS.items()
        },
    )


def normalized_error(y, want):
    return float(np.sqrt(np.mean((y - want) ** 2)) / want.std())


@pytest.mark.slow
def test_int8(tmp_path, record_property):
    """Near the float model on the features that the ranges and the batch statistics are from: maps
    that come out of a ReLU."""
    data = np.maximum(random_map(4, 20, 17, CHANNELS), 0)
    model = fit_statistics(all_blocks(data.shape[1:3]), data)
    report = to_tflite(model, tmp_path / "blocks.tflite", "int8", [data])
    assert not [
        op
        for op in report.operators
        if "SPACE" in op or "Flex" in op or "CUSTOM" in op or op in ("SPLIT", "TILE")
    ]
    with Session(tmp_path / "blocks.tflite") as session:
        got = [session(x=x[None]) for x in data]
    errors = {
        name: normalized_error(np.concatenate([each[name] for each in got]), np.asarray(want))
        for name, want in model(data).items()
    }
    record_property("normalized_rms_error", errors)
    print(
        {name: f"{error:.2g}" for name, error in errors.items()},
        report.operators,
        report.partitions,
    )
    assert max(errors.values()) <= 0.05, errors


@pytest.fixture(scope="module")
def dynamic():
    return randomize(all_blocks((None, None)))


def check_third_size(model, run):
    """A file of dynamic size at another size than its export has compared it on."""
    x = random_map(1, 9, 14, CHANNELS)
    got = run(x)
    for name, want in model(x).items():
        assert got[name].shape == tuple(want.shape)
        assert normalized_error(np.asarray(got[name]), np.asarray(want)) < 1e-4, name


@pytest.mark.slow
def test_dynamic_sizes_in_a_saved_model(dynamic, tmp_path):
    """One file for maps of any size: windows, bins and averages follow. Compared by the export at
    two sizes, here at a third."""
    report = to_saved_model(dynamic, tmp_path / "blocks", image_size=(None, None))
    assert set(report.max_error) == set(BLOCKS)
    serve = tf.saved_model.load(str(tmp_path / "blocks")).signatures["serving_default"]
    check_third_size(dynamic, lambda x: serve(x=tf.constant(x)))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))  # tf2onnx takes the square of a graph's size in time
def test_dynamic_sizes_in_onnx(dynamic, tmp_path, part):
    outputs = {name: dynamic.output[name] for name in [*BLOCKS][part::3]}
    model = keras.Model(dynamic.input, outputs)
    report = to_onnx(model, tmp_path / "blocks.onnx", image_size=(None, None))
    assert set(report.max_error) == set(outputs)
    with Session(tmp_path / "blocks.onnx") as session:
        check_third_size(model, lambda x: session(x=x))


@pytest.mark.slow
def test_windows_of_a_map_below_the_bins(tmp_path):
    """A file of dynamic size cannot refuse a small map; the window rule, which has no windows
    there, gives way to the other."""
    layer = kdb.SpatialPyramidPooling((1, 2, 6), form="window")
    to_onnx(kdb.as_model(layer, (None, None, 2)), tmp_path / "bins.onnx", image_size=(None, None))
    with Session(tmp_path / "bins.onnx") as session:
        for size in ((1, 1), (4, 9), (13, 8)):
            x = random_map(1, *size, 2)
            (got,) = session(x=x).values()
            np.testing.assert_array_equal(got, pyramid(x, (1, 2, 6), "window"))
