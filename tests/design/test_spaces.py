import numpy as np
import pytest
from published_regnets import THE_24

import keras_detblocks as kdb
from keras_detblocks.design import SPACES, Choice, Range, complexity_bounds
from keras_detblocks.design.spaces import fit_groups, quantized_stages


@pytest.mark.parametrize(
    ("name", "size"),
    [("A", 1.8e18), ("B", 6.8e16), ("C", 3.2e14), ("D", 1.3e13), ("E", 5.5e11)],
)
def test_sizes_of_the_ladder(name, size):
    """The paper's table, section 3.2."""
    for family in "XY":
        assert float(f"{SPACES[f'AnyNet{family}_{name}'].size:.1e}") == size


def test_size_of_regnet():
    assert float(f"{SPACES['RegNetX'].size:.1e}") == 3.0e8


@pytest.mark.parametrize(
    ("name", "dimensions"), [("A", 16), ("B", 13), ("C", 10), ("D", 10), ("E", 10)]
)
def test_dimensions(name, dimensions):
    assert len(SPACES[f"AnyNetX_{name}"].parameters) == dimensions
    assert len(SPACES["RegNetX"].parameters) == 6


def test_generation_rule_gives_the_published_nets():
    lines = (np.array(column) for column in zip(*(net.line for net in THE_24)))
    depths, widths, valid = quantized_stages(*lines)
    assert valid.all()
    groups = np.repeat([[net.group_width] for net in THE_24], 4, axis=1)
    nets = fit_groups(depths, widths, np.ones_like(groups), groups)
    assert nets.depths.tolist() == [list(net.depths) for net in THE_24]
    assert nets.widths.tolist() == [list(net.widths) for net in THE_24]


def test_skipped_and_missing_stages_are_not_valid():
    _, _, valid = quantized_stages(
        [13, 3, 13], [24, 24, 24], [36.44, 36.44, 300.0], [2.49, 2.49, 1.5]
    )
    assert valid.tolist() == [True, False, False]


@pytest.mark.parametrize("name", sorted(SPACES))
def test_members(name):
    space = SPACES[name]
    rng = np.random.default_rng(0)
    values = {key: choices.draw(rng, 5000) for key, choices in space.parameters.items()}
    nets, valid = space.decode(values)
    nets = nets.take(valid)
    inner = nets.widths / nets.bottleneck_ratios
    assert (inner % nets.group_widths == 0).all() and (inner % 1 == 0).all()
    if "AnyNet" in name:
        assert valid.all()
    if name[-1] in "BCDE" or "RegNet" in name:
        assert (nets.bottleneck_ratios == nets.bottleneck_ratios[:, :1]).all()
    if name[-1] in "DE":
        assert (np.diff(nets.widths) >= 0).all()
    if name[-1] == "E":
        assert (np.diff(nets.depths) >= 0).all()
    if name == "RegNetX_depthwise":
        assert (nets.group_widths == 1).all()
    if name == "RegNetX_inverted":
        assert (inner > nets.widths).all()


@pytest.mark.parametrize("name", ["AnyNetY_A", "RegNetX", "RegNetY_constrained"])
def test_spec_agrees_with_the_vectorized_rule(name):
    space, rng = SPACES[name], np.random.default_rng(1)
    values = {key: choices.draw(rng, 2000) for key, choices in space.parameters.items()}
    nets, valid = space.decode(values)
    for i in np.nonzero(valid)[0][:40]:
        spec = space.spec(values, nets, i)
        spec = spec.to_anynet() if hasattr(spec, "to_anynet") else spec
        assert (spec.se_ratio, spec.stem_width) == (space.se_ratio, 32)
        for field in ("depths", "widths", "bottleneck_ratios", "group_widths"):
            assert tuple(getattr(spec, field)) == tuple(getattr(nets, field)[i])


def test_derive():
    space = kdb.design.AnyNetX_E.derive(
        "mine",
        stages=3,
        widths=Range(8, 64, 8),
        bottleneck_ratios=Choice((1,)),
        where=(lambda nets: nets.widths[:, -1] >= 48,),
    )
    nets = kdb.design.sample(space, 20, rng=0).nets
    assert nets.widths.shape == (20, 3) and (nets.widths[:, -1] >= 48).all()


def test_bad_tie():
    with pytest.raises(ValueError, match="shared and increasing"):
        kdb.design.AnyNetX_A.derive("bad", shared=("width",))


def test_complexity_bounds():
    """The bounds as pycls states them: 3 + 5.5 F and 6.5 sqrt(F) million at F billion."""
    assert complexity_bounds(4e9) == {"params": (None, 25e6), "activations": (None, 13e6)}
