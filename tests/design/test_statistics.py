import itertools

import numpy as np
import pytest

from keras_detblocks import design
from keras_detblocks.design import (
    bootstrap,
    complexity_weights,
    edf,
    permutation_test,
    random_search_efficiency,
)


def test_edf_by_hand():
    distribution = edf([0.3, 0.1, 0.2, 0.2])
    assert [float(distribution(e)) for e in (0.1, 0.15, 0.2, 0.25, 0.3, 0.31)] == [
        0,
        0.25,
        0.25,
        0.75,
        0.75,
        1,
    ]
    assert (
        distribution.n == 4 and distribution.min == 0.1 and distribution.mean == pytest.approx(0.2)
    )


def test_mean_error_is_the_area_above_the_curve():
    """For errors in 0..1 the mean is the integral of 1 - F: how the paper reads it."""
    errors = np.random.default_rng(0).uniform(size=50)
    grid = (np.arange(100_000) + 0.5) / 100_000
    assert edf(errors).mean == pytest.approx((1 - edf(errors)(grid)).mean(), abs=1e-4)


def test_normalized_edf():
    """Three nets in the cheap half, one in the other: each half has the weight 1/2."""
    weights = complexity_weights([1, 2, 3, 9], bins=2, bounds=(0, 10))
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert edf([0.4, 0.4, 0.4, 0.2], weights).mean == pytest.approx(0.3)
    outside = complexity_weights([1, 6, 99], bins=2, bounds=(0, 10))
    np.testing.assert_allclose(outside, [0.5, 0.5, 0])
    assert edf([0.4, 0.2, 0.1], outside).min == 0.2


def test_empty_bin():
    with pytest.raises(ValueError, match="none from 2.5 to 5"):
        complexity_weights([1, 2, 6, 9], bins=4, bounds=(0, 10))


def test_bootstrap_matches_the_exact_law():
    """With replacement, the net of rank i is the best of k drawn with probability ((n-i)^k -
    (n-i-1)^k) / n^k."""
    n, k = 8, 2
    values = np.arange(n)
    kept = bootstrap(values, values, rng=0, repetitions=40_000)
    chance = np.array([((n - i) ** k - (n - i - 1) ** k) / n**k for i in range(n)])
    cumulative = np.cumsum(chance)
    assert kept == tuple(float(np.searchsorted(cumulative, q)) for q in (0.025, 0.5, 0.975))


def test_bootstrap_finds_the_planted_optimum():
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 40, 500)
    band = bootstrap(depth, (depth - 20) ** 2 + rng.normal(0, 5, 500), rng=1)
    assert band.low < 20 < band.high and band.high - band.low < 10


def test_random_search_efficiency_against_all_subsets():
    errors = [0.5, 0.1, 0.4, 0.4, 0.9]
    curve = random_search_efficiency(errors)
    for m, mean, low, high in zip(*curve):
        best = [min(subset) for subset in itertools.combinations(errors, m)]
        assert mean == pytest.approx(np.mean(best))
        assert low == pytest.approx(np.quantile(best, 0.025, method="inverted_cdf"))
        assert high == pytest.approx(np.quantile(best, 0.975, method="inverted_cdf"))


def test_a_permutation_test_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 40), rng.normal(0.5, 1, 60).round(1)
    seen = permutation_test(first, second, rng=1)
    reference = stats.ks_2samp(first, second)
    assert seen.ks_distance == pytest.approx(reference.statistic)
    assert seen.ks_p == pytest.approx(reference.pvalue, abs=0.02)
    assert seen.mean_difference == pytest.approx(first.mean() - second.mean())
    assert seen.mean_p == pytest.approx(stats.ttest_ind(first, second).pvalue, abs=0.02)


def test_a_permutation_test_of_ties_and_far_apart():
    assert permutation_test([1, 2, 3], [1, 2, 3], rng=0)[:4] == (0, 1, 0, 1)
    assert permutation_test(
        np.zeros(20), np.ones(20), repetitions=999, rng=0
    ).mean_p == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: edf([]), "at least one error"),
        (lambda: edf([0.1, float("nan")]), "all finite"),
        (lambda: edf([0.1, 0.2], [1.0]), "one weight"),
        (lambda: bootstrap([1, 2], [0.1]), "one value"),
        (lambda: random_search_efficiency([0.1, 0.2], [3]), "1 to 2 tries"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "old, new",
    [
        ("RegNetX", "RegNetXSpace"),
        ("complexity", "spec_complexity"),
        ("compare", "permutation_test"),
        ("Comparison", "PermutationTest"),
    ],
)
def test_old_names_work_and_warn(old, new):
    with pytest.warns(DeprecationWarning, match=f"`design.{old}` is called `design.{new}`"):
        found = getattr(design, old)
    assert found is getattr(design, new)
