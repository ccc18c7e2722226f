"""The example notebook runs from top to bottom, as it stands but for the time it takes."""

import json
import pathlib

import pytest

NOTEBOOK = pathlib.Path(__file__).parents[2] / "examples" / "first_detector.ipynb"
SHORT = {
    "MINUTES = 0.5": "MINUTES = 0.01",
    "train_images=200, val_images=40": "train_images=16, val_images=4",
}


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys, eager):
    pytest.importorskip("sklearn")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for long, short in SHORT.items():
        assert long in code
        code = code.replace(long, short)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(NOTEBOOK), "exec"), {"__name__": "notebook"})
    assert "AP50" in capsys.readouterr().out
    assert (tmp_path / "first-detector" / "detector.tflite").is_file()
