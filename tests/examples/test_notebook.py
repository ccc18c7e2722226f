"""The example notebook runs from top to bottom, as it stands but for the time it takes."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[2] / "examples" / "first_detector.ipynb"
SHORT = {
    "MINUTES = 0.5": "MINUTES = 0.02",
    "train_images=200, val_images=40": "train_images=24, val_images=8",
}


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    pytest.importorskip("sklearn")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for long, short in SHORT.items():
        assert long in code
        code = code.replace(long, short)
    script = tmp_path / "cells.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": str(NOTEBOOK.parents[1]), "KERAS_BACKEND": "tensorflow"}
    run = subprocess.run(
        [sys.executable, str(script)], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "AP50" in run.stdout and (tmp_path / "first-detector" / "detector.tflite").is_file()
