"""Measures how far a net's widths are from a quantized line: the e_fit of
https://arxiv.org/abs/2003.13678, section 3.3."""

from itertools import product
from typing import NamedTuple

import numpy as np

from ..backbones.complexity import to_anynet
from ..checks import check_int


class Fit(NamedTuple):
    """The closest quantized line, its width at every block, and the mean absolute log-ratio of
    these to the net's widths."""

    w_0: float
    w_a: float
    w_m: float
    error: float
    widths: np.ndarray


def fit_quantized_linear(spec, rounds=4):
    """Fits `w_0`, `w_a` and `w_m` to the widths of a net of given depth, by a grid search that
    narrows.

    Args:
        spec: an `AnyNetSpec` or a `RegNetSpec`.
        rounds: number of grids, each around the best points of the one before.

    Returns:
        A `Fit`; `error` is the paper's e_fit: 0 for widths exactly on a quantized line, about 0.1
        for 10 % off on average.

    Example:

    >>> from keras_detblocks.backbones.regnet import VARIANTS
    >>> round(kdb.design.fit_quantized_linear(VARIANTS["regnetx_002"]).error, 6)
    0.0
    """
    spec = to_anynet(spec)
    target = np.repeat(np.asarray(spec.widths, np.float64), spec.depths)
    w_0 = np.unique(8 * np.rint(target[0] * np.linspace(0.5, 1.5, 17) / 8).clip(min=1))
    slopes, w_m = np.concatenate([[0.0], np.geomspace(0.01, 8, 80)]), np.linspace(1.5, 3, 61)
    best, steps = list(product(w_0, slopes, w_m)), (8.0, 1.09, 0.025)
    for _ in range(check_int(rounds, "rounds")):
        points = np.array(best)
        errors = np.abs(np.log(_line(points, len(target)) / target)).mean(axis=1)
        order = np.argsort(errors, kind="stable")[:12]
        found = points[order[0]], float(errors[order[0]])
        best = [point for center in points[order] for point in _around(center, steps)]
        steps = steps[0], steps[1] ** 0.3, steps[2] * 0.3
    (w_0, slope, w_m), error = found
    return Fit(
        float(w_0), float(w_0 * slope), float(w_m), error, _line(found[0][None], len(target))[0]
    )


def _line(points, depth):
    """The block widths `(n, depth)` for rows `(w_0, w_a / w_0, w_m)`."""
    w_0, slope, w_m = points.T[:, :, None]
    exponents = np.rint(np.log1p(slope * np.arange(depth)) / np.log(w_m))
    return (8 * np.rint(w_0 * w_m**exponents / 8)).clip(min=8)


def _around(center, steps):
    """A finer grid around a point: `w_0` in steps, the slope by factors, `w_m` in steps within its
    range."""
    w_0, slope, w_m = center
    offsets = np.linspace(-1, 1, 9)
    first = {max(8.0, w_0 + steps[0] * i) for i in (-1, 0, 1)}
    return product(
        sorted(first), slope * steps[1] ** offsets, np.clip(w_m + steps[2] * offsets, 1.5, 3)
    )
