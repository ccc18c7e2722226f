"""Closed-form complexity against the numbers of pycls, to the integer."""

import numpy as np
import pytest
from published_regnets import PUBLISHED

import keras_detblocks as kdb
from keras_detblocks.backbones.complexity import Architectures, population_complexity
from keras_detblocks.backbones.regnet import VARIANTS


def _nets(net):
    widths = np.array([net.widths])
    return Architectures(
        np.array([net.depths]), widths, np.ones_like(widths), np.minimum(widths, net.group_width)
    )


@pytest.mark.parametrize("net", PUBLISHED, ids=lambda net: net.name)
def test_published(net):
    counted = population_complexity(_nets(net), net.se_ratio)
    assert [int(array[0]) for array in counted] == [net.macs, net.params, net.activations]


def test_population_is_counted_row_by_row():
    two = [_nets(net) for net in PUBLISHED[:2]]
    both = Architectures(
        *(np.concatenate(pair) for pair in zip(*(vars(nets).values() for nets in two)))
    )
    assert population_complexity(both).macs.tolist() == [net.macs for net in PUBLISHED[:2]]


def test_small_net_by_hand():
    """A one-stage net at 8x8 whose sums fit on paper."""
    nets = Architectures(*(np.array([[value]]) for value in (2, 8, 2, 2)))
    counted = population_complexity(nets, stem_width=4, image_size=8, classes=3)
    stem = 27 * 4 * 16
    # Projection, 1x1 at 4x4, grouped 3x3 and 1x1 at 2x2.
    first = 4 * 8 * 4 + 4 * 4 * 16 + 9 * 4 * 2 * 4 + 4 * 8 * 4
    second = 8 * 4 * 4 + 9 * 4 * 2 * 4 + 4 * 8 * 4
    assert counted.macs[0] == stem + first + second + 27
    assert (
        counted.activations[0]
        == 4 * 16 + (8 * 4 + 4 * 16 + 4 * 4 + 8 * 4) + (4 * 4 + 4 * 4 + 8 * 4) + 3
    )
    norms = 2 * (4 + 8 + 4 + 4 + 8 + 4 + 4 + 8)
    assert counted.params[0] == 108 + (32 + 16 + 72 + 32) + (32 + 72 + 32) + norms + 27


def test_one_spec():
    net = PUBLISHED[0]
    assert kdb.design.spec_complexity(VARIANTS[net.key]) == (net.macs, net.params, net.activations)
