import json

import keras
import numpy as np
import pytest
from context_golden import check_golden, random_map

import keras_detblocks as kdb
from keras_detblocks.context.rfb import PRESETS


@pytest.mark.parametrize(
    "name, layer",
    [
        ("rfb_basic_s1_v1_scale01_20x14", lambda: kdb.RFB(32, scale=0.1, visual=1)),
        ("rfb_basic_s1_v2_19x19", lambda: kdb.RFB(48)),
        ("rfb_basic_s2_v2_20x26", lambda: kdb.RFB(48, strides=2)),
        ("rfb_basic_s2_v2_25x21", lambda: kdb.RFB(64, strides=2)),
        ("rfb_s_a_25x21", lambda: kdb.RFBs(64)),
    ],
)
def test_golden(name, layer):
    assert check_golden(layer(), name) < 1e-4


def count(layer, channels):
    layer.build((None, None, None, channels))
    return sum(int(np.prod(w.shape)) for w in layer.trainable_weights)


@pytest.mark.parametrize(
    "layer, channels, expected",
    [
        (lambda: kdb.RFB(1024), 1024, 5_095_296),
        (lambda: kdb.RFB(512, strides=2), 1024, 4_175_744),
        (lambda: kdb.RFB(256, strides=2), 512, 1_045_440),
        (lambda: kdb.RFBs(512), 512, 1_502_016),
    ],
)
def test_parameter_counts_of_rfbnet(layer, channels, expected):
    assert count(layer(), channels) == expected


# kernel:filters of every convolution for 64 input channels, by branch, read off the references:
# RFBNet's RFB_Net_vgg.py, RFB_Net_E_vgg.py and RFB_Net_mobile.py, mb_tiny_RFB.py, ASFF's
# network_blocks.py, and the paper's Fig. 4 (a). d: dilation, g: groups, s: has the strides, -: no
# activation. Then the shortcut of a block with as many output channels, and of another.
BRANCHES = {
    "rfb": (
        "1x1:16s 3x3:16d2- | 1x1:8 3x3:16s 3x3:16d3- | 1x1:8 3x3:12 3x3:16s 3x3:16d5-",
        "conv",
        "conv",
    ),
    "rfb_s": (
        "1x1:16 3x3:16- | 1x1:16 3x1:16 3x3:16d3- | 1x1:16 1x3:16 3x3:16d3- | 1x1:8 1x3:12 3x1:16 "
        "3x3:16d5-",
        "conv",
        "conv",
    ),
    "rfb_paper": (
        "1x1:16s 3x3:16- | 1x1:8 3x3:16s 3x3:16d3- | 1x1:8 5x5:16s 3x3:16d5-",
        "conv",
        "conv",
    ),
    "rfb_e": (
        "1x1:16s 3x3:16- | 1x1:8 3x3:16s 3x3:16d3- | 1x1:8 3x3:12 3x3:16s 3x3:16d5- | 1x1:8 "
        "1x7:12 7x1:16s 3x3:16d7-",
        "conv",
        "conv",
    ),
    "rfb_e_light": (
        "1x1:16s 3x3:16- | 1x1:8 3x3:16s 3x3:16d3- | 1x1:8 1x7:12 7x1:16s 3x3:16d7-",
        "conv",
        "conv",
    ),
    "rfb_e_s": (
        "1x1:8 3x3:8- | 1x1:8 3x1:8 3x3:8d3- | 1x1:8 1x3:8 3x3:8d3- | 1x1:8 3x1:8 3x3:8d5- | 1x1:8 "
        "1x3:8 3x3:8d5- | 1x1:4 1x3:6 3x1:8 3x3:8d7- | 1x1:4 3x1:6 1x3:8 3x3:8d7-",
        "conv",
        "conv",
    ),
    "rfb_mobile": (
        "1x1:8 1x3:12 3x1:12s 3x3:12d3g12- | 1x1:8 3x3:12 3x3:12s 3x3:12d5g12-",
        "input",
        "conv",
    ),
    "rfb_s_mobile": (
        "1x1:16 3x3:16g16- | 1x1:16 3x1:16 3x3:16d3g16- | 1x1:16 1x3:16 3x3:16d3g16- | 1x1:8 "
        "1x3:12 3x1:16 3x3:16d5g16-",
        "input",
        "refused",
    ),
    "rfb_light": (
        "1x1:8- 3x3:16s 3x3:16d2- | 1x1:8- 3x3:16s 3x3:16d3- | 1x1:8- 3x3:12 3x3:16s 3x3:16d5-",
        "conv",
        "conv",
    ),
    "asff": (
        "1x1:16- | 1x1:16- 3x3:16- | 1x1:16- 3x3:16- 3x3:16d2- | 1x1:16- 5x5:16- 3x3:16d3-",
        "none",
        "refused",
    ),
}


def text(unit):
    conv = unit.conv
    (dilation, _), groups = conv.dilation_rate, conv.groups
    kind = f"{conv.kernel_size[0]}x{conv.kernel_size[1]}:{conv.filters}" + f"d{dilation}" * (
        dilation > 1
    )
    return (
        kind
        + f"g{groups}" * (groups > 1)
        + "s" * (conv.strides == (2, 2))
        + "-" * (unit.act is None)
    )


@pytest.mark.parametrize("name", PRESETS)
def test_branches(name):
    strides = 2 if "s " in BRANCHES[name][0] else 1
    layer = kdb.RFB(48 if strides > 1 else 64, name, strides=strides)
    layer.build((None, None, None, 64))
    assert (
        " | ".join(" ".join(text(unit) for unit in branch) for branch in layer.units)
        == BRANCHES[name][0]
    )
    assert layer.linear is None or text(layer.linear) == f"1x1:{layer.filters}-"
    if strides > 1:
        assert text(layer.shortcut) == "1x1:48s-"


SHORTCUTS = {
    "conv": lambda layer, x: np.maximum(
        layer.shortcut.norm(keras.ops.conv(x, layer.shortcut.conv.kernel)), 0
    ),
    "input": lambda layer, x: np.maximum(x, 0),
    "none": lambda layer, x: np.concatenate(
        [in_turn(branch, x) for branch in layer.units], axis=-1
    ),
}


@pytest.mark.parametrize("name", PRESETS)
def test_shortcuts(name):
    """With the main path at zero, what comes out is the shortcut, through the ReLU: a
    convolution's, the input's, or none."""
    x = random_map(2, 6, 5, 64)
    for filters, kind in zip((64, 48), BRANCHES[name][1:]):
        if kind == "refused":
            with pytest.raises(ValueError, match="filters"):
                kdb.RFB(filters, name)(x)
            continue
        layer = kdb.RFB(filters, name, scale=1.0 if kind == "none" else 0.0)
        y = np.asarray(layer(x))
        assert (layer.shortcut is not None) == (kind == "conv")
        np.testing.assert_allclose(y, SHORTCUTS[kind](layer, x), atol=1e-5)


def in_turn(units, x):
    for unit in units:
        x = unit(x)
    return x


@pytest.mark.parametrize("name", [name for name, spec in PRESETS.items() if spec.any_stride])
def test_stride_two_rounds_up(name):
    assert tuple(kdb.RFB(16, name, strides=2)(random_map(1, 13, 10, 32)).shape) == (1, 7, 5, 16)


def test_by_hand():
    """The figure: branches, concatenation, projection, shortcut; of a block whose branches are
    written as plain values."""
    branches = (((1, (1, 1)), (3, (2, 1), (1, 1), True, False)), ((3, (1, 2), (0, 3), True),))
    layer = kdb.RFB(8, branches, strides=2, scale=0.5, visual=1, reduction=2)
    x = random_map(2, 9, 6, 12)
    layer(x)
    assert [[u.conv.filters for u in branch] for branch in layer.units] == [[6, 12], [3]]
    relu = keras.ops.relu
    first, second = layer.units[0]
    conv = keras.ops.pad(relu(first.norm(first.conv(x))), [(0, 0), (2, 2), (2, 2), (0, 0)])
    conv = keras.ops.conv(conv, second.conv.kernel, 1, "valid", dilation_rate=2)[:, ::2, ::2]
    third = layer.units[1][0]
    other = keras.ops.conv(
        keras.ops.pad(x, [(0, 0), (3, 3), (3, 3), (0, 0)]),
        third.conv.kernel,
        1,
        "valid",
        dilation_rate=3,
    )
    maps = [second.norm(conv), relu(third.norm(other[:, ::2, ::2]))]
    main = layer.linear.norm(
        keras.ops.conv(keras.ops.concatenate(maps, axis=-1), layer.linear.conv.kernel)
    )
    short = layer.shortcut.norm(keras.ops.conv(x[:, ::2, ::2], layer.shortcut.conv.kernel))
    np.testing.assert_allclose(layer(x), relu(0.5 * main + short), atol=1e-5)


def test_groups():
    layer = kdb.RFB(48, "rfb_light", groups=2)
    layer.build((None, None, None, 64))
    assert {unit.conv.groups for branch in layer.units for unit in branch} == {2}
    assert layer.linear.conv.groups == 1


def test_mobile_and_asff_names():
    rng = np.random.default_rng(0)
    layer = kdb.RFB(32, "asff")
    layer.build((None, None, None, 32))
    params = {}
    for branch, kernels in enumerate([(1,), (1, 3), (1, 3, 3), (1, 5, 3)]):
        for i, k in enumerate(kernels):
            params[f"branch_{branch}.{i}.weight"] = rng.normal(size=(8, 8 if i else 32, k, k))
            params[f"branch_{branch}.{i}.bias"] = rng.normal(size=8)
    assert kdb.weights.load(layer, params) == "ASFF authors"
    layer = kdb.RFB(32, "rfb_mobile")
    layer.build((None, None, None, 32))
    keys = {
        kdb.weights.layer_layouts(layer)[0].key(w.path.partition("/")[2]) for w in layer.weights
    }
    assert {"branch1.0.conv.weight", "branch2.3.bn.running_var", "ConvLinear.conv.weight"} <= keys


def test_tail_of_rfbnet_by_the_authors_names():
    """`extras.k` behind the blocks is one convolution with its normalization: a layer, or a model
    of it, is a target."""
    rng = np.random.default_rng(0)
    params = {
        "extras.4.conv.weight": rng.normal(size=(6, 5, 3, 3)),
        "extras.4.bn.num_batches_tracked": np.array(7),
    }
    params |= {
        f"extras.4.bn.{k}": rng.uniform(0.5, 1.5, size=6)
        for k in ("weight", "bias", "running_mean", "running_var")
    }
    scale = params["extras.4.bn.weight"] / np.sqrt(params["extras.4.bn.running_var"] + 1e-5)
    x = random_map(1, 7, 6, 5)
    y = keras.ops.conv(
        x, params["extras.4.conv.weight"].transpose(2, 3, 1, 0).astype("float32"), 1, "valid"
    )
    expected = np.maximum(
        (np.asarray(y) - params["extras.4.bn.running_mean"]) * scale + params["extras.4.bn.bias"], 0
    )
    alone, tail = (kdb.ConvNormAct(6, 3, padding="valid", name=name) for name in ("alone", "tail"))
    alone.build(x.shape)
    for target in (alone, kdb.as_model(tail, (7, 6, 5))):
        kdb.weights.load(target, params, prefix="extras.4.")
        np.testing.assert_allclose(target(x), expected, atol=1e-4)
    with pytest.raises(ValueError, match="missing: bn.bias"):
        kdb.weights.load(alone, {"conv.weight": params["extras.4.conv.weight"]})


def test_numpy_ints_by_hand():
    branches = [[(np.int64(3), (np.int64(2), np.int64(1)))]]
    config = kdb.RFB(np.int64(8), branches).get_config()
    assert config["branches"] == (((3, (2, 1)),),) and config["filters"] == 8
    assert json.loads(json.dumps(config["branches"])) == [[[3, [2, 1]]]]
    assert kdb.RFB.from_config(config).get_config() == config


def hand(*values):
    """A block of one branch of one convolution."""
    return lambda: kdb.RFB(8, ((values,),))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.RFB(0), "filters"),
        (lambda: kdb.RFB(8, "inception"), "branches"),
        (lambda: kdb.RFB(8, ()), "at least one branch"),
        (lambda: kdb.RFB(8, (3, 5)), "tuple of branches"),
        (lambda: kdb.RFB(8, None), "tuple of branches"),
        (lambda: kdb.RFB(8, {"kernel": 3}), "tuple of branches"),
        (lambda: kdb.RFB(8, ((3,),)), r"1 to 6 values.*Received: branches\[0\]\[0\]=3"),
        (lambda: kdb.RFB(8, (({"kernel": 3},),)), "1 to 6 values"),
        (lambda: kdb.RFB(8, (((3, (1, 1), (0, 1), True, True, False, 1),),)), "1 to 6 values"),
        (hand(4), "`kernel`.*odd.*Received: kernel=4"),
        (hand((1, 2)), "`kernel`.*odd"),
        (hand(3.0), "`kernel`.*odd"),
        (hand((1, 3, 1)), "`kernel`.*odd"),
        (hand(3, (1, 0)), r"`width`.*at least 1.*Received: width=\(1, 0\)"),
        (hand(3, (0, 1)), "`width`.*at least 1"),
        (hand(3, 2), r"`width`.*\(2, 1\) for twice q. Received: width=2"),
        (hand(3, (1, 1), 2), r"`dilation`.*\(0, 3\) for dilation 3. Received: dilation=2"),
        (hand(3, (1, 1), (0, 0)), "`dilation`.*not both 0"),
        (hand(3, (1, 1), (-1, 3)), "`dilation`.*at least 0"),
        (hand(3, (1, 1), (0, 1), 1), "`strided`.*True or False"),
        (hand(3, (1, 1), (0, 1), True, "relu"), "`activation`.*True or False"),
        (hand(3, (1, 1), (0, 1), True, True, 4), "`depthwise`.*True or False"),
        (lambda: kdb.RFB(8, "rfb_mobil"), "Did you mean 'rfb_mobile'"),
        (lambda: kdb.RFB(8, "RFB-light"), "Did you mean 'rfb_light'"),
        (lambda: kdb.RFBs(16, visual=5), "do not depend on `visual`"),
        (lambda: kdb.RFB(8, "rfb_e", visual=3), "do not depend on `visual`"),
        (lambda: kdb.RFB(8, (((3,),),), visual=1), "do not depend on `visual`"),
        (lambda: kdb.RFB(8, scale="a"), "scale"),
        (lambda: kdb.RFB(8, scale=float("nan")), "scale"),
        (lambda: kdb.RFB(16, "asff", scale=0.1), "shortcut"),
        (lambda: kdb.RFB(True), "filters"),
        (lambda: kdb.RFB(8, strides=0), "strides"),
        (lambda: kdb.RFB(8, visual=-1), "visual"),
        (lambda: kdb.RFBs(8, strides=2), "stride 1 only"),
        (lambda: kdb.RFB(8, (((3,),), ((3, (1, 1), (0, 1), True),)), strides=2), "stride 1 only"),
        (lambda: kdb.RFB(8)(keras.ops.ones((1, 8, 8, 4))), "too narrow"),
        (lambda: kdb.RFB(8, groups=3)(keras.ops.ones((1, 8, 8, 64))), "groups"),
        (lambda: kdb.RFB(48, "rfb_s_mobile")(keras.ops.ones((1, 8, 8, 64))), "expected filters=64"),
        (lambda: kdb.RFB(48, "asff")(keras.ops.ones((1, 8, 8, 64))), "no projection"),
        (lambda: kdb.RFB(8)(keras.ops.ones((8, 8, 64))), "batch, height, width, channels"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
