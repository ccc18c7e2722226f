import keras
import numpy as np
import pytest
import tensorflow as tf
from neck_golden import check_golden, features
from without_values import without_values

import keras_detblocks as kdb
from keras_detblocks.necks.bifpn import VARIANTS, wiring

GOLDENS = {
    "bifpn_fast_same_1x_256x256": dict(),
    "bifpn_fast_same_1x_200x168": dict(),
    "bifpn_fast_sympad_1x_256x256": dict(padding="symmetric", use_bias=False),
    "bifpn_fast_sympad_1x_200x168": dict(padding="symmetric", use_bias=False),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name):
    check_golden(kdb.BiFPN(64, num_repeats=1, **GOLDENS[name]), name)


def test_wiring_is_the_papers():
    """Nodes and inputs of google/automl's cell, in its order: 0 to 4 are the inputs, 5 and up the
    nodes."""
    nodes = wiring((3, 4, 5, 6, 7))
    order = [f"P{l}_in" for l in range(3, 8)] + [name for name, _, _ in nodes]
    offsets = [[order.index(source) for source, _ in inputs] for _, _, inputs in nodes]
    assert [level for _, level, _ in nodes] == [6, 5, 4, 3, 4, 5, 6, 7]
    assert offsets == [[3, 4], [2, 5], [1, 6], [0, 7], [1, 7, 8], [2, 6, 9], [3, 5, 10], [4, 11]]


CELLS = {
    64: 38_931,
    88: 70_419,
    112: 111_123,
    160: 220_179,
    224: 422_931,
    288: 691_219,
    384: 1_216_531,
}


@pytest.mark.parametrize("variant", ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"])
@without_values()
def test_parameter_counts(variant):
    """A repeated five-level cell, with fast fusion and biases; D6 and D7 sum without the 19
    weights."""
    neck = kdb.BiFPN.from_variant(variant, num_repeats=2)
    neck.build({f"P{l}": (None, None, None, c) for l, c in {3: 40, 4: 112, 5: 320}.items()})
    expected = CELLS[neck.filters] - (19 if neck.fusion == "sum" else 0)
    assert sum(np.prod(w.shape) for w in neck.cells[1].trainable_weights) == expected


def test_first_cell_owns_a_projection_per_use():
    """C4 and C5 enter twice, each use with its own convolution; P6 has one more."""
    neck = kdb.BiFPN(16, num_repeats=2)
    neck.build({f"P{l}": (None, None, None, c) for l, c in {3: 40, 4: 112, 5: 320}.items()})
    paths = [w.path for w in neck.weights if w.path.endswith("conv/kernel")]
    assert sorted(path.split("/", 1)[1] for path in paths) == [
        "1/P3_out/P3_in/conv/kernel",
        "1/P4_out/P4_in/conv/kernel",
        "1/P4_td/P4_in/conv/kernel",
        "1/P5_out/P5_in/conv/kernel",
        "1/P5_td/P5_in/conv/kernel",
        "P6_in/conv/kernel",
    ]


def test_variants_follow_the_table():
    assert (VARIANTS["d0"]["filters"], VARIANTS["d0"]["num_repeats"]) == (64, 3)
    assert VARIANTS["d7x"]["levels"] == (3, 4, 5, 6, 7, 8)
    assert {
        name
        for name, row in VARIANTS.items()
        if row["fusion"] == "sum" and row["activation"] == "silu"
    } == {"d6", "d7", "d7x"}


def test_every_node_reaches_the_outputs():
    """A gradient for each fusion weight: a cell that returned its top-down nodes would lack
    some."""
    neck = kdb.BiFPN(8, num_repeats=1)
    x = features({3: 8, 4: 8, 5: 8}, (128, 96))
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_mean(y**2) for y in neck(x, training=False).values())
    weights = [w for w in neck.trainable_variables if "edge_weights" in w.path]
    assert len(weights) == 8
    assert all(np.abs(g).min() > 0 for g in tape.gradient(loss, [w.value for w in weights]))


@pytest.mark.parametrize(
    "inputs, levels, fusion",
    [
        ((3, 4), (3, 4), "fast"),
        ((2, 3, 4, 5), (3, 4, 5, 6, 7, 8), "sum"),
        ((3, 4, 5), (3, 4), "softmax"),
        ((3, 5), (3, 5, 6), "fast"),
        ((4,), (4, 6), "sum"),
    ],
)
def test_any_subset_of_levels(inputs, levels, fusion):
    neck = kdb.BiFPN(8, levels=levels, fusion=fusion, num_repeats=2)
    outputs = neck(features({l: 4 for l in inputs}, (101, 67)))
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        f"P{l}": (2, -(-101 // 2**l), -(-67 // 2**l), 8) for l in levels
    }


@pytest.mark.parametrize("height", range(33, 160, 21))
def test_every_size(height):
    outputs = kdb.BiFPN(4, num_repeats=1)(features({3: 4, 4: 4, 5: 4}, (height, 161 - height)))
    assert all(np.isfinite(np.asarray(y)).all() for y in outputs.values())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.BiFPN(8, levels=(3,)), "at least two"),
        (lambda: kdb.BiFPN(8, num_repeats=0), "num_repeats"),
        (lambda: kdb.BiFPN(8, fusion="mean"), "fusion"),
        (lambda: kdb.BiFPN(8, padding="valid"), "padding"),
        (lambda: kdb.BiFPN.from_variant("d8"), "variant"),
        (lambda: kdb.BiFPN(8)({"P4": keras.ops.ones((1, 4, 4, 2))}), "missing P3"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
