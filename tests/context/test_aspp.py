import keras
import numpy as np
import pytest
import tensorflow as tf
from context_golden import check_golden, random_map

import keras_detblocks as kdb


@pytest.mark.parametrize(
    "name, layer",
    [
        ("aspp_v3_r12_24_36_41x33", lambda: kdb.ASPP(32, rates=(12, 24, 36), dropout=0.5)),
        ("aspp_v3_r6_12_18_28x28", lambda: kdb.ASPP(24)),
        ("aspp_v2_r6_12_18_24_41x33", lambda: kdb.ASPP(21, rates=(6, 12, 18, 24), merge="sum")),
    ],
)
def test_golden(name, layer):
    assert check_golden(layer(), name) < 1e-4


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (dict(), 15_535_104),
        (dict(separable=True), 3_019_776),
        (dict(filters=21, rates=(6, 12, 18, 24), merge="sum"), 1_548_372),
    ],
)
def test_parameter_counts(arguments, expected):
    """By arithmetic from the papers, for ResNet's 2048 channels."""
    layer = kdb.ASPP(**arguments)
    layer.build((None, None, None, 2048))
    assert sum(int(np.prod(w.shape)) for w in layer.trainable_weights) == expected


def norm(name, width, rng, keys=("weight", "bias", "running_mean", "running_var")):
    return {f"{name}.{key}": rng.uniform(0.5, 1.5, size=width).astype("float32") for key in keys}


def torchvision_weights(channels, filters, rates, rng):
    params = {}
    for i, kernel in enumerate([1, *(3 for _ in rates)]):
        params[f"convs.{i}.0.weight"] = rng.normal(size=(filters, channels, kernel, kernel)).astype(
            "float32"
        )
        params |= norm(f"convs.{i}.1", filters, rng)
    last = len(rates) + 1
    params[f"convs.{last}.1.weight"] = rng.normal(size=(filters, channels, 1, 1)).astype("float32")
    params |= norm(f"convs.{last}.2", filters, rng)
    params["project.0.weight"] = rng.normal(size=(filters, (last + 1) * filters, 1, 1)).astype(
        "float32"
    )
    return params | norm("project.1", filters, rng)


def as_tensorflow(params, rates, filters):
    """The same weights under TF DeepLab's names, in its order: the image pooling comes first in the
    concatenation."""
    units = {f"convs.{i}": (f"aspp{i}", "0", "1") for i in range(len(rates) + 1)}
    units |= {
        f"convs.{len(rates) + 1}": ("image_pooling", "1", "2"),
        "project": ("concat_projection", "0", "1"),
    }
    kinds = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    renamed = {}
    for ours, (theirs, conv, bn) in units.items():
        kernel = params[f"{ours}.{conv}.weight"].transpose(2, 3, 1, 0)
        if ours == "project":
            kernel = np.concatenate([kernel[:, :, -filters:], kernel[:, :, :-filters]], axis=2)
        renamed[f"{theirs}/weights"] = kernel
        renamed |= {
            f"{theirs}/BatchNorm/{kind}": params[f"{ours}.{bn}.{key}"]
            for key, kind in kinds.items()
        }
    return renamed


def test_tensorflow_checkpoints_are_permuted():
    rates, rng = (2, 3), np.random.default_rng(0)
    params = torchvision_weights(5, 4, rates, rng)
    x = random_map(1, 9, 7, 5)
    outputs = {}
    for source in (params, as_tensorflow(params, rates, 4)):
        layer = kdb.ASPP(4, rates=rates)
        layer.build(x.shape)
        name = kdb.weights.load(layer, source)
        outputs[name] = np.asarray(layer(x))
    assert list(outputs) == ["torchvision", "TensorFlow DeepLab"]
    np.testing.assert_allclose(*outputs.values(), atol=1e-5)


def test_other_names():
    rng = np.random.default_rng(0)
    rates, params = (2, 3), torchvision_weights(5, 4, (2, 3), np.random.default_rng(0))
    detectron2 = {}
    for i in range(3):
        detectron2 |= {
            f"convs.{i}.weight": params[f"convs.{i}.0.weight"],
            **norm(f"convs.{i}.norm", 4, rng),
        }
    detectron2 |= {
        "convs.3.1.weight": params["convs.3.1.weight"],
        "convs.3.1.bias": rng.normal(size=4),
    }
    detectron2 |= {"project.weight": params["project.0.weight"], **norm("project.norm", 4, rng)}
    layer = kdb.ASPP(4, rates=rates, pool_normalization=None)
    layer.build((None, None, None, 5))
    assert kdb.weights.load(layer, detectron2) == "detectron2"
    kazuto = {}
    units = {f"convs.{i}.0": f"aspp.stages.c{i}" for i in range(3)}
    units |= {"convs.3.1": "aspp.stages.imagepool.conv", "project.0": "fc1"}
    for ours, theirs in units.items():
        kazuto |= {
            f"{theirs}.conv.weight": params[f"{ours}.weight"],
            **norm(f"{theirs}.bn", 4, rng),
        }
    layer = kdb.ASPP(4, rates=rates)
    layer.build((None, None, None, 5))
    assert kdb.weights.load(layer, kazuto) == "kazuto1011 v3"


NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def tensorflow_units(channels, filters, rates, rng, separable=True, pool_bias=False):
    """Random weights of DeepLab's units in TensorFlow's order: kernel and normalization, or kernel
    and bias."""

    def unit(*shape, depthwise=False):
        width = shape[2] if depthwise else shape[3]
        kernel = rng.normal(size=shape) / np.sqrt(np.prod(shape[:2] if depthwise else shape[:3]))
        return {"kernel": kernel, **{key: rng.uniform(0.5, 1.5, size=width) for key in NORM}}

    units = {"image_pooling": unit(1, 1, channels, filters), "aspp0": unit(1, 1, channels, filters)}
    for i in range(1, 1 + len(rates)):
        if separable:
            units[f"aspp{i}_depthwise"] = unit(3, 3, channels, 1, depthwise=True)
        units[f"aspp{i}_pointwise" if separable else f"aspp{i}"] = unit(
            *((1, 1) if separable else (3, 3)), channels, filters
        )
    units["concat_projection"] = unit(1, 1, (2 + len(rates)) * filters, filters)
    if pool_bias:
        units["image_pooling"] = {
            "kernel": units["image_pooling"]["kernel"],
            "bias": rng.normal(size=filters),
        }
    return {
        name: {key: array.astype("float32") for key, array in unit.items()}
        for name, unit in units.items()
    }


def deeplab(x, units, rates):
    """The separable form in plain operators: each convolution with its normalization (or bias) and
    a ReLU."""

    def after(y, unit):
        if "bias" in unit:
            return tf.nn.relu(y + unit["bias"])
        scale = unit["gamma"] / np.sqrt(unit["moving_variance"] + 1e-5)
        return tf.nn.relu(y * scale + (unit["beta"] - unit["moving_mean"] * scale))

    def conv(y, name):
        return after(tf.nn.conv2d(y, units[name]["kernel"], 1, "SAME"), units[name])

    maps = [
        conv(tf.reduce_mean(x, (1, 2), keepdims=True), "image_pooling")
        + tf.zeros((*x.shape[:3], 1)),
        conv(x, "aspp0"),
    ]
    for i, rate in enumerate(rates, 1):
        unit = units[f"aspp{i}_depthwise"]
        y = after(
            tf.nn.depthwise_conv2d(x, unit["kernel"], (1, 1, 1, 1), "SAME", dilations=(rate, rate)),
            unit,
        )
        maps.append(conv(y, f"aspp{i}_pointwise"))
    return conv(tf.concat(maps, -1), "concat_projection").numpy()


def slim_names(units):
    """The names of TF DeepLab's checkpoints."""
    named = {}
    for name, unit in units.items():
        kernel = "depthwise_weights" if name.endswith("depthwise") else "weights"
        named |= {
            f"{name}/{kernel}": unit["kernel"],
            **{f"{name}/BatchNorm/{key}": unit[key] for key in NORM},
        }
    return named


def keras_names(units):
    """The variables of bonlime's layers."""
    named = {}
    for name, unit in units.items():
        kernel = "depthwise_kernel" if name.endswith("depthwise") else "kernel"
        named |= {
            f"{name}/{kernel}": unit["kernel"],
            **{f"{name}_BN/{key}": unit[key] for key in NORM},
        }
    return named


def detectron2_names(units):
    """PyTorch's order, the image pooling last and with a bias, the norm within the convolution."""
    keys = dict(zip(("weight", "bias", "running_mean", "running_var"), NORM))
    last = sum(name.endswith("pointwise") for name in units) + 1
    filters = units["aspp0"]["kernel"].shape[3]
    named = {}
    for name, unit in units.items():
        branch, _, kind = name.partition("_")
        theirs = {"image_pooling": f"convs.{last}.1", "concat_projection": "project"}.get(
            name, f"convs.{branch[4:]}"
        )
        theirs += f".{kind}" if branch.startswith("aspp") and kind else ""
        kernel = unit["kernel"]
        if name == "concat_projection":
            kernel = np.concatenate([kernel[:, :, filters:], kernel[:, :, :filters]], axis=2)
        named[f"{theirs}.weight"] = kernel.transpose(
            (2, 3, 0, 1) if kind == "depthwise" else (3, 2, 0, 1)
        )
        norm = {f"{theirs}.norm.{key}": unit[ours] for key, ours in keys.items() if ours in unit}
        named |= norm or {f"{theirs}.bias": unit["bias"]}
    return named


@pytest.mark.parametrize(
    "rename, name, pool",
    [
        (slim_names, "TensorFlow DeepLab", "batch"),
        (keras_names, "bonlime", "batch"),
        (
            lambda units: {f"{key}:0": value for key, value in keras_names(units).items()},
            "bonlime",
            "batch",
        ),
        (detectron2_names, "detectron2", None),
    ],
    ids=["tensorflow", "bonlime", "bonlime_tf1", "detectron2"],
)
def test_separable_under_the_names_of(rename, name, pool):
    """Loaded under a reference's names, the layer gives the numbers of plain operators on the same
    weights."""
    rates, x = (2, 3), random_map(2, 9, 7, 5)
    units = tensorflow_units(5, 4, rates, np.random.default_rng(0), pool_bias=pool is None)
    layer = kdb.ASPP(4, rates, separable=True, pool_normalization=pool)
    layer.build(x.shape)
    assert kdb.weights.load(layer, rename(units)) == name
    expected = deeplab(x, units, rates)
    assert (expected > 0).mean() > 0.2
    np.testing.assert_allclose(layer(x), expected, atol=1e-4 * expected.std())


def test_mobile_form_has_the_1x1_and_the_image_pooling_alone():
    x, rng = random_map(2, 9, 7, 5), np.random.default_rng(0)
    units = tensorflow_units(5, 4, (), rng)
    layer = kdb.ASPP(4, rates=())
    layer.build(x.shape)
    assert kdb.weights.load(layer, keras_names(units)) == "bonlime"
    expected = deeplab(x, units, ())
    np.testing.assert_allclose(layer(x), expected, atol=1e-4 * expected.std())


@pytest.mark.parametrize("start", ["c", "aspp.c", "base.aspp.c"])
def test_kazuto_v2_names(start):
    rng, x = np.random.default_rng(0), random_map(1, 9, 7, 5)
    params = {}
    for i in range(2):
        params |= {
            f"{start}{i}.weight": rng.normal(size=(3, 5, 3, 3)),
            f"{start}{i}.bias": rng.normal(size=3),
        }
    layer = kdb.ASPP(3, rates=(2, 4), merge="sum")
    layer.build(x.shape)
    assert kdb.weights.load(layer, params) == "kazuto1011 v2"
    kernels = [
        params[f"{start}{i}.weight"].astype("float32").transpose(2, 3, 1, 0) for i in range(2)
    ]
    expected = sum(
        tf.nn.conv2d(x, k, 1, "SAME", dilations=r).numpy() for k, r in zip(kernels, (2, 4))
    )
    expected += params[f"{start}0.bias"] + params[f"{start}1.bias"]
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)


@pytest.mark.parametrize(
    "arguments, rates",
    [
        (dict(), (6, 12, 18)),
        (dict(output_stride=16), (6, 12, 18)),
        (dict(output_stride=8), (12, 24, 36)),
        (dict(rates=[3, 6]), (3, 6)),
        (dict(rates=()), ()),
        (dict(merge="sum"), (6, 12, 18)),
    ],
)
def test_rates(arguments, rates):
    """The paper's by output stride (arXiv:1706.05587, section 4), or the given ones; the config is
    what was passed."""
    layer = kdb.ASPP(4, **arguments)
    layer.build((None, None, None, 5))
    dilations = [branch[0].conv.dilation_rate for branch in layer.branches]
    assert dilations[len(dilations) - len(rates) :] == [(rate, rate) for rate in rates]
    assert len(dilations) == len(rates) + (layer.merge == "concat")
    config = layer.get_config()
    assert config["rates"] == (tuple(arguments["rates"]) if "rates" in arguments else None)
    assert config["output_stride"] == arguments.get("output_stride")
    assert kdb.ASPP.from_config(config).get_config() == config


def test_v2_starts_as_the_authors_code():
    """Normal with deviation 0.01 and no bias: the branches are classifiers, and their sum starts
    near zero."""
    layer = kdb.ASPP(21, rates=(6, 12), merge="sum")
    layer.build((None, None, None, 256))
    for (unit,) in layer.branches:
        kernel = np.asarray(unit.conv.kernel)
        assert abs(kernel.std() - 0.01) < 2e-4 and abs(kernel.mean()) < 2e-4  # of 48,384 numbers
        # Normal, neither uniform nor truncated at two deviations.
        assert np.abs(kernel).max() > 0.03
        assert not np.asarray(unit.conv.bias).any()


def test_dropout_is_of_training_alone():
    x = random_map(4, 9, 7, 5)
    layer = kdb.ASPP(16, rates=(2,), dropout=0.75)
    np.testing.assert_allclose(layer(x), layer(x, training=False), atol=1e-6)
    with_it, without = layer(x, training=True), kdb.ASPP(16, rates=(2,), dropout=0.0)
    without.build(x.shape)
    for variable, other in zip(without.weights, layer.weights):
        variable.assign(other)
    positive = np.asarray(without(x, training=True)) > 0
    assert abs(float((np.asarray(with_it)[positive] > 0).mean()) - 0.25) < 0.05


def test_broadcast_equals_bilinear_resize():
    x = random_map(2, 11, 6, 5)
    layer = kdb.ASPP(4, rates=(1, 2), separable=True)
    layer(x)
    pooled = layer.image_pool(keras.ops.mean(keras.ops.array(x), axis=(1, 2), keepdims=True))
    maps = [x, x, x]
    for i, branch in enumerate(layer.branches):
        for unit in branch:
            maps[i] = unit(maps[i])
    resized = keras.ops.image.resize(pooled, (11, 6), interpolation="bilinear")
    expected = layer.project(keras.ops.concatenate([*maps, resized], axis=-1))
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_any_size():
    """Rates beyond the map, one pixel, static and dynamic."""
    layer = kdb.ASPP(4, rates=(3, 18))
    dynamic = kdb.as_model(layer, (None, None, 5))
    for size in ((1, 1), (5, 9), (20, 13)):
        x = random_map(1, *size, 5)
        np.testing.assert_allclose(dynamic(x), layer(x), atol=1e-5)


def test_training_mode_of_one_image_is_finite_and_inference_leaves_statistics():
    x = random_map(1, 6, 5, 5)
    layer = kdb.ASPP(4, rates=(1, 2))
    assert np.isfinite(layer(x, training=True)).all()
    before = [np.asarray(w).copy() for w in layer.non_trainable_weights]
    layer(x)
    for old, new in zip(before, layer.non_trainable_weights):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.ASPP(0), "filters"),
        (lambda: kdb.ASPP(8, rates=(6, -12)), "rates"),
        (lambda: kdb.ASPP(True), "filters"),
        (lambda: kdb.ASPP(8, rates=(), merge="sum"), "one or more ints"),
        (lambda: kdb.ASPP(8, rates=6), "rates"),
        (lambda: kdb.ASPP(8, output_stride=32), "must be 8, 16 or None"),
        (lambda: kdb.ASPP(8, (3, 6), output_stride=16), "`rates` must be None"),
        (lambda: kdb.ASPP(8, merge="sum", output_stride=16), "`merge` 'concat'"),
        (lambda: kdb.ASPP(8, merge="sum", separable=True), "use separable=False"),
        (lambda: kdb.ASPP(8, rates=(1.5,)), "rates"),
        (lambda: kdb.ASPP(8, merge="mean"), "merge"),
        (lambda: kdb.ASPP(8, pool_normalization="layer"), "pool_normalization"),
        (lambda: kdb.ASPP(8)(keras.ops.ones((8, 8, 4))), "batch, height, width, channels"),
        (lambda: kdb.ASPP(8)({"P5": keras.ops.ones((1, 8, 8, 4))}), "one layer to each level"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
