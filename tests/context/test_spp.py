import golden
import keras
import numpy as np
import pytest
from context_golden import GOLDENS, check_golden, random_map

import keras_detblocks as kdb


@pytest.mark.parametrize("name, filters", [("spp_yolo_13x13", 40), ("spp_yolo_25x21", 32), ("spp_pool_13x13", None)])
@pytest.mark.parametrize("form", [kdb.SPP, kdb.SPPF])
def test_golden(form, name, filters):
    """Checkpoints of SPP and SPPF are interchangeable."""
    assert check_golden(form(filters=filters), name) < 1e-4


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (13, 13), (20, 14), (25, 31)])
def test_sppf_equals_spp_bit_for_bit(size):
    x = random_map(2, *size, 6) - 3.0  # all but a few negative: padding with zeros would show
    np.testing.assert_array_equal(kdb.SPPF()(x), kdb.SPP()(x))
    np.testing.assert_array_equal(kdb.SPPF(pool_size=3, num_pools=4)(x), kdb.SPP((3, 5, 7, 9))(x))


def test_pools_against_numpy():
    x = random_map(1, 9, 7, 2)
    y = np.asarray(kdb.SPP((3, 5))(x))
    np.testing.assert_array_equal(y[..., :2], x)
    for k, part in ((3, y[..., 2:4]), (5, y[..., 4:])):
        r = k // 2
        padded = np.pad(x, [(0, 0), (r, r), (r, r), (0, 0)], constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))
        np.testing.assert_array_equal(part, windows.max(axis=(-1, -2)))


def test_darknet_order():
    x = random_map(1, 6, 8, 3)
    small, large = np.split(kdb.SPP()(x), 4, axis=-1), np.split(kdb.SPP(largest_first=True)(x), 4, axis=-1)
    np.testing.assert_array_equal(small[::-1], large)


def test_yolox_names():
    layer = kdb.SPPF(8)
    layer.build((None, 5, 5, 4))
    rng = np.random.default_rng(0)
    params = {"conv1.conv.weight": rng.normal(size=(2, 4, 1, 1)), "conv2.conv.weight": rng.normal(size=(8, 8, 1, 1))}
    for unit, width in (("conv1", 2), ("conv2", 8)):
        params |= {f"{unit}.bn.{key}": rng.normal(size=width) for key in ("weight", "bias", "running_mean", "running_var")}
    assert kdb.weights.load(layer, params) == "YOLOX, mmdetection"


def numpy_conv(x, kernel):
    r = kernel.shape[0] // 2
    padded = np.pad(x, [(0, 0), (r, r), (r, r), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
    return np.einsum("bhwcij,ijco->bhwo", windows, kernel)


def test_sppcsp_by_hand():
    """The figure of YOLOv7's SPPCSPC, computed in NumPy from the weights under its key names."""
    c, filters = 6, 4
    widths = {1: (c, 1), 2: (c, 1), 3: (filters, 3), 4: (filters, 1), 5: (4 * filters, 1), 6: (filters, 3), 7: (2 * filters, 1)}
    rng = np.random.default_rng(0)
    params = {f"cv{i}.conv.weight": rng.normal(size=(filters, n, k, k)) for i, (n, k) in widths.items()}
    for i in widths:
        params |= {f"cv{i}.bn.{key}": np.ones(filters) for key in ("weight", "running_var")}
        params |= {f"cv{i}.bn.{key}": np.zeros(filters) for key in ("bias", "running_mean")}

    def unit(i, x):
        x = numpy_conv(x, params[f"cv{i}.conv.weight"].transpose(2, 3, 1, 0)) / np.sqrt(1 + 1e-5)
        return x / (1 + np.exp(-x))

    x = random_map(1, 7, 5, c)
    layer = kdb.SPPCSP(filters)
    layer.build(x.shape)
    assert kdb.weights.load(layer, params) == "YOLOv7"
    deep = unit(4, unit(3, unit(1, x)))
    deep = unit(6, unit(5, np.asarray(kdb.SPP()(deep))))
    expected = unit(7, np.concatenate([deep, unit(2, x)], axis=-1))
    np.testing.assert_allclose(layer(x), expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("name", ["sppnet_vector_1236_13x13", "sppnet_vector_1236_10x14"])
def test_sppnet_golden(name):
    g = golden.load(GOLDENS / f"{name}.npz")
    x = g.inputs()["x"].transpose(0, 2, 3, 1)
    layer = kdb.SpatialPyramidPooling((1, 2, 3, 6), flatten=False)
    parts = np.split(np.asarray(layer(x)), np.cumsum([1, 4, 9]), axis=1)
    parts = [part.reshape(2, n, n, -1).transpose(0, 3, 1, 2) for n, part in zip((1, 2, 3, 6), parts)]
    for n, part in zip((1, 2, 3, 6), parts):
        assert g.check(f"bin{n}", part) == 0.0
    assert g.check("vector", np.concatenate([part.reshape(2, -1) for part in parts], axis=1)) == 0.0


def edges(a, n, form):
    for j in range(n):
        if form == "adaptive":
            yield int(np.floor(j * a / n)), int(np.ceil((j + 1) * a / n))
        else:
            start = j * int(np.floor(a / n))
            yield start, start + int(np.ceil(a / n))


@pytest.mark.parametrize("form", ["adaptive", "window"])
@pytest.mark.parametrize("mode", ["max", "average"])
def test_sppnet_against_numpy(form, mode):
    """Every bin of every size, static and dynamic; the length is fixed, even where the window rule gives more than n windows."""
    layer = kdb.SpatialPyramidPooling((1, 2, 3, 6), mode=mode, form=form)
    dynamic = kdb.as_model(layer, (None, None, 2))
    reduce = np.max if mode == "max" else np.mean
    for height, width in ((6, 6), (8, 11), (12, 18), (23, 7)):
        x = random_map(1, height, width, 2)
        bins = [
            reduce(x[:, a:b, c:d], axis=(1, 2))
            for n in (1, 2, 3, 6)
            for a, b in edges(height, n, form)
            for c, d in edges(width, n, form)
        ]
        np.testing.assert_allclose(layer(x), np.concatenate(bins, axis=1), atol=1e-6)
        np.testing.assert_allclose(dynamic(x), np.concatenate(bins, axis=1), atol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.SPP(()), "pool_sizes"),
        (lambda: kdb.SPP((4,)), "odd"),
        (lambda: kdb.SPP(filters=0), "filters"),
        (lambda: kdb.SPP(hidden_filters=4), "needs `filters`"),
        (lambda: kdb.SPPF(-3), "filters"),
        (lambda: kdb.SPPF(pool_size=2), "pool_size"),
        (lambda: kdb.SPPF(num_pools=0), "num_pools"),
        (lambda: kdb.SPPCSP(0), "filters"),
        (lambda: kdb.SPPCSP(4)(keras.ops.ones((8, 8, 4))), "batch, height, width, channels"),
        (lambda: kdb.SPP()(keras.ops.ones((8, 8, 4))), "batch, height, width, channels"),
        (lambda: kdb.SPPF(4)({"P5": keras.ops.ones((1, 8, 8, 4))}), "one layer to each level"),
        (lambda: kdb.SpatialPyramidPooling((0, 1)), "bins"),
        (lambda: kdb.SpatialPyramidPooling(mode="sum"), "mode"),
        (lambda: kdb.SpatialPyramidPooling(form="caffe"), "form"),
        (lambda: kdb.SpatialPyramidPooling((1, 6))(keras.ops.ones((1, 8, 5, 4))), "at least 6 by 6"),
        (lambda: kdb.SpatialPyramidPooling()(keras.ops.ones((8, 5, 4))), "batch, height, width, channels"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_later_call_is_checked_too():
    layer = kdb.SpatialPyramidPooling((1, 6))
    layer(keras.ops.ones((1, 8, 8, 4)))
    with pytest.raises(ValueError, match="at least 6 by 6"):
        layer(keras.ops.ones((1, 8, 5, 4)))
