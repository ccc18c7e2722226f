import json

import golden
import keras
import numpy as np
import pytest
import tensorflow as tf
from context_golden import GOLDENS, check_golden, pyramid, random_map

import keras_detblocks as kdb


@pytest.mark.parametrize(
    "name, filters", [("spp_yolo_13x13", 40), ("spp_yolo_25x21", 32), ("spp_pool_13x13", None)]
)
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
    small, large = (
        np.split(kdb.SPP()(x), 4, axis=-1),
        np.split(kdb.SPP(largest_first=True)(x), 4, axis=-1),
    )
    np.testing.assert_array_equal(small[::-1], large)


@pytest.mark.parametrize(
    "make, kernel", [(kdb.SPP, "project"), (kdb.SPPF, "project"), (kdb.SPPCSP, "after")]
)
def test_largest_first_is_a_permutation_of_the_next_kernel(make, kernel):
    """A 1x1 kernel trained behind Darknet's order, its blocks of rows reversed, fits the other
    order."""
    x = random_map(2, 9, 7, 6)
    ours, darknet = make(filters=8), make(filters=8, largest_first=True)
    for layer in (ours, darknet):
        layer.build(x.shape)
    for variable, other in zip(darknet.weights, ours.weights):
        variable.assign(other)
    assert np.abs(np.asarray(darknet(x)) - np.asarray(ours(x))).max() > 0.01
    behind = darknet.after[0] if kernel == "after" else darknet.project
    blocks = np.split(np.asarray(behind.conv.kernel), 4, axis=2)
    behind.conv.kernel.assign(np.concatenate(blocks[::-1], axis=2))
    np.testing.assert_allclose(darknet(x), ours(x), atol=1e-5)
    assert not ours.get_config()["largest_first"] and darknet.get_config()["largest_first"]
    again = make.from_config(darknet.get_config())
    assert again.get_config() == darknet.get_config()


def test_sppf_and_spp_have_one_order():
    x = random_map(1, 6, 8, 3)
    np.testing.assert_array_equal(kdb.SPPF(largest_first=True)(x), kdb.SPP(largest_first=True)(x))
    pool13, pool9, pool5, same = np.split(np.asarray(kdb.SPPF(largest_first=True)(x)), 4, axis=-1)
    np.testing.assert_array_equal(same, x)
    assert (
        (pool13 >= pool9).all()
        and (pool9 >= pool5).all()
        and (pool5 >= x).all()
        and (pool9 > pool5).any()
    )


@pytest.mark.parametrize("form", [kdb.SPP, kdb.SPPF])
def test_activations_and_epsilon_by_hand(form):
    """The convolution before the pools has its own activation, both have the epsilon."""
    x, epsilon = random_map(1, 6, 8, 4), 0.25
    layer = form(
        filters=3, hidden_filters=5, activation="relu6", hidden_activation="tanh", epsilon=epsilon
    )
    layer(x)

    def unit(unit, x):
        return numpy_conv(x, np.asarray(unit.conv.kernel)) / np.sqrt(1 + epsilon)

    hidden = np.tanh(unit(layer.reduce, x))
    expected = np.clip(unit(layer.project, np.asarray(kdb.SPP()(hidden))), 0, 6)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    linear = form(filters=3, hidden_activation=None)
    linear(x)
    assert linear.reduce.act is None and linear.project.act is not None


def test_numpy_ints_are_ints():
    layer = kdb.SPP((np.int64(3), np.int32(5)))
    assert layer.get_config()["pool_sizes"] == (3, 5)
    assert json.dumps(layer.get_config()["pool_sizes"]) == "[3, 5]"
    assert kdb.SpatialPyramidPooling(np.array([1, 2])).bins == (1, 2)


def test_yolox_names():
    layer = kdb.SPPF(8)
    layer.build((None, 5, 5, 4))
    rng = np.random.default_rng(0)
    params = {
        "conv1.conv.weight": rng.normal(size=(2, 4, 1, 1)),
        "conv2.conv.weight": rng.normal(size=(8, 8, 1, 1)),
    }
    for unit, width in (("conv1", 2), ("conv2", 8)):
        params |= {
            f"{unit}.bn.{key}": rng.normal(size=width)
            for key in ("weight", "bias", "running_mean", "running_var")
        }
    assert kdb.weights.load(layer, params) == "YOLOX, mmdetection"


def numpy_conv(x, kernel):
    r = kernel.shape[0] // 2
    padded = np.pad(x, [(0, 0), (r, r), (r, r), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
    return np.einsum("bhwcij,ijco->bhwo", windows, kernel)


def test_sppcsp_by_hand():
    """The figure of YOLOv7's SPPCSPC, computed in NumPy from the weights under its key names."""
    c, filters = 6, 4
    widths = {
        1: (c, 1),
        2: (c, 1),
        3: (filters, 3),
        4: (filters, 1),
        5: (4 * filters, 1),
        6: (filters, 3),
        7: (2 * filters, 1),
    }
    rng = np.random.default_rng(0)
    params = {
        f"cv{i}.conv.weight": rng.normal(size=(filters, n, k, k)) for i, (n, k) in widths.items()
    }
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
    parts = [
        part.reshape(2, n, n, -1).transpose(0, 3, 1, 2) for n, part in zip((1, 2, 3, 6), parts)
    ]
    for n, part in zip((1, 2, 3, 6), parts):
        assert g.check(f"bin{n}", part) == 0.0
    assert g.check("vector", np.concatenate([part.reshape(2, -1) for part in parts], axis=1)) == 0.0


@pytest.mark.parametrize("form", ["adaptive", "window"])
@pytest.mark.parametrize("mode", ["max", "average"])
def test_sppnet_against_numpy(form, mode):
    """Every bin of every size, static and dynamic; the length is fixed, even where the window rule
    gives more than n windows."""
    layer = kdb.SpatialPyramidPooling((1, 2, 3, 6), mode=mode, form=form)
    dynamic = kdb.as_model(layer, (None, None, 2))
    reduce = np.max if mode == "max" else np.mean
    for height, width in ((6, 6), (8, 11), (12, 18), (23, 7)):
        x = random_map(1, height, width, 2)
        expected = pyramid(x, (1, 2, 3, 6), form, reduce)
        np.testing.assert_allclose(layer(x), expected, atol=1e-6)
        np.testing.assert_allclose(dynamic(x), expected, atol=1e-6)


def test_sppnet_oracle_on_every_height():
    """All heights up to 40: as many bins as asked for, and PyTorch's adaptive edges, written here
    as sets of covered rows."""
    layer = kdb.SpatialPyramidPooling((1, 2, 3, 6), flatten=False)
    for height in range(6, 41):
        for width in (6, 13):
            x = random_map(1, height, width, 2, seed=height)
            got, at = np.asarray(layer(x)), 0
            for n in (1, 2, 3, 6):
                # Row r belongs to bin j where the intervals [r, r + 1) and [j * a / n, (j + 1) * a
                # / n) meet; in integers.
                rows, columns = (
                    [
                        [r for r in range(a) if r * n < (j + 1) * a and (r + 1) * n > j * a]
                        for j in range(n)
                    ]
                    for a in (height, width)
                )
                bins = [
                    x[0][np.ix_(row, column)].max(axis=(0, 1)) for row in rows for column in columns
                ]
                np.testing.assert_array_equal(
                    got[0, at : at + n * n], bins, err_msg=f"{height}x{width}, {n} bins"
                )
                at += n * n
            assert at == got.shape[1]


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5])
def test_sppnet_refuses_static_heights_below_the_bins(height):
    with pytest.raises(ValueError, match="at least 6 by 6"):
        kdb.SpatialPyramidPooling((1, 2, 3, 6))(random_map(1, height, 8, 2))


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("form", ["adaptive", "window"])
def test_dynamic_sides_below_the_bins_overlap(form, mode):
    """A graph of dynamic size cannot refuse a small map: the adaptive edges, which are never empty,
    hold for it in both forms."""
    layer = kdb.SpatialPyramidPooling((1, 3, 6), mode=mode, form=form)
    graph = tf.function(
        layer, input_signature=[tf.TensorSpec((None, None, None, 2))]
    ).get_concrete_function()
    reduce = np.max if mode == "max" else np.mean
    for size in ((1, 1), (2, 5), (4, 9), (11, 2)):
        x = random_map(2, *size, 2)
        np.testing.assert_allclose(
            graph(tf.constant(x)), pyramid(x, (1, 3, 6), form, reduce), atol=1e-6
        )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.SPP(()), "pool_sizes"),
        (lambda: kdb.SPP((True,)), "pool_sizes"),
        (lambda: kdb.SPP(5), "pool_sizes"),
        (lambda: kdb.SPPF(4, epsilon=-1), "epsilon"),
        (lambda: kdb.SPPF(4, epsilon="small"), "epsilon"),
        (lambda: kdb.SPPCSP(4, epsilon=0), "epsilon"),
        (lambda: kdb.SPPCSP(4, pool_size=4), "pool_size. must be an odd int"),
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
        (
            lambda: kdb.SpatialPyramidPooling((1, 6))(keras.ops.ones((1, 8, 5, 4))),
            "at least 6 by 6",
        ),
        (
            lambda: kdb.SpatialPyramidPooling()(keras.ops.ones((8, 5, 4))),
            "batch, height, width, channels",
        ),
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
