import numpy as np
import pytest

from keras_detblocks.design import SPACES, plots, sample

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def population():
    nets = sample(SPACES["AnyNetX_E"], 30, rng=0)
    return nets, np.log(nets.complexity.macs) / 30


def test_edf_starts_at_zero_and_ends_at_one(population):
    axis = plots.plot_edf({"a": population[1], "b": [0.5, 0.6]}, {"b": [0.25, 0.75]}).axes[0]
    for line in axis.get_lines():
        assert line.get_ydata()[0] == 0 and line.get_ydata()[-1] == pytest.approx(1)
    assert "n=30" in axis.get_legend().get_texts()[0].get_text()


def test_error_against(population):
    nets, errors = population
    figure = plots.plot_error_against(
        {name: getattr(nets.complexity, name) for name in ("macs", "activations")},
        errors,
        log=("macs",),
    )
    assert figure.axes[0].get_xscale() == "log" and "best" in figure.axes[1].get_xlabel()


def test_widths_shows_the_best_first(population):
    nets, errors = population
    figure = plots.plot_widths(nets, errors, best=4)
    assert figure.axes[0].get_title() == f"error {errors.min():.4g}"
    best = nets.nets.widths[errors.argmin()]
    assert set(figure.axes[0].get_lines()[0].get_ydata()) == set(best)


def test_random_search_falls(population):
    line = plots.plot_random_search(population[1]).axes[0].get_lines()[0]
    assert (np.diff(line.get_ydata()) <= 1e-12).all()
