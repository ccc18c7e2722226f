import numpy as np
import pytest
from neck_golden import check_golden, features

import keras_detblocks as kdb

PLAIN = dict(normalization=None, activation=None)
GOLDENS = {
    "pafpn_mmdet_200x168": dict(
        filters=64, levels=(2, 3, 4, 5, 6), extra_levels="max_pool", form="mmdetection", **PLAIN
    ),
    "pafpn_mmdet_on_input_224x224": dict(
        filters=32,
        levels=(3, 4, 5, 6, 7),
        extra_levels="conv_c5",
        extra_activation=None,
        form="mmdetection",
        **PLAIN,
    ),
    "panet_authors_gn_256x192": dict(
        filters=64, levels=(2, 3, 4, 5, 6), extra_levels="max_pool", normalization="group"
    ),
    "panet_authors_plain_256x192": dict(filters=32, levels=(2, 3, 4, 5), **PLAIN),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name):
    check_golden(kdb.PANet(**GOLDENS[name]), name)


def test_forms_differ_in_what_goes_up():
    """Equal up to the first fused level; the authors feed the convolved map on, mmdetection the
    sum."""
    x = features({3: 4, 4: 4, 5: 4}, (96, 64))
    outputs = []
    authors = kdb.PANet(8, levels=(3, 4, 5), **PLAIN)
    mmdetection = kdb.PANet(8, levels=(3, 4, 5), form="mmdetection", **PLAIN)
    for neck in (authors, mmdetection):
        neck.build({k: v.shape for k, v in x.items()})
        for ours, other in zip(neck.weights, authors.weights):
            ours.assign(other)
        outputs.append(neck(x))
    np.testing.assert_allclose(outputs[0]["P4"], outputs[1]["P4"], atol=1e-5)
    assert np.abs(outputs[0]["P5"] - outputs[1]["P5"]).max() > 0.1


@pytest.mark.parametrize("neck", [kdb.PANet, kdb.CSPPANet])
@pytest.mark.parametrize(
    "inputs, levels",
    [
        ((3, 4), (3, 4)),
        ((2, 3, 4, 5), (3, 4, 5, 6)),
        ((3, 4, 5), (3, 4)),
        ((3, 4, 5), (3, 5)),
        ((3, 5), (3, 5, 6)),
    ],
)
def test_any_subset_of_levels(neck, inputs, levels):
    outputs = neck(8, levels=levels)(features({l: 4 for l in inputs}, (101, 67)))
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        f"P{l}": (2, -(-101 // 2**l), -(-67 // 2**l), 8) for l in levels
    }


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.PANet(8, form="csp"), "form"),
        (lambda: kdb.CSPPANet(8, depth=-1), "depth"),
        (lambda: kdb.CSPPANet(7), "even"),
        (lambda: kdb.CSPPANet(32, normalization="group"), "64"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_csp_unit_parameter_count():
    """YOLOX-S's C3_p4 (512 -> 256 channels, one bottleneck): three 1x1, a bottleneck of 1x1 and
    3x3, norms."""
    neck = kdb.CSPPANet(256, levels=(4, 5))
    neck.build({"P4": (None, None, None, 256), "P5": (None, None, None, 512)})
    kernels = 512 * 128 * 2 + 128 * 128 * (1 + 9) + 256 * 256
    assert sum(np.prod(w.shape) for w in neck.outs["P4"].trainable_weights) == kernels + 2 * (
        128 * 4 + 256
    )
