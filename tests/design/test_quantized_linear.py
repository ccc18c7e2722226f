import numpy as np
import pytest
from published_regnets import THE_24

from keras_detblocks.backbones.anynet import AnyNetSpec
from keras_detblocks.design import SPACES, fit_quantized_linear, sample
from keras_detblocks.design.spaces import quantized_stages


def _spec(depths, widths):
    return AnyNetSpec(tuple(depths), tuple(widths), (1, 1, 1, 1), (1, 1, 1, 1))


@pytest.mark.parametrize("net", THE_24, ids=lambda net: net.name)
def test_published_nets_fit_up_to_the_group_rounding(net):
    """On the quantized line itself the fit is exact; after the group fix it leaves at most what the
    fix moved."""
    depths, widths, _ = quantized_stages(*([value] for value in net.line))
    moved = np.abs(
        np.log(np.repeat(net.widths, net.depths) / np.repeat(widths[0], depths[0]))
    ).mean()
    assert fit_quantized_linear(_spec(net.depths, net.widths)).error <= moved + 1e-9
    exact = fit_quantized_linear(_spec(depths[0].tolist(), widths[0].tolist()))
    assert exact.error < 0.005
    assert exact.widths.shape == (net.line[0],)


@pytest.mark.slow
def test_free_nets_do_not_fit():
    """The finding behind RegNet: monotone widths come close to a line, free ones do not."""
    free, monotone = (
        np.median(
            [
                fit_quantized_linear(spec).error
                for spec in sample(SPACES[name], 15, {"macs": (360e6, 400e6)}, rng=0)
            ]
        )
        for name in ("AnyNetX_A", "AnyNetX_E")
    )
    assert monotone < 0.5 * free
    assert (
        max(fit_quantized_linear(_spec(net.depths, net.widths)).error for net in THE_24)
        < 0.5 * monotone
    )


def test_constant_width_is_a_line():
    fit = fit_quantized_linear(_spec((2, 2, 2, 2), (64, 64, 64, 64)))
    assert (fit.w_0, fit.w_a, fit.error) == (64, 0, 0)
