"""The example runs, in its smoke form."""

import pathlib
import runpy

import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "design_ladder.py"


@pytest.mark.slow
def test_smoke(tmp_path, capsys):
    for package in ("optuna", "matplotlib", "sklearn"):
        pytest.importorskip(package)
    runpy.run_path(str(EXAMPLE))["main"](["--smoke", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("AnyNetX_A") for line in lines) and any(
        line.startswith("RegNetX") for line in lines
    )
    assert (
        "<svg" not in (tmp_path / "report.html").read_text()
        and (tmp_path / "report.html").stat().st_size > 10_000
    )
