import golden
import keras
import numpy as np
import pytest
from neck_golden import GOLDENS, features, nhwc

import keras_detblocks as kdb

FILES = {
    "asff_level0_7x6": (5, 1024, "darknet_leaky_relu"),
    "asff_level0_6x8": (5, 1024, "darknet_leaky_relu"),
    "asff_level1_14x10": (4, 512, "darknet_leaky_relu"),
    "asff_level2_28x20": (3, 256, "darknet_leaky_relu"),
    "asff_mobile_level1_14x10": (4, 512, "relu6"),
}


@pytest.mark.parametrize("name", FILES)
def test_golden(name):
    """The output, the softmax weights and the fused map before the output convolution."""
    level, filters, activation = FILES[name]
    g = golden.load(GOLDENS / f"{name}.npz")
    inputs = {f"P{5 - int(key[5:])}": nhwc(x) for key, x in g.inputs().items()}
    neck = kdb.ASFF(filters, levels=(level,), activation=activation)
    neck.build({key: x.shape for key, x in inputs.items()})
    kdb.weights.load(neck, g.params())
    fusion = neck.fusions[f"P{level}"]
    maps = fusion.resampled(inputs)
    weights = fusion.weights_of(maps)
    g.check("out", np.transpose(neck(inputs)[f"P{level}"], (0, 3, 1, 2)))
    g.check("weights", np.transpose(weights, (0, 3, 1, 2)))
    g.check("fused_sum", np.sum(fusion.weighted_sum(maps, weights), axis=-1))


def test_all_levels_by_the_authors_names():
    g = {
        l: golden.load(GOLDENS / f"{n}.npz")
        for l, n in ((5, "asff_level0_7x6"), (4, "asff_level1_14x10"))
    }
    params = {
        f"level_{5 - l}_fusion.{key}": value
        for l, each in g.items()
        for key, value in each.params().items()
    }
    neck = kdb.ASFF(1024, levels=(5,))
    neck.build({"P3": (1, 25, 21, 256), "P4": (1, 13, 11, 256), "P5": (1, 7, 6, 512)})
    assert (
        kdb.weights.load(neck, {k: v for k, v in params.items() if k.startswith("level_0")})
        == "GOATmessi8/ASFF"
    )


@pytest.mark.parametrize(
    "level, filters, expected", [(5, 1024, 7_106_803), (4, 512, 1_915_123), (3, 256, 734_451)]
)
def test_parameter_counts(level, filters, expected):
    neck = kdb.ASFF(filters, levels=(level,))
    neck.build({f"P{l}": (None, None, None, c) for l, c in {3: 256, 4: 256, 5: 512}.items()})
    assert sum(np.prod(w.shape) for w in neck.trainable_weights) == expected


@pytest.mark.parametrize("levels", [(3, 4), (3, 4, 5, 6, 7), (2, 4, 5)])
def test_any_number_of_levels(levels):
    x = features({l: 4 for l in levels}, (101, 67))
    neck = kdb.ASFF(6)
    assert {k: tuple(v.shape) for k, v in neck(x).items()} == {
        k: (*v.shape[:3], 6) for k, v in x.items()
    }
    fusion = neck.fusions[f"P{levels[0]}"]
    np.testing.assert_allclose(
        np.sum(fusion.weights_of(fusion.resampled(x)), axis=-1), 1, rtol=1e-5
    )


def test_without_output_convolution_widths_stay():
    x = features({3: 4, 4: 6}, (64, 64))
    assert [v.shape[-1] for v in kdb.ASFF(8, expand=False)(x).values()] == [4, 6]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.ASFF(8, compress_channels=0), "compress_channels"),
        (lambda: kdb.ASFF(8)({"P3": keras.ops.ones((1, 8, 8, 4))}), "at least two"),
        (lambda: kdb.ASFF(8, levels=(3, 5))(features({3: 4, 4: 4}, (64, 64))), "missing P5"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
