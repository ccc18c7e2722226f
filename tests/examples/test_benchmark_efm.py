import pathlib
import runpy
import sys

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "benchmarks" / "efm.py"


def test_smoke(monkeypatch, capsys):
    """Three rows; pooling by 2 and 4 halves and quarters the gathered maps and never adds
    multiply-adds."""
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--smoke"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    rows = [
        [float(cell) for cell in line.split()]
        for line in capsys.readouterr().out.splitlines()
        if line.split()[0].isdigit()
    ]
    assert [row[0] for row in rows] == [1, 2, 4]
    gathered = [row[3] for row in rows]
    assert gathered[1] <= 0.51 * gathered[0] + 0.01 and gathered[2] <= 0.26 * gathered[0] + 0.01
    assert rows[0][2] >= rows[1][2] >= rows[2][2]
