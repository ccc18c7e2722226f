"""The example of a data set of one's own runs as its docstring says."""

import pathlib
import runpy

import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "custom_data.py"


@pytest.mark.slow
def test_smoke(capsys, eager):
    pytest.importorskip("sklearn")
    runpy.run_path(str(EXAMPLE))["main"](["--smoke"])
    printed = capsys.readouterr().out
    assert "16 images (0 without objects)" in printed and "AP50" in printed
