"""Weights of backbones: layouts, files, adaptation, errors. The tensors are drawn here; nothing is
downloaded."""

import dataclasses
import functools
import json
import re
import warnings

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_detblocks as kdb
from keras_detblocks.backbones import anynet

SPEC = kdb.AnyNetSpec((1, 2), (16, 24), (1, 1), (8, 8), se_ratio=0.25, stem_width=8)
SHAPE = (32, 32, 3)


def build(**arguments):
    return kdb.AnyNet(SPEC, **{**dict(input_shape=SHAPE, classes=5), **arguments})


def state(layout="timm", model=None):
    """Random weights of the net under a reference's key names, written out by hand here rather than
    by our tables."""
    rng = np.random.default_rng(0)
    tensors = {}
    variables = _shapes() if model is None else [(v.path, tuple(v.shape)) for v in model.weights]
    for path, shape in variables:
        key = KEYS[layout](path)
        shape = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]
        tensors[key] = rng.uniform(0.5, 1.0, shape).astype("float32")
    return tensors


@functools.cache
def _shapes():
    return [(variable.path, tuple(variable.shape)) for variable in build().weights]


SUFFIX = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def timm(path):
    layer, *inner, name = path.split("/")
    layer = "head.fc" if layer == "predictions" else layer.replace("_", ".")
    return ".".join([layer, *inner, SUFFIX.get(name, name)])


def torchvision(path):
    key = timm(path)
    key = re.sub(r"^stem\.conv", "stem.0", re.sub(r"^stem\.bn", "stem.1", key))
    key = re.sub(r"^head\.", "", key)
    found = re.match(r"s(\d)\.b(\d)\.(conv\d|downsample|se)\.(conv|bn|fc\d)\.(.*)", key)
    if not found:
        return key
    s, b, part, kind, rest = found.groups()
    names = {"conv1": "f.a", "conv2": "f.b", "conv3": "f.c", "downsample": "proj", "se": "f.se"}
    kind = dict(conv=0, bn=1).get(kind, kind)
    return f"trunk_output.block{s}.block{s}-{int(b) - 1}.{names[part]}.{kind}.{rest}"


def pycls(path):
    found = re.match(r"s(\d)\.b(\d)\.(conv\d|downsample|se)\.(conv|bn|fc\d)\.(.*)", timm(path))
    if not found:
        return timm(path)
    s, b, part, kind, rest = found.groups()
    if part == "se":
        return f"s{s}.b{b}.f.se.f_ex.{dict(fc1=0, fc2=2)[kind]}.{rest}"
    if part == "downsample":
        return f"s{s}.b{b}.{dict(conv='proj', bn='bn')[kind]}.{rest}"
    return f"s{s}.b{b}.f.{'abc'[int(part[-1]) - 1]}{'_bn' if kind == 'bn' else ''}.{rest}"


KEYS = {"timm": timm, "torchvision": torchvision, "pycls": pycls}


@pytest.fixture(scope="module")
def reference():
    return build(weights=state())


def same(a, b):
    for u, v in zip(a.weights, b.weights):
        np.testing.assert_array_equal(u, v)


@pytest.mark.parametrize("layout", ["torchvision", "pycls"])
def test_other_layouts_by_their_keys(layout, reference):
    known = state()
    tensors = {KEYS[layout](v.path): known[timm(v.path)] for v in reference.weights}
    if layout == "pycls":  # BGR, nested beside the optimizer's state
        tensors["stem.conv.weight"] = tensors["stem.conv.weight"][:, ::-1]
        tensors = {"model_state": tensors, "epoch": 99}
    same(build(weights=tensors), reference)


def test_safetensors_file_with_counters_and_settings(tmp_path, reference):
    tensors = {**state(), "stem.bn.num_batches_tracked": np.array(7)}
    save_file(tensors, tmp_path / "model.safetensors")
    settings = dict(
        mean=[0.5, 0.4, 0.3],
        std=[0.2, 0.2, 0.1],
        crop_pct=0.95,
        interpolation="bicubic",
        tag="x_in1k",
    )
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "net", "pretrained_cfg": settings})
    )
    model = build(weights=tmp_path / "model.safetensors")
    same(model, reference)
    model.save(tmp_path / "net.keras")
    found = kdb.evaluation_settings(keras.models.load_model(tmp_path / "net.keras"))
    assert (
        found["crop_pct"] == 0.95
        and found["interpolation"] == "bicubic"
        and found["tag"] == "x_in1k"
    )
    np.testing.assert_allclose(found["mean"], (127.5, 102.0, 76.5))
    np.testing.assert_allclose(found["std"], (51.0, 51.0, 25.5))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files(tmp_path, dtype):
    import ml_dtypes

    kind = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[dtype]
    save_file({k: v.astype(kind) for k, v in state().items()}, tmp_path / "w.safetensors")
    kernel = build(weights=tmp_path / "w.safetensors").get_layer("predictions").kernel
    np.testing.assert_allclose(kernel, state()["head.fc.weight"].T, rtol=1e-2)


@pytest.mark.parametrize("ending", ["net.weights.h5", "net.keras"])
def test_keras_files(tmp_path, ending, reference):
    path = tmp_path / ending
    reference.save(path) if ending.endswith("keras") else reference.save_weights(path)
    same(build(weights=str(path)), reference)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A net with settings and drop path, and the path of its `.keras` file."""
    folder = tmp_path_factory.mktemp("saved")
    save_file(state(), folder / "model.safetensors")
    settings = dict(mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.1], interpolation="bicubic")
    (folder / "config.json").write_text(
        json.dumps({"architecture": "net", "pretrained_cfg": settings})
    )
    source = build(weights=folder / "model.safetensors", drop_path_rate=0.2)
    source.save(folder / "net.keras")
    source.save_weights(folder / "net.weights.h5")
    return source, folder / "net.keras"


def test_a_keras_file_brings_its_normalization(saved):
    source, path = saved
    again = build(weights=path)
    same(again, source)
    found, expected = kdb.evaluation_settings(again), kdb.evaluation_settings(source)
    np.testing.assert_allclose(found["mean"], expected["mean"])
    np.testing.assert_allclose(found["std"], expected["std"])
    assert found["interpolation"] == "bicubic"


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_keras_files_of_nets_with_another_drop_path(saved, ending, rate):
    source, path = saved
    same(build(weights=str(path).replace(".keras", ending), drop_path_rate=rate), source)


def test_a_keras_file_into_parts_of_the_net(saved):
    source, path = saved
    for arguments in (dict(levels=(2,)), dict(levels=(2, 3), output_stride=8), dict(pooling="avg")):
        part = kdb.AnyNet(SPEC, include_top=False, weights=path, **arguments)
        known = {v.path: v for v in source.weights}
        for variable in part.weights:
            if "seed_generator" not in variable.path:
                np.testing.assert_array_equal(variable, known[variable.path])


def test_a_keras_file_with_other_classes_and_channels(saved):
    source, path = saved
    with pytest.warns(UserWarning) as caught:
        model = build(weights=path, classes=3, input_shape=(32, 32, 1))
    assert sorted(str(w.message)[:24] for w in caught) == [
        "The checkpoint has 5 cla",
        "The checkpoint's stem re",
    ]
    kernel = np.asarray(source.get_layer("stem_conv").kernel)
    np.testing.assert_allclose(
        model.get_layer("stem_conv").kernel, kernel.sum(2, keepdims=True), rtol=1e-6
    )


@pytest.mark.slow
def test_the_backbone_of_a_saved_detector(saved, tmp_path):
    backbone = kdb.AnyNet(
        SPEC, include_top=False, input_shape=SHAPE, levels=(2, 3), weights=saved[1]
    )
    kdb.Detector(backbone, kdb.FPN(8, levels=(2, 3)), num_classes=2).save(
        tmp_path / "detector.keras"
    )
    again = kdb.AnyNet(SPEC, include_top=False, levels=(2, 3), weights=tmp_path / "detector.keras")
    same(again, backbone)
    assert kdb.evaluation_settings(again)["interpolation"] == "bicubic"


def test_a_keras_file_of_another_net_is_refused(tmp_path):
    kdb.AnyNet(dataclasses.replace(SPEC, se_ratio=0.0), classes=5, input_shape=SHAPE).save(
        tmp_path / "x.keras"
    )
    with pytest.raises(ValueError, match=r"missing: s1_b1_se/fc1"):
        build(weights=tmp_path / "x.keras")
    (tmp_path / "noise.keras").write_bytes(b"noise")
    with pytest.raises(ValueError, match="noise.keras is damaged"):
        build(weights=tmp_path / "noise.keras")


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(depths=(1, 1)), "weights of another net.*arrays [1-9][0-9]* without a place here"),
        (dict(depths=(1, 3)), "another net.*, and [1-9][0-9]* of [0-9]+ weights of 'anynet'"),
        (
            dict(widths=(16, 32)),
            "another net: build the one that was saved.*or save it as a .keras",
        ),
    ],
    ids=["shallower", "deeper", "wider"],
)
def test_a_weights_file_of_another_net_is_refused(saved, changes, message):
    """Of a larger one too, of which Keras takes what it can and says nothing."""
    path = str(saved[1]).replace(".keras", ".weights.h5")
    spec = dataclasses.replace(SPEC, **changes)
    with pytest.raises(ValueError, match=message):
        kdb.AnyNet(spec, input_shape=SHAPE, classes=5, weights=path)


def test_weights_leave_what_the_input_tensor_brings():
    """Of a layer in front, which the checkpoint knows nothing of."""
    image = keras.Input((32, 32, 4))
    kernel = keras.initializers.Constant(0.5)
    front = keras.layers.Conv2D(3, 1, kernel_initializer=kernel, name="to_rgb")(image)
    model = kdb.AnyNet(SPEC, include_top=False, weights=state(), input_tensor=front)
    assert model.input_shape == (None, 32, 32, 4)
    assert float(keras.ops.max(model.get_layer("to_rgb").kernel)) == 0.5
    np.testing.assert_array_equal(
        model.get_layer("stem_conv").kernel[0, 0, :, 0], state()["stem.conv.weight"][0, :, 0, 0]
    )


def test_a_stem_alone_is_read_in_its_own_order():
    """The stem's names are timm's and pycls'; the rest of the file tells that the images were
    BGR."""
    known, whole = state(), build()
    tensors = {KEYS["pycls"](v.path): known[timm(v.path)] for v in whole.weights}
    model = kdb.AnyNet(SPEC, include_top=False, levels=(1,), weights=tensors)
    np.testing.assert_array_equal(
        model.get_layer("stem_conv").kernel[0, 0, :, 0], known["stem.conv.weight"][0, ::-1, 0, 0]
    )


def test_heads_that_fit_no_model_are_refused():
    tensors = state()
    with pytest.raises(ValueError, match="misshapen.*head.fc.bias"):
        build(weights={**tensors, "head.fc.bias": np.zeros(4, "float32")})
    with pytest.raises(ValueError, match="misshapen.*head.fc.weight"):
        build(weights={**tensors, "head.fc.weight": np.zeros((7, 3), "float32")})


def test_a_broken_safetensors_file_is_named(tmp_path):
    (tmp_path / "half.safetensors").write_bytes(b"\x10")
    with pytest.raises(ValueError, match="half.safetensors is not a whole"):
        build(weights=tmp_path / "half.safetensors")


def test_other_class_count_leaves_the_head():
    with pytest.warns(UserWarning, match="5 classes and the model 3") as caught:
        model = build(weights=state(), classes=3)
    assert len(caught) == 1
    np.testing.assert_array_equal(
        model.get_layer("stem_conv").kernel[0, 0, :, 0], state()["stem.conv.weight"][0, :, 0, 0]
    )
    assert np.abs(model.get_layer("predictions").kernel).max() < 0.2


@pytest.mark.parametrize("channels", [1, 4])
def test_other_input_channels_adapt_the_stem(channels):
    with pytest.warns(UserWarning, match="stem reads 3 channels") as caught:
        model = build(weights=state(), input_shape=(32, 32, channels))
    assert len(caught) == 1
    kernel = state()["stem.conv.weight"].transpose(2, 3, 1, 0)
    expected = kernel.sum(2, keepdims=True) if channels == 1 else kernel[:, :, [0, 1, 2, 0]] * 3 / 4
    np.testing.assert_allclose(model.get_layer("stem_conv").kernel, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments", [dict(include_top=False), dict(include_top=False, levels=(2,))]
)
def test_parts_of_the_net_take_the_whole_checkpoint(arguments, reference):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = kdb.AnyNet(SPEC, weights=state(), input_shape=SHAPE, **arguments)
    np.testing.assert_array_equal(
        model.get_layer("s1_b1_conv3_conv").kernel, reference.get_layer("s1_b1_conv3_conv").kernel
    )


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop("s1.b1.conv2.bn.weight"), "missing: s1.b1.conv2.bn.weight"),
        (
            lambda t: t.update({"s9.b1.conv1.conv.weight": np.zeros(3)}),
            "unused: s9.b1.conv1.conv.weight",
        ),
        (
            lambda t: t.update({"s2.b1.conv1.conv.weight": np.zeros((3, 16, 1, 1))}),
            "misshapen.*s2.b1.conv1.conv.weight",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    tensors = state()
    change(tensors)
    with pytest.raises(ValueError, match=words):
        build(weights=tensors)


def test_unknown_sources(tmp_path):
    with pytest.raises(ValueError, match="`weights` argument"):
        build(weights=str(tmp_path / "missing.safetensors"))
    with pytest.raises(ValueError, match="classifier_activation"):
        build(weights=state(), classifier_activation="sigmoid")


def test_frozen_batch_norm_and_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    assert (
        model.output.dtype == "float32"
        and model.get_layer("s1_b1_conv1_conv").compute_dtype == "bfloat16"
    )
    model.trainable = False
    y = model(np.zeros((1, *SHAPE)), training=True)
    assert np.isfinite(np.asarray(y)).all()
    np.testing.assert_array_equal(model.get_layer("stem_bn").moving_mean, 0)


def test_layout_tables_name_every_variable():
    assert set(state()) == {timm(v.path) for v in build().weights}
    assert anynet.AnyNetSpec is kdb.AnyNetSpec
