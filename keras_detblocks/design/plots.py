"""Plots for the design-space method: error distributions, error against a parameter, widths of the
best nets.

Every function returns a `matplotlib.figure.Figure` (extra `design`) that belongs to no global
state: save it with `figure.savefig(path)`, or let a notebook show it.
"""

import numpy as np

from ..analysis.figures import subplots
from ..backbones.complexity import to_anynet
from .quantized_linear import fit_quantized_linear
from .statistics import bootstrap, edf, random_search_efficiency

__all__ = ["plot_edf", "plot_error_against", "plot_random_search", "plot_widths"]


def _figure(columns=1, rows=1, width=4.5, height=3.6):
    figure, axes = subplots(
        rows, columns, figsize=(width * columns, height * rows), layout="constrained"
    )
    return figure, np.reshape(axes, (rows, columns))


def plot_edf(populations, weights=None, title=None):
    """Plots error distributions of several populations in one frame, with n, least and mean error
    in the legend.

    Args:
        populations: errors `(n,)` by name, such as the spaces of a ladder.
        weights: weights `(n,)` by name (`complexity_weights`) for a complexity-normalized
            distribution.
        title: the frame's title.
    """
    figure, axes = _figure(width=6)
    axis = axes[0, 0]
    for name, errors in populations.items():
        distribution = edf(errors, (weights or {}).get(name))
        label = (
            f"{name}  n={distribution.n}  min {distribution.min:.3g}  mean {distribution.mean:.3g}"
        )
        axis.step(
            [distribution.errors[0], *distribution.errors],
            [0, *distribution.fractions],
            where="post",
            label=label,
        )
    axis.set(xlabel="error", ylabel="cumulative share of nets", title=title, ylim=(0, 1.02))
    axis.legend(fontsize="small")
    axis.grid(alpha=0.3)
    return figure


def plot_error_against(parameters, errors, log=(), rng=0, columns=3):
    """Plots error against each parameter, with the bootstrap's 95 % band of the best value and its
    median.

    Args:
        parameters: values `(n,)` by name: depth, widths, activations, learning rate, or anything
            else that was sampled or counted.
        errors: `(n,)`.
        log: names of the parameters to draw on a log scale.
        rng: a `numpy.random.Generator`, or a seed for one, for the bootstrap.
        columns: frames in a row.
    """
    columns = min(columns, len(parameters))
    figure, axes = _figure(columns, -(-len(parameters) // columns))
    for axis in axes.flat[len(parameters) :]:
        axis.set_axis_off()
    for axis, (name, values) in zip(axes.flat, parameters.items()):
        band = bootstrap(values, errors, rng=rng)
        axis.axvspan(band.low, band.high, color="C0", alpha=0.15, linewidth=0)
        axis.axvline(band.median, color="C0", linewidth=1.5)
        axis.scatter(values, errors, s=12, color="0.25", alpha=0.7, linewidth=0)
        axis.set(
            xlabel=f"{name}  (best {band.median:.4g}, 95 %: {band.low:.4g} to {band.high:.4g})",
            ylabel="error",
        )
        if name in log:
            axis.set_xscale("log")
    return figure


def plot_widths(specs, errors, best=6, columns=3):
    """Plots the width of every block of the best nets, and the quantized line fitted to it.

    Args:
        specs: `AnyNetSpec`s or `RegNetSpec`s.
        errors: `(n,)`.
        best: how many nets.
        columns: frames in a row.
    """
    order = np.argsort(errors, kind="stable")[:best]
    columns = min(columns, len(order))
    figure, axes = _figure(columns, -(-len(order) // columns), height=3)
    for axis in axes.flat[len(order) :]:
        axis.set_axis_off()
    for axis, i in zip(axes.flat, order):
        net, fit = to_anynet(specs[i]), fit_quantized_linear(specs[i])
        block = np.arange(sum(net.depths))
        axis.step(block, np.repeat(net.widths, net.depths), where="mid", label="net")
        axis.step(
            block, fit.widths, where="mid", linestyle="--", label=f"fit, e_fit {fit.error:.3f}"
        )
        axis.plot(
            block,
            fit.w_0 + fit.w_a * block,
            color="0.6",
            linewidth=1,
            label=f"{fit.w_0:.0f} + {fit.w_a:.1f} j",
        )
        axis.set(xlabel="block j", ylabel="width", title=f"error {errors[i]:.4g}")
        axis.legend(fontsize="small")
    return figure


def plot_random_search(errors):
    """Plots the expected best error, with its 95 % band, against the number of random nets trained.

    Args:
        errors: `(n,)`, of nets sampled at random.
    """
    curve = random_search_efficiency(errors)
    figure, axes = _figure(width=6)
    axis = axes[0, 0]
    axis.fill_between(curve.tries, curve.low, curve.high, alpha=0.15, linewidth=0)
    axis.plot(curve.tries, curve.mean)
    axis.set(xlabel="random nets tried", ylabel="best error", xscale="log")
    axis.grid(alpha=0.3)
    return figure
