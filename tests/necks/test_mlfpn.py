import re

import golden
import keras
import numpy as np
import pytest
from neck_golden import GOLDENS, features, nhwc
from without_values import without_values

import keras_detblocks as kdb
from keras_detblocks.layers import resize_to


def load(name):
    g = golden.load(GOLDENS / f"{name}.npz")
    return g, {key: nhwc(x) for key, x in g.inputs().items()}


def nchw(x):
    return np.transpose(x, (0, 3, 1, 2))


@pytest.mark.parametrize(
    "name, scales",
    [
        ("m2det_tum_first_40x40", 6),
        ("m2det_tum_next_40x40", 6),
        ("m2det_tum_first_25x21_4scales", 4),
    ],
)
def test_golden_tum(name, scales):
    g, x = load(name)
    x = np.concatenate(list(x.values()), axis=-1)
    tum = kdb.TUM(g.meta["outputs"]["level0"][1], scales)
    tum.build(x.shape)
    kdb.weights.load(tum, g.params())
    for i, y in enumerate(reversed(tum(x))):
        g.check(f"level{i}", nchw(y))


@pytest.mark.parametrize(
    "name, shared", [("m2det_sfam_shared", True), ("m2det_sfam_untied", False)]
)
def test_golden_sfam(name, shared):
    g, x = load(name)
    sfam = kdb.SFAM(shared=shared)
    sfam.build([each.shape for each in x.values()])
    kdb.weights.load(sfam, g.params())
    for i, y in enumerate(sfam(list(x.values()))):
        g.check(f"y{i}", nchw(y))


@pytest.mark.parametrize("name", ["m2det_ffm_20x20", "m2det_ffm_res_14x18"])
def test_golden_ffm(name):
    g, x = load(name)
    scales, planes = g.meta["args"]["num_scales"], g.meta["args"]["planes"]
    params = g.params()
    x = list(x.values())
    ffmv1, ffmv2, tum = kdb.FFMv1(), kdb.FFMv2(planes // 2), kdb.TUM(planes, scales)
    ffmv1.build([each.shape for each in x])
    kdb.weights.load(ffmv1, {k: v for k, v in params.items() if "reduce" in k})
    base = ffmv1(x)
    ffmv2.build([base.shape, (*base.shape[:3], planes)])
    kdb.weights.load(ffmv2, {k: v for k, v in params.items() if k.startswith("leach")})
    leach = ffmv2.leach(base)
    tum.build(leach.shape)
    kdb.weights.load(tum, params, prefix="unet1.")
    g.check("base_feature", nchw(base))
    g.check("leach", nchw(leach))
    g.check("unet2_input", nchw(ffmv2([base, tum(leach)[0]])))


@pytest.mark.parametrize("final_norm", [False, True])
def test_golden_mlfpn(final_norm):
    g, x = load("m2det_mlfpn_2tum_40x40")
    neck = kdb.MLFPN(64, num_tums=2, shared=True, final_norm=final_norm)
    inputs = {"P3": x["shallow"], "P4": x["deep"]}
    neck.build({key: each.shape for key, each in inputs.items()})
    kdb.weights.load(
        neck, {k: v for k, v in g.params().items() if final_norm or not k.startswith("Norm")}
    )
    for i, y in enumerate(neck(inputs).values()):
        g.check("normed0" if final_norm and i == 0 else f"sfam{i}", nchw(y))


def test_released_files_repeat_shared_modules():
    """M2Det's state dicts hold one copy per place of each shared module; copies that differ are an
    error."""
    g, x = load("m2det_mlfpn_2tum_40x40")
    params = {k: v for k, v in g.params().items() if not k.startswith("Norm")}
    copies = {
        k.replace("leach.0", f"leach.{i}"): v
        for k, v in params.items()
        if k.startswith("leach.0")
        for i in range(1, 8)
    }
    copies |= {
        re.sub(r"(fc\d)\.0", rf"\1.{i}", k): v
        for k, v in params.items()
        if "sfam" in k
        for i in range(1, 6)
    }
    neck = kdb.MLFPN(64, num_tums=2, shared=True)
    neck.build({"P3": x["shallow"].shape, "P4": x["deep"].shape})
    kdb.weights.load(neck, {**params, **copies})
    key = "leach.3.conv.weight"
    with pytest.raises(ValueError, match=f"differ from it: {key}"):
        kdb.weights.load(neck, {**params, **copies, key: copies[key] + 1})


def trainable(layer):
    return sum(np.prod(w.shape) for w in layer.trainable_weights)


def test_parameter_counts():
    """256 planes, six scales: the first TUM, a later one, eight of them, one scale of SFAM."""
    with without_values():
        neck = kdb.MLFPN.from_variant("m2det_512")
        neck.build({"P3": (None, None, None, 512), "P4": (None, None, None, 1024)})
    assert [trainable(tum) for tum in neck.tums[:2]] == [5_709_824, 6_889_472]
    assert sum(trainable(tum) for tum in neck.tums) == 53_936_128
    assert trainable(neck.sfam.gates[0]) == 526_464


@pytest.mark.parametrize(
    "image, expected",
    [(320, [40, 20, 10, 5, 3, 1]), (512, [64, 32, 16, 8, 4, 2]), (800, [100, 50, 25, 13, 7, 5])],
)
def test_published_scales(image, expected):
    neck = kdb.MLFPN.from_variant(f"m2det_{image}")
    shapes = neck.compute_output_shape(
        {"P3": (1, image // 8, image // 8, 512), "P4": (1, image // 16, image // 16, 1024)}
    )
    assert [shape[1] for shape in shapes.values()] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "inputs, levels",
    [((3, 4, 5), (3, 4, 5)), ((3, 4), (3, 5, 6)), ((2, 3), (2, 3, 4)), ((3, 5), (3, 4, 5))],
)
def test_any_subset_of_levels(inputs, levels):
    neck = kdb.MLFPN(4, levels=levels, num_tums=6, reduction=None)
    x = features({l: 4 for l in inputs}, (205, 140))
    outputs = neck(x)
    assert {k: tuple(v.shape) for k, v in outputs.items()} == neck.compute_output_shape(
        {k: v.shape for k, v in x.items()}
    )


def test_nearest_resize_is_pytorchs():
    for a, b in [(1, 3), (3, 5), (5, 7), (4, 6), (2, 4), (7, 13)]:
        x = np.arange(a, dtype="float32").reshape(1, a, 1, 1)
        np.testing.assert_array_equal(
            np.ravel(resize_to(x, np.zeros((1, b, 1, 1)))), np.arange(b) * a // b
        )


def test_bilinear_resize_is_half_pixel():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
    expected = keras.ops.image.resize(x, (7, 6), interpolation="bilinear")
    np.testing.assert_allclose(
        resize_to(x, np.zeros((1, 7, 6, 1)), "bilinear"), expected, atol=1e-5
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.MLFPN(8, levels=(3,)), "two scales"),
        (lambda: kdb.MLFPN(8, num_tums=0), "num_tums"),
        (lambda: kdb.MLFPN(8, base_levels=(5, 5)), "`base_levels` must be two levels"),
        (lambda: kdb.MLFPN.from_variant("m2det"), "variant"),
        (lambda: kdb.MLFPN(8, num_tums=1)(features({3: 4, 4: 4}, (256, 256))), "at least 33"),
        (lambda: kdb.MLFPN(8)(features({3: 4}, (320, 320))), "missing P4"),
        (lambda: kdb.TUM(8, 1), "num_scales"),
        (lambda: kdb.TUM(0), "filters"),
        (lambda: kdb.SFAM(0), "reduction"),
        (
            lambda: kdb.SFAM(shared=True)(
                [keras.ops.ones((1, 2, 2, 16)), keras.ops.ones((1, 2, 2, 32))]
            ),
            "one width",
        ),
        (lambda: kdb.FFMv1()([keras.ops.ones((1, 2, 2, 16))]), "two maps"),
        (lambda: kdb.FFMv2(4, upsampling="nearest"), "upsampling"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
