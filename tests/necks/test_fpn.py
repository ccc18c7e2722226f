import keras
import numpy as np
import pytest
from neck_golden import check_golden, features

import keras_detblocks as kdb

GOLDENS = {
    "fpn_torchvision_maxpool_200x168": dict(
        filters=64, levels=(2, 3, 4, 5, 6), extra_levels="max_pool"
    ),
    "fpn_torchvision_noextra_224x224": dict(filters=32, levels=(3, 4, 5)),
    "fpn_mmdet_on_input_200x168": dict(
        filters=64, levels=(3, 4, 5, 6, 7), extra_levels="conv_c5", extra_activation=None
    ),
    "fpn_mmdet_maxpool_224x224": dict(
        filters=32, levels=(2, 3, 4, 5, 6, 7), extra_levels="max_pool"
    ),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name):
    check_golden(kdb.FPN(**GOLDENS[name]), name)


# Trainable parameters without normalization, by arithmetic from the definitions; backbone of
# ResNet-50's widths.
@pytest.mark.parametrize(
    "levels, extra_levels, expected",
    [
        ((2, 3, 4, 5, 6), "max_pool", 3_344_384),
        ((3, 4, 5, 6, 7), "conv_c5", 7_997_440),
        ((3, 4, 5, 6, 7), "conv_p5", 3_868_672),
    ],
)
def test_parameter_counts(levels, extra_levels, expected):
    neck = kdb.FPN(256, levels=levels, extra_levels=extra_levels)
    neck.build({f"P{l}": (None, None, None, 64 * 2**l) for l in (2, 3, 4, 5)})
    assert neck.count_params() == expected


def test_detectron2_and_old_torchvision_names():
    neck = kdb.FPN(8, levels=(3, 4, 5, 6), extra_levels="conv_c5")
    shapes = {3: 4, 4: 5, 5: 6}
    neck.build({f"P{l}": (None, None, None, c) for l, c in shapes.items()})
    rng = np.random.default_rng(0)
    params = {}
    for level, c in shapes.items():
        params |= {
            f"fpn_lateral{level}.weight": rng.normal(size=(8, c, 1, 1)),
            f"fpn_lateral{level}.bias": rng.normal(size=8),
        }
        params |= {
            f"fpn_output{level}.weight": rng.normal(size=(8, 8, 3, 3)),
            f"fpn_output{level}.bias": rng.normal(size=8),
        }
    params |= {
        "top_block.p6.weight": rng.normal(size=(8, 6, 3, 3)),
        "top_block.p6.bias": rng.normal(size=8),
    }
    assert kdb.weights.load(neck, params) == "detectron2"
    np.testing.assert_allclose(
        neck.laterals["P4"].conv.bias, params["fpn_lateral4.bias"], rtol=1e-6
    )
    np.testing.assert_allclose(neck.extras["P6"].conv.bias, params["top_block.p6.bias"], rtol=1e-6)
    renamed = {
        key.replace(f"fpn_lateral{l}", f"inner_blocks.{i}").replace(
            f"fpn_output{l}", f"layer_blocks.{i}"
        ): value
        for i, l in enumerate(shapes)
        for key, value in params.items()
        if str(l) in key
    } | {
        key.replace("top_block", "extra_blocks"): value
        for key, value in params.items()
        if "top_block" in key
    }
    assert kdb.weights.load(neck, renamed) == "torchvision before 0.13"


@pytest.mark.parametrize(
    "inputs, levels",
    [
        ((3, 4), (3, 4)),
        ((3, 4), (3, 4, 5)),
        ((2, 3, 4, 5), (3, 4, 5)),
        ((3, 4, 5), (3, 4)),
        ((3, 5), (3, 5, 6)),
        ((4,), (4, 6)),
    ],
)
def test_any_subset_of_levels(inputs, levels):
    """Static and dynamic sizes agree, and every level has its size."""
    x = features({l: 4 for l in inputs}, (101, 67))
    neck = kdb.FPN(8, levels=levels)
    outputs = neck(x)
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        f"P{l}": (2, -(-101 // 2**l), -(-67 // 2**l), 8) for l in levels
    }
    dynamic = kdb.as_model(neck, {k: (None, None, 4) for k in x})
    for level, y in dynamic(x).items():
        np.testing.assert_allclose(y, outputs[level], atol=1e-5)


def test_nearest_equals_the_floor_gather():
    """Nearest x2 and crop is PyTorch's size-based nearest: source index floor(i * a / b)."""
    for a in range(1, 41):
        for b in {2 * a - 1, 2 * a}:
            x = np.arange(a, dtype="float32").reshape(1, a, 1, 1)
            y = kdb.layers.upsample_to(
                keras.ops.array(x), keras.ops.zeros((1, b, 1, 1)), "nearest", 2 if b > 1 else None
            )
            np.testing.assert_array_equal(np.ravel(y), np.arange(b) * a // b)


def bad(shapes, **kwargs):
    return lambda: kdb.FPN(8, **kwargs)({k: keras.ops.ones(s) for k, s in shapes.items()})


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.FPN(0), "filters"),
        (lambda: kdb.FPN(8, levels=()), "levels"),
        (lambda: kdb.FPN(8, levels=(4, 3)), "ascending"),
        (lambda: kdb.FPN(8, extra_levels="p6"), "extra_levels"),
        (lambda: kdb.FPN(8, upsampling="cubic"), "upsampling"),
        (lambda: kdb.FPN(8, normalization="layer"), "normalization"),
        (lambda: kdb.FPN(8, normalization="group"), "divisible by 32"),
        (lambda: kdb.FPN(8)(keras.ops.ones((1, 8, 8, 4))), "dict of levels"),
        (bad({"C3": (1, 8, 8, 4)}), "keys"),
        (bad({"P3": (1, 8, 8, 4), "P5": (1, 2, 2, 4)}), "missing P4"),
        (bad({"P4": (1, 8, 8, 4), "P5": (1, 4, 4, 4)}), "missing P3"),
        (bad({"P3": (1, 8, 8, 4), "P4": (1, 5, 4, 4)}), "rounded up"),
        (bad({"P3": (8, 8, 4)}), "batch, height, width, channels"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_later_call_is_checked_too():
    neck = kdb.FPN(8, levels=(3, 4))
    neck({"P3": keras.ops.ones((1, 8, 8, 4)), "P4": keras.ops.ones((1, 4, 4, 4))})
    with pytest.raises(ValueError, match="rounded up"):
        neck({"P3": keras.ops.ones((1, 8, 8, 4)), "P4": keras.ops.ones((1, 2, 4, 4))})
