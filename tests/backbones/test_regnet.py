"""RegNet: the generation rule against the published tables, the nets against timm, the
arguments."""

import math

import backbone_golden
import keras
import numpy as np
import pytest
from published_regnets import PUBLISHED

import keras_detblocks as kdb
from keras_detblocks.backbones.regnet import VARIANTS, stage_widths_and_depths

SMALL = kdb.AnyNetSpec((1, 1, 2), (24, 48, 96), (1, 1, 1), (8, 8, 8), se_ratio=0.25, stem_width=16)
FILES = sorted(p.stem for p in backbone_golden.GOLDENS.glob("timm_regnet*.npz"))


@pytest.mark.parametrize("net", PUBLISHED, ids=lambda net: net.name)
def test_generation_rule(net):
    spec = VARIANTS[net.key].to_anynet()
    assert (spec.widths, spec.depths) == (net.widths, net.depths)


def test_group_width_is_clamped_per_stage():
    assert VARIANTS["regnetx_080"].to_anynet().group_widths == (80, 120, 120, 120)


def test_halves_round_to_even():
    """392 / 16 = 24.5 groups become 24."""
    assert kdb.backbones.anynet.fit_to_groups((392,), (1.0,), (16,)) == ((384,), (16,))


@pytest.mark.parametrize(
    "file",
    [file if "_002_" in file else pytest.param(file, marks=pytest.mark.slow) for file in FILES],
)
def test_equals_timm(file):
    _, family, size, _ = file.split("_")
    constructor = getattr(kdb, f"RegNet{family[-1].upper()}{size}")
    errors = backbone_golden.check(file, constructor, levels=(1, 2, 3, 4, 5))
    assert max(errors.values()) <= 1e-4


def test_variants_by_name_and_spec():
    by_name = kdb.RegNetX("200MF", input_shape=(32, 32, 3))
    by_spec = kdb.RegNetX(VARIANTS["regnetx_002"], input_shape=(32, 32, 3))
    assert by_name.count_params() == by_spec.count_params() == 2_684_792 + 20_848
    assert by_name.name == "regnetx_002"


def test_three_stages_and_levels():
    model = kdb.RegNetY(SMALL, include_top=False, input_shape=(None, None, 3), levels=(4, 2))
    outputs = model(np.zeros((1, 50, 37, 3), "float32"))
    assert list(outputs) == ["P4", "P2"]
    assert [tuple(t.shape[1:]) for t in outputs.values()] == [(4, 3, 96), (13, 10, 24)]


def test_deeper_stages_are_not_built():
    model = kdb.RegNetY002(include_top=False, levels=(2, 3))
    assert not any(layer.name.startswith("s3") for layer in model.layers)


@pytest.mark.parametrize("stride, levels", [(8, (1, 2, 3)), (16, (1, 2, 3, 4))])
def test_output_stride(stride, levels):
    model = kdb.AnyNet(
        SMALL, include_top=False, input_shape=(64, 64, 3), levels=levels, output_stride=stride
    )
    assert [t.shape[1] for t in model.output.values()] == [64 // 2**level for level in levels]
    if stride == 8:
        # The first block of a dilated stage keeps the dilation before it.
        assert model.get_layer("s3_b1_conv2_conv").dilation_rate == (1, 1)
        assert model.get_layer("s3_b2_conv2_conv").dilation_rate == (2, 2)


def test_dilated_net_contains_the_strided_one():
    """With the same weights, the dilated map at every second place is the strided map (no squeeze:
    its means would differ)."""
    shape = (64, 64, 3)
    x = np.random.default_rng(0).uniform(0, 255, (1, *shape)).astype("float32")
    spec = kdb.AnyNetSpec((1, 1, 2), (24, 48, 96), (1, 1, 1), (8, 8, 8), stem_width=16)
    strided = kdb.AnyNet(spec, include_top=False, input_shape=shape)
    dilated = kdb.AnyNet(spec, include_top=False, input_shape=shape, output_stride=8)
    dilated.set_weights(strided.get_weights())
    np.testing.assert_allclose(strided(x), dilated(x)[:, ::2, ::2], atol=1e-4)


def test_drop_path_grows_linearly():
    model = kdb.AnyNet(SMALL, include_top=False, drop_path_rate=0.3)
    rates = [layer.rate for layer in model.layers if isinstance(layer, kdb.StochasticDepth)]
    np.testing.assert_allclose(rates, [0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(variant="800mg"), "800mf"),
        (dict(variant="200mf", levels=(6,), include_top=False), "levels"),
        (dict(variant="200mf", levels=(3,)), "include_top"),
        (dict(variant="200mf", output_stride=4), "8, 16 or 32"),
        (dict(variant="200mf", drop_path_rate=-0.1), "`drop_path_rate` must be"),
        (dict(variant="200mf", drop_path_rate=1.0), "`drop_path_rate` must be"),
        (dict(variant="200mf", weights="nowhere.keras"), "`weights` argument"),
        (dict(variant="200mf", weights="nowhere.weights.h5"), "`weights` argument"),
        (dict(variant="regnety_080mf"), "Did you mean '800mf'"),
        (dict(variant="200mf", input_shape=(16, 64, 3)), "at least 32x32"),
        (dict(variant="200mf", input_shape=(None, None, 3)), "static"),
        (dict(variant="200mf", input_shape=(64, 64)), "three integers"),
        (dict(variant="200mf", pooling="sum", include_top=False), "pooling"),
        (dict(variant="200mf", weights="imagenett"), "`weights` argument"),
        (dict(variant="200mf", weights="imagenet", classes=10), "should be 1000"),
        (dict(variant="200mf", weights="imagenet", input_shape=(64, 64, 3)), "should be"),
        (
            dict(variant="200mf", weights="imagenet", classifier_activation="relu"),
            "classifier_activation",
        ),
        (dict(variant="64gf", weights="imagenet"), "published"),
        (dict(variant=kdb.RegNetSpec(13, 24, 36.44, 2.49, 8)), "has squeeze-and-excitation"),
        (dict(variant="200mf", include_top="no"), "`include_top` must be True or False"),
        (dict(variant="200mf", include_top=False, levels=(True,)), "`levels` must be distinct"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        kdb.RegNetY(**arguments)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(w_m=1.0), "w_m"),
        (dict(w_0=25), "multiple of 8"),
        (dict(w_a=-1.0), "w_a"),
        (dict(depth=0), "depth"),
        (dict(rounding="up"), "rounding"),
        (dict(w_m=float("nan")), "w_m"),
        (dict(w_a=float("nan")), "w_a"),
        (dict(w_a="x"), "`w_a` must be a finite number at least 0"),
        (dict(w_0="x"), "`w_0` must be"),
        (dict(w_m=True), "`w_m` must be"),
        (dict(se_ratio=True), "`se_ratio` must be"),
        (dict(w_a=200.0, w_m=2.0), "skip a stage"),
        (dict(se_ratio=-1.0), "se_ratio"),
        (dict(bottleneck_ratio=0.3), "ratios such as 1, 2, 4"),
    ],
)
def test_bad_specs(arguments, words):
    with pytest.raises(ValueError, match=words):
        kdb.RegNetSpec(
            **{**dict(depth=13, w_0=24, w_a=36.44, w_m=2.49, group_width=8), **arguments}
        )


@pytest.mark.parametrize("name", ["8gf", "8.0GF", "RegNetY080", "regnety_080", "080"])
def test_names_of_a_variant(name, monkeypatch):
    monkeypatch.setattr(
        kdb.backbones.constructor, "application", lambda trunk, arguments: trunk.name
    )
    assert kdb.RegNetY(name) == "regnety_080" and kdb.RegNetY("8gf_tv") == "regnety_080_tv"


@pytest.mark.slow
def test_nets_of_many_stages_keep_striding():
    """As the spec counts them; an output stride of 16 holds the stages beyond."""
    spec = kdb.RegNetSpec(20, 16, 20.0, 1.8, 8)
    assert len(spec.to_anynet().widths) == 6
    model = kdb.RegNetX(spec, include_top=False, input_shape=(256, 256, 3), levels=(7, 5))
    assert {k: tuple(v.shape[1:3]) for k, v in model.output.items()} == {"P7": (2, 2), "P5": (8, 8)}
    whole = kdb.RegNetX(spec, input_shape=(256, 256, 3))
    assert kdb.complexity(whole) == kdb.complexity(spec, 256)
    held = kdb.RegNetX(spec, include_top=False, input_shape=(256, 256, 3), output_stride=16)
    assert held.output_shape == (None, 16, 16, 304)


@pytest.mark.slow
def test_one_level_and_levels_of_any_sequence():
    for levels in (5, (5,), [5], np.array([5]), np.array(5), range(5, 6)):
        assert list(
            kdb.RegNetX002(include_top=False, input_shape=(32, 32, 3), levels=levels).output
        ) == ["P5"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(group_widths=(8, 7, 8)), "Stage 2"),
        (dict(bottleneck_ratios=(1, 1, 5)), "whole number"),
        (dict(depths=(1, 1)), "one value per stage"),
        (dict(widths=(24, 48, 0)), "widths"),
        (dict(se_ratio=2.0), "se_ratio"),
    ],
)
def test_bad_anynet_specs(arguments, words):
    good = dict(
        depths=(1, 1, 2), widths=(24, 48, 96), bottleneck_ratios=(1, 1, 1), group_widths=(8, 8, 8)
    )
    with pytest.raises(ValueError, match=words):
        kdb.AnyNetSpec(**{**good, **arguments})


def test_inverted_bottleneck_and_depthwise():
    spec = kdb.AnyNetSpec((1, 1), (16, 32), (0.5, 2), (1, 4), stem_width=8)
    model = kdb.AnyNet(spec, include_top=False, input_shape=(32, 32, 3))
    assert model.get_layer("s1_b1_conv2_conv").kernel.shape == (3, 3, 1, 32)
    assert model.output_shape == (None, 4, 4, 32)


def test_round_trip(tmp_path):
    model = kdb.AnyNet(SMALL, classes=7, input_shape=(32, 32, 3))
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)


def test_stage_rule_by_hand():
    assert stage_widths_and_depths(14, 56, 38.84, 2.4) == ((56, 136, 320, 776), (1, 3, 8, 2), 4)


def test_every_convolution_starts_by_fan_out():
    """pycls' init_weights: normal, variance 2 / (k * k * filters), groups or not,
    squeeze-and-excitation too."""
    keras.utils.set_random_seed(0)
    model = kdb.RegNetY("800mf", include_top=False, input_shape=(32, 32, 3))
    kernels = [v for v in model.weights if v.path.endswith("kernel") and math.prod(v.shape) >= 2000]
    assert sum("_se/" in v.path for v in kernels) > 10
    for v in kernels:
        scale = math.sqrt(2 / (v.shape[0] * v.shape[1] * v.shape[3]))
        assert np.std(v) / scale == pytest.approx(1, abs=4 / math.sqrt(2 * math.prod(v.shape))), (
            v.path
        )
