"""The examples of the context blocks run."""

import pathlib
import runpy

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def main(name):
    return runpy.run_path(str(EXAMPLES / name))["main"]


@pytest.mark.slow
def test_receptive_fields(tmp_path, capsys):
    fields = main("receptive_fields.py")(["--smoke", "--out", str(tmp_path / "fields.png")])
    assert (tmp_path / "fields.png").stat().st_size > 10_000
    # The figure's point: dilation spreads the field beyond that of the same branches without it.
    assert fields["RFB"].extent[0] > fields["Inception-style"].extent[0]
    assert "deformable (grid)" in fields and "theoretical   15" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "size, sides", [(300, [38, 19, 10, 5, 3, 1]), (512, [64, 32, 16, 8, 4, 2, 1])]
)
def test_rfbnet_has_the_papers_maps(size, sides):
    model = main("rfbnet.py")(["--smoke", "--size", str(size)])
    assert [x.shape[1] for x in model.output.values()] == sides
    assert list(model.output) == [f"P{level}" for level in range(3, 3 + len(sides))]


@pytest.mark.slow
def test_spp_benchmark_runs():
    # How fast is what the script prints; a test does not time.
    ratios = main("benchmarks/spp.py")("--smoke --shape 10 10 16".split())
    assert None in ratios and all(ratio > 0 for ratio in ratios.values())
