"""The example of a data set of one's own runs as its docstring says."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_smoke():
    pytest.importorskip("sklearn")
    command = [sys.executable, ROOT / "examples" / "custom_data.py", "--smoke"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "48 images (0 without objects)" in run.stdout and "AP50" in run.stdout
