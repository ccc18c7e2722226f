import keras
import numpy as np
import pytest
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
        params[f"convs.{i}.0.weight"] = rng.normal(size=(filters, channels, kernel, kernel)).astype("float32")
        params |= norm(f"convs.{i}.1", filters, rng)
    last = len(rates) + 1
    params[f"convs.{last}.1.weight"] = rng.normal(size=(filters, channels, 1, 1)).astype("float32")
    params |= norm(f"convs.{last}.2", filters, rng)
    params["project.0.weight"] = rng.normal(size=(filters, (last + 1) * filters, 1, 1)).astype("float32")
    return params | norm("project.1", filters, rng)


def as_tensorflow(params, rates, filters):
    """The same weights under TF DeepLab's names, in its order: the image pooling comes first in the concatenation."""
    units = {f"convs.{i}": (f"aspp{i}", "0", "1") for i in range(len(rates) + 1)}
    units |= {f"convs.{len(rates) + 1}": ("image_pooling", "1", "2"), "project": ("concat_projection", "0", "1")}
    kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    renamed = {}
    for ours, (theirs, conv, bn) in units.items():
        kernel = params[f"{ours}.{conv}.weight"].transpose(2, 3, 1, 0)
        if ours == "project":
            kernel = np.concatenate([kernel[:, :, -filters:], kernel[:, :, :-filters]], axis=2)
        renamed[f"{theirs}/weights"] = kernel
        renamed |= {f"{theirs}/BatchNorm/{kind}": params[f"{ours}.{bn}.{key}"] for key, kind in kinds.items()}
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
    np.testing.assert_array_equal(*outputs.values())


def test_other_names():
    rng = np.random.default_rng(0)
    rates, params = (2, 3), torchvision_weights(5, 4, (2, 3), np.random.default_rng(0))
    detectron2 = {}
    for i in range(3):
        detectron2 |= {f"convs.{i}.weight": params[f"convs.{i}.0.weight"], **norm(f"convs.{i}.norm", 4, rng)}
    detectron2 |= {"convs.3.1.weight": params["convs.3.1.weight"], "convs.3.1.bias": rng.normal(size=4)}
    detectron2 |= {"project.weight": params["project.0.weight"], **norm("project.norm", 4, rng)}
    layer = kdb.ASPP(4, rates=rates, pool_normalization=None)
    layer.build((None, None, None, 5))
    assert kdb.weights.load(layer, detectron2) == "detectron2"
    kazuto = {}
    units = {f"convs.{i}.0": f"aspp.stages.c{i}" for i in range(3)}
    units |= {"convs.3.1": "aspp.stages.imagepool.conv", "project.0": "fc1"}
    for ours, theirs in units.items():
        kazuto |= {f"{theirs}.conv.weight": params[f"{ours}.weight"], **norm(f"{theirs}.bn", 4, rng)}
    layer = kdb.ASPP(4, rates=rates)
    layer.build((None, None, None, 5))
    assert kdb.weights.load(layer, kazuto) == "kazuto1011 v3"


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
        (lambda: kdb.ASPP(8, rates=()), "rates"),
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
