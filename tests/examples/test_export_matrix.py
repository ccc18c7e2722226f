import pathlib
import runpy

import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks" / "export_matrix.py"


@pytest.mark.slow
def test_a_thin_diagonal_agrees(tmp_path, capsys):
    """One part a format; the whole table is the script's."""
    main = runpy.run_path(str(EXAMPLE))["main"]
    options = ["--diagonal", "--size", "64", "--out", str(tmp_path / "m.md")]
    assert main([*options, "--only", "pan", "--formats", "tflite,onnx"]) == 0
    rows = [line for line in (tmp_path / "m.md").read_text().splitlines() if " kB, " in line]
    assert len(rows) == 2 and "Every export agrees" in capsys.readouterr().out
