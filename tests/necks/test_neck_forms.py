"""Forms of published necks that have weights of their own names: each against its authors' figure,
written down on tensors of their names."""

import keras
import numpy as np
import pytest
from keras import ops
from neck_golden import features

import keras_detblocks as kdb

CHANNELS = {3: 6, 4: 8, 5: 10}
EPSILON = 1e-3


class Reference:
    """Units by name on random weights in PyTorch's layout, drawn when they are first met."""

    def __init__(self, activation, conv=".conv", norm=".bn", seed=0):
        self.tensors, self.rng = {}, np.random.default_rng(seed)
        self.activation, self.conv, self.norm = activation, conv, norm

    def draw(self, key, shape, spread=None):
        values = (
            self.rng.uniform(0.5, 1.5, shape)
            if spread is None
            else self.rng.normal(0, spread, shape)
        )
        return self.tensors.setdefault(key, values.astype("float32"))

    def unit(self, x, name, filters, kernel=1, strides=1, depthwise=False, conv=None, norm=None):
        conv, norm = name + (conv or self.conv), name + (norm or self.norm)
        shape = (filters, 1 if depthwise else x.shape[-1], kernel, kernel)
        weight = self.draw(f"{conv}.weight", shape, 1 / np.sqrt(np.prod(shape[1:])))
        pad = kernel // 2
        x = np.pad(np.asarray(x), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
        rows, columns = (range(0, n - 2 * pad, strides) for n in x.shape[1:3])
        windows = np.stack(
            [np.stack([x[:, i : i + kernel, j : j + kernel] for j in columns], 1) for i in rows], 1
        )
        equation = "bhwklc,ckl->bhwc" if depthwise else "bhwklc,ockl->bhwo"
        y = np.einsum(equation, windows, weight[:, 0] if depthwise else weight)
        gamma, variance = (self.draw(f"{norm}.{key}", filters) for key in ("weight", "running_var"))
        beta, mean = (self.draw(f"{norm}.{key}", filters, 0.1) for key in ("bias", "running_mean"))
        return self.activation((y - mean) / np.sqrt(variance + EPSILON) * gamma + beta)


def silu(x):
    return x / (1 + np.exp(-x))


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def up(x, like):
    return x.repeat(2, 1).repeat(2, 2)[:, : like.shape[1], : like.shape[2]]


def cat(*maps):
    return np.concatenate(maps, axis=-1)


def yolox(net, maps, names, csp, spatial, widths):
    """YOLOX's figure: `yolo_pafpn.py`; each merged map is reduced before it goes down, and the
    reduced ones are used again on the way up."""
    p3, p4, p5 = (maps[f"P{level}"] for level in (3, 4, 5))
    w3, w4, w5 = widths
    out5 = net.unit(p5, names["lateral 5"], w4)
    mid = csp(cat(up(out5, p4), p4), names["down 4"], w4)
    out4 = net.unit(mid, names["lateral 4"], w3)
    n3 = csp(cat(up(out4, p3), p3), names["down 3"], w3)
    n4 = csp(cat(spatial(n3, names["bu 4"], w3, 2), out4), names["up 4"], w4)
    n5 = csp(cat(spatial(n4, names["bu 5"], w4, 2), out5), names["up 5"], w5)
    return {"P3": n3, "P4": n4, "P5": n5}


YOLOX = {
    "lateral 5": "lateral_conv0",
    "lateral 4": "reduce_conv1",
    "down 4": "C3_p4",
    "down 3": "C3_p3",
    "bu 4": "bu_conv2",
    "up 4": "C3_n3",
    "bu 5": "bu_conv1",
    "up 5": "C3_n4",
}
MMDETECTION = {
    "lateral 5": "reduce_layers.0",
    "lateral 4": "reduce_layers.1",
    "down 4": "top_down_blocks.0",
    "down 3": "top_down_blocks.1",
    "bu 4": "downsamples.0",
    "up 4": "bottom_up_blocks.0",
    "bu 5": "downsamples.1",
    "up 5": "bottom_up_blocks.1",
}


def csp_layer(net, spatial, depth, names):
    main, short, final, blocks = names

    def layer(x, name, filters):
        y = net.unit(x, f"{name}.{main}", filters // 2)
        for i in range(depth):
            y = net.unit(y, f"{name}.{blocks}.{i}.conv1", filters // 2)
            y = spatial(y, f"{name}.{blocks}.{i}.conv2", filters // 2)
        return net.unit(
            cat(y, net.unit(x, f"{name}.{short}", filters // 2)), f"{name}.{final}", filters
        )

    return layer


def check(neck, net, inputs, expected, layout):
    neck.build({key: x.shape for key, x in inputs.items()})
    assert kdb.weights.load(neck, net.tensors) == layout
    outputs = neck(inputs)
    assert list(outputs) == list(expected)
    for level, x in outputs.items():
        wanted = expected[level]
        np.testing.assert_allclose(x, wanted, atol=1e-4 * wanted.std(), rtol=1e-4, err_msg=level)


@pytest.mark.parametrize("depthwise", [False, True])
def test_yolox(depthwise):
    """A width per level, lateral maps used again, both with plain and with depthwise units."""
    net = Reference(silu)

    def spatial(x, name, filters, strides=1):
        if not depthwise:
            return net.unit(x, name, filters, 3, strides)
        x = net.unit(x, f"{name}.dconv", x.shape[-1], 3, strides, depthwise=True)
        return net.unit(x, f"{name}.pconv", filters)

    inputs = features(CHANNELS, (104, 77))
    csp = csp_layer(net, spatial, 2, ("conv1", "conv2", "conv3", "m"))
    expected = yolox(net, inputs, YOLOX, csp, spatial, (4, 6, 8))
    neck = kdb.CSPPANet(
        (4, 6, 8), levels=(3, 4, 5), depth=2, form="yolox", depthwise=depthwise, epsilon=EPSILON
    )
    check(neck, net, inputs, expected, "YOLOX")


def test_yolox_of_mmdetection():
    """The same figure under other names, and a last convolution per level."""
    net = Reference(silu)

    def spatial(x, name, filters, strides=1):
        return net.unit(x, name, filters, 3, strides)

    inputs = features(CHANNELS, (104, 77))
    csp = csp_layer(net, spatial, 1, ("main_conv", "short_conv", "final_conv", "blocks"))
    expected = yolox(net, inputs, MMDETECTION, csp, spatial, (4, 6, 8))
    expected = {
        key: net.unit(x, f"out_convs.{i}", 6) for i, (key, x) in enumerate(expected.items())
    }
    neck = kdb.CSPPANet((4, 6, 8), levels=(3, 4, 5), form="yolox", out_filters=6, epsilon=EPSILON)
    check(neck, net, inputs, expected, "mmdetection, YOLOXPAFPN")


@pytest.mark.parametrize("folded", [False, True])
def test_retinaface(folded):
    """The 3x3 stands inside the path and the coarsest level has none; also from a file whose
    normalizations are folded into the convolutions."""
    net = Reference(leaky, conv=".0", norm=".1")
    inputs = features(CHANNELS, (104, 77))
    laterals = [net.unit(x, f"output{i}", 4) for i, x in enumerate(inputs.values(), 1)]
    p4 = net.unit(laterals[1] + up(laterals[2], laterals[1]), "merge2", 4, 3)
    p3 = net.unit(laterals[0] + up(p4, laterals[0]), "merge1", 4, 3)
    expected = {"P3": p3, "P4": p4, "P5": laterals[2]}
    if folded:
        net.tensors = fold(net.tensors, "0", "1")
    neck = kdb.FPN(
        4,
        levels=(3, 4, 5),
        form="retinaface",
        normalization="batch",
        activation="darknet_leaky_relu",
        epsilon=EPSILON,
    )
    check(neck, net, inputs, expected, "RetinaFace" + ", folded" * folded)
    if folded:
        assert neck.compute_output_shape({k: x.shape for k, x in inputs.items()})["P5"][-1] == 4
        neck(inputs, training=True)  # the normalizations are there to train on


def fold(tensors, conv, norm):
    """What fused files hold: the convolutions' weights times the scale, and a bias."""
    folded = {}
    for key, weight in tensors.items():
        if not key.endswith(f".{conv}.weight"):
            continue
        unit = key.removesuffix(f".{conv}.weight")
        gamma, beta, mean, variance = (
            tensors[f"{unit}.{norm}.{name}"]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + EPSILON)
        folded[key] = weight * scale[:, None, None, None]
        folded[f"{unit}.{conv}.bias"] = beta - mean * scale
    return folded


def test_an_incomplete_folded_file_is_refused():
    neck = kdb.FPN(4, levels=(3,), normalization="batch")
    neck.build({"P3": (1, 8, 8, 6)})
    tensors = {
        f"{name}.conv.{part}": np.zeros((4, c, k, k) if part == "weight" else 4, "float32")
        for name, c, k in (("lateral_convs.0", 6, 1), ("fpn_convs.0", 4, 3))
        for part in ("weight", "bias")
    }
    assert kdb.weights.load(neck, tensors) == "mmdetection, folded"
    del tensors["fpn_convs.0.conv.bias"]
    with pytest.raises(ValueError, match="missing: fpn_convs.0.bn.bias"):
        kdb.weights.load(neck, tensors)


def test_tum_without_smoothing():
    """The decoder's sums themselves come out."""
    part = kdb.TUM(4, num_scales=3, smooth=False)
    x = np.random.default_rng(0).normal(size=(1, 9, 7, 6)).astype("float32")
    outputs = part(x)
    assert not any("smooth" in weight.path for weight in part.weights)
    skip, small = part.laterals[0](x), outputs[1]
    np.testing.assert_allclose(outputs[0], up(np.asarray(small), skip) + skip, atol=1e-5)
    neck = kdb.MLFPN(4, levels=(3, 4), num_tums=2, smooth=False)
    neck.build({"P3": (1, 13, 10, 6), "P4": (1, 7, 5, 8)})
    assert not any("smooth" in weight.path for weight in neck.weights)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.FPN(8, form="retina"), "`form` must be 'paper' or 'retinaface'. Did you mean"),
        (lambda: kdb.CSPPANet(8, form="yolo"), "Did you mean 'yolox'"),
        (lambda: kdb.CSPPANet((8, 7)), "even"),
        (lambda: kdb.CSPPANet(8, kernel_size=4), "odd int"),
        (lambda: kdb.CSPPANet((8, 8), (3, 4, 5))(features(CHANNELS, (64, 64))), "one width per"),
        (
            lambda: kdb.CSPPANet(8, (3,), form="yolox")({"P3": ops.ones((1, 8, 8, 4))}),
            "at least two input levels",
        ),
        (lambda: kdb.FPN(24, normalization="group", norm_groups=16), "divisible by 16"),
    ],
)
def test_bad_forms(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_two_branches_of_the_extra_level():
    neck = kdb.CSPPANet(4, levels=(3, 4, 5, 6, 7), extra_levels="conv_lateral_p5", depthwise=True)
    inputs = features(CHANNELS, (104, 77))
    outputs = neck(inputs)
    lateral = neck.laterals["P5"](inputs["P5"])
    sum_of_both = neck.extras["P6_lateral"](lateral) + neck.extras["P6"](outputs["P5"])
    np.testing.assert_allclose(outputs["P6"], sum_of_both, atol=1e-5)
    np.testing.assert_allclose(outputs["P7"], neck.extras["P7"](sum_of_both), atol=1e-5)
    assert keras.ops.shape(outputs["P7"])[1:] == (1, 1, 4)
