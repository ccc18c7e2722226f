import numpy as np
import pytest

import keras_detblocks as kdb
from keras_detblocks.design import SPACES, Choice, Range, acceptance_rate, sample

WINDOW = {"macs": (360e6, 400e6)}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("AnyNetX_A", 0.022),
        ("AnyNetX_B", 0.020),
        ("AnyNetX_C", 0.020),
        ("AnyNetX_D", 0.021),
        ("AnyNetX_E", 0.028),
        ("RegNetX", 0.0017),
    ],
)
def test_acceptance_rates(name, published):
    """Rates of an independent implementation over 20,000 draws, within three standard errors and
    the digit they were printed to."""
    draws = 200_000
    seen = acceptance_rate(SPACES[name], WINDOW, draws, rng=0)
    error = np.sqrt(published * (1 - published) * (1 / 20_000 + 1 / draws))
    assert abs(seen - published) < 3 * error + (0.0005 if published > 0.01 else 0.00005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AnyNetX_A", "RegNetX"])
def test_500_samples_in_the_window(name):
    found = sample(SPACES[name], 500, WINDOW, rng=0)
    assert len(found) == len(set(found)) == len({tuple(row) for row in found.nets.rows()}) == 500
    assert found.complexity.macs.min() >= 360e6 and found.complexity.macs.max() <= 400e6
    for i in (0, 250, 499):
        assert kdb.design.spec_complexity(found[i]) == tuple(array[i] for array in found.complexity)


def test_seed_decides():
    first, again, other = (sample(SPACES["AnyNetX_C"], 5, rng=seed).specs for seed in (3, 3, 4))
    assert first == again != other


def test_open_ends_and_bounds():
    bounds = WINDOW | kdb.design.complexity_bounds(400e6)
    cost = sample(SPACES["RegNetX_constrained"], 5, bounds, rng=0).complexity
    assert cost.params.max() <= 5.2e6 and cost.activations.max() <= 6.5e6 * 0.4**0.5


def test_unsatisfiable_is_reported_with_the_rate():
    with pytest.raises(ValueError, match=r"Found 0 of 3 .* 40000 draws, of which 0 \(0.000%\)"):
        sample(SPACES["AnyNetX_A"], 3, {"macs": (1, 2)}, rng=0, max_draws=40_000)


def test_small_space_runs_out():
    one = {
        "depths": Choice((1, 2)),
        "widths": Range(8, 8, 8),
        "bottleneck_ratios": Choice((1,)),
        "group_widths": Choice((8,)),
    }
    space = kdb.design.AnyNetX_A.derive("sixteen", **one)
    assert len(sample(space, 16, rng=0, max_draws=1000)) == space.size == 16
    with pytest.raises(ValueError, match="Found 16 of 17"):
        sample(space, 17, rng=0, max_draws=1000)


def test_nothing_asked():
    assert len(sample(SPACES["AnyNetX_A"], 0)) == 0


@pytest.mark.parametrize(
    ("constraints", "message"),
    [({"flops": (1, 2)}, "macs"), ({"macs": (2, 1)}, "nothing can meet"), ({"macs": 5}, "window")],
)
def test_bad_constraints(constraints, message):
    with pytest.raises(ValueError, match=message):
        sample(SPACES["AnyNetX_A"], 1, constraints)
