"""Statistics over populations of trained nets: which space is better, and where in a space the good
nets are.

Error distributions and the bootstrap follow "Designing Network Design Spaces"
(https://arxiv.org/abs/2003.13678, sections 3.1 to 3.3), complexity-normalized weights "On Network
Design Spaces for Visual Recognition" (https://arxiv.org/abs/1905.13214). Errors may have any unit;
smaller is better. Nothing here knows a net except by its numbers.
"""

import math
from typing import NamedTuple

import numpy as np

from ..checks import check_generator, check_int, check_ints, check_number, check_numbers


class EDF(NamedTuple):
    """An error distribution: `fractions[i]` of the nets have an error of at most `errors[i]`
    (ascending)."""

    errors: np.ndarray
    fractions: np.ndarray
    n: int
    min: float
    mean: float

    def __call__(self, error):
        """The share of the nets whose error is below `error` (strictly, as in the paper)."""
        return np.concatenate([[0.0], self.fractions])[
            np.searchsorted(self.errors, error, side="left")
        ]


def edf(errors, weights=None):
    """The empirical distribution function of errors.

    Args:
        errors: `(n,)`.
        weights: `(n,)` that sum to 1, such as those of `complexity_weights`; all equal by default.

    Returns:
        An `EDF`, callable, with `n`, `min` and the (weighted) `mean`.

    Raises:
        ValueError: no errors, one that is not finite, or weights of another length.

    Example:

    >>> distribution = kdb.design.edf([0.5, 0.2, 0.3, 0.4])
    >>> float(distribution(0.4)), distribution.min
    (0.5, 0.2)
    """
    errors = _errors(errors)
    weights = (
        np.full(len(errors), 1 / len(errors))
        if weights is None
        else np.asarray(weights, np.float64)
    )
    if weights.shape != errors.shape:
        raise ValueError(
            f"Expected one weight for each of {len(errors)} errors. Received: shape "
            f"{weights.shape}."
        )
    order, used = np.argsort(errors, kind="stable"), weights > 0
    fractions = np.cumsum(weights[order])
    return EDF(
        errors[order],
        fractions,
        int(used.sum()),
        float(errors[used].min()),
        float(weights @ errors / weights.sum()),
    )


def complexity_weights(metric, bins=10, bounds=None):
    """Weights that let every bin of a complexity metric count the same, so that spaces of different
    sizes compare fairly.

    Args:
        metric: `(n,)`, such as multiply-adds.
        bins: the number of bins, which have equal width.
        bounds: `(low, high)`, the same for all spaces of a comparison; by default the metric's own.
            Nets outside weigh 0.

    Returns:
        `(n,)`: 1 / (nets in the bin x number of bins).

    Raises:
        ValueError: a bin without a net, which the message names by its bounds.
    """
    metric, bins = np.asarray(metric, np.float64), check_int(bins, "bins")
    ends = (metric.min(), metric.max())
    ends = ends if bounds is None else check_numbers(bounds, "bounds", count=2)
    edges = np.linspace(*ends, bins + 1)
    inside = (metric >= edges[0]) & (metric <= edges[-1])
    index = np.clip(np.searchsorted(edges, metric, side="right") - 1, 0, bins - 1)
    counts = np.bincount(index[inside], minlength=bins)
    if (counts == 0).any():
        empty = int(np.argmin(counts))
        raise ValueError(
            f"Every bin needs a net. Received: none from {edges[empty]:g} to {edges[empty + 1]:g}. "
            "Use fewer bins, narrower bounds or more nets."
        )
    return np.where(inside, 1 / (counts[index].clip(min=1) * bins), 0.0)


class Band(NamedTuple):
    """The 2.5, 50 and 97.5 percentiles."""

    low: float
    median: float
    high: float


def bootstrap(values, errors, share=0.25, repetitions=10_000, rng=None):
    """Estimates which value of a parameter the best nets have, with a 95 % band, by the empirical
    bootstrap.

    Args:
        values: `(n,)` of the parameter, one per net.
        errors: `(n,)`.
        share: share of the nets drawn each time, with replacement; the value of the best one drawn
            is kept.
        repetitions: how often.
        rng: `numpy.random.Generator`, or a seed for one.

    Returns:
        `Band(low, median, high)` of the kept values.

    Example:

    >>> kdb.design.bootstrap([1, 2, 3, 4], [0.9, 0.1, 0.9, 0.9], share=1.0, rng=0).median
    2.0
    """
    values, errors = np.asarray(values, np.float64), _errors(errors)
    if values.shape != errors.shape:
        raise ValueError(
            f"Expected one value for each of {len(errors)} errors. Received: shape {values.shape}."
        )
    size = max(1, round(check_number(share, "share", above=0) * len(errors)))
    repetitions = check_int(repetitions, "repetitions")
    drawn = check_generator(rng).integers(len(errors), size=(repetitions, size))
    best = drawn[np.arange(repetitions), np.argmin(errors[drawn], axis=1)]
    return Band(*(float(q) for q in np.percentile(values[best], [2.5, 50, 97.5])))


class SearchEfficiency(NamedTuple):
    """For each number of random tries `tries[i]`, the expected best error and its 95 % band."""

    tries: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def random_search_efficiency(errors, tries=None):
    """Computes how good the best of m random nets of a population is, exactly, over all draws
    without replacement.

    Args:
        errors: `(n,)` of the population.
        tries: the values of m, at most n; by default 1 to n.

    Returns:
        `SearchEfficiency`.
    """
    errors = np.sort(_errors(errors))
    n = len(errors)
    tries = np.array(range(1, n + 1) if tries is None else check_ints(tries, "tries"))
    if tries.max() > n:
        raise ValueError(
            f"A population of {n} nets allows 1 to {n} tries. Received: {tries.min()} to "
            f"{tries.max()}."
        )
    rank = np.arange(n)
    above = np.array(
        [[math.comb(n - i, m) / math.comb(n, m) for i in range(n + 1)] for m in tries.tolist()]
    )
    chance = above[:, :-1] - above[:, 1:]  # probability that the best of m is the net of this rank
    at_most = 1 - above[:, 1:]
    low, high = (
        errors[np.minimum((at_most < q - 1e-12).sum(axis=1), rank[-1])] for q in (0.025, 0.975)
    )
    return SearchEfficiency(tries, chance @ errors, low, high)


class PermutationTest(NamedTuple):
    """A comparison of two populations: the difference of mean errors (first minus second), the
    Kolmogorov-Smirnov distance, and their p-values."""

    mean_difference: float
    mean_p: float
    ks_distance: float
    ks_p: float


def permutation_test(errors, others, repetitions=10_000, rng=None):
    """Tests whether two populations of errors could come from one distribution, by permutation.

    Args:
        errors, others: `(n,)` and `(m,)`.
        repetitions: random relabelings; the smallest p-value possible is 1 / (repetitions + 1).
        rng: `numpy.random.Generator`, or a seed for one.

    Returns:
        `PermutationTest(mean_difference, mean_p, ks_distance, ks_p)`; both p-values two-sided.
    """
    errors, others = _errors(errors), _errors(others)
    repetitions, rng = check_int(repetitions, "repetitions"), check_generator(rng)
    n, pooled = len(errors), np.concatenate([errors, others])
    values, position = np.unique(pooled, return_inverse=True)
    seen = np.array(_statistics(np.arange(len(pooled))[None] < n, pooled, position, len(values)))[
        :, 0
    ]
    # exactly 0 for equal ones, which a matrix product would not give
    seen[0] = errors.mean() - others.mean()
    beyond = np.zeros(2)
    for start in range(0, repetitions, 1000):
        size = min(1000, repetitions - start)
        labels = rng.permuted(np.tile(np.arange(len(pooled)) < n, (size, 1)), axis=1)
        drawn = np.array(_statistics(labels, pooled, position, len(values)))
        beyond += (np.abs(drawn) >= np.abs(seen)[:, None] - 1e-12).sum(axis=1)
    mean_p, ks_p = ((beyond + 1) / (repetitions + 1)).tolist()
    return PermutationTest(float(seen[0]), mean_p, float(seen[1]), ks_p)


def _statistics(labels, pooled, position, count):
    """The difference of means and the Kolmogorov-Smirnov distance for each row of labels (true:
    first population)."""
    n = labels[0].sum()
    weight = np.where(labels, 1 / n, -1 / (labels.shape[1] - n))
    order = np.argsort(position, kind="stable")
    last_of_ties = np.cumsum(np.bincount(position, minlength=count)) - 1
    gaps = np.cumsum(weight[:, order], axis=1)[:, last_of_ties]
    return weight @ pooled, np.abs(gaps).max(axis=1)


def _errors(errors):
    errors = np.asarray(errors, np.float64).ravel()
    if not len(errors) or not np.isfinite(errors).all():
        raise ValueError(
            f"Expected at least one error, all finite (drop failed trials first). Received: "
            f"{errors[:5]} ..."
        )
    return errors
