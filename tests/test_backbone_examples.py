"""The examples about backbones run."""

import importlib.util
import pathlib

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_csp_fusion(capsys):
    savings = load("csp_fusion").main(["--smoke"])
    # The paper's order between what transitions alone decide, and more bypass saves more.
    assert all(savings["last", gamma] < savings["full", gamma] for gamma in (0.25, 0.5))
    assert all(savings[fusion, 0.5] < savings[fusion, 0.25] for fusion in ("first", "last", "full"))
    assert "gamma" in capsys.readouterr().out


@pytest.mark.slow
def test_conv_benchmark():
    assert set(load("benchmarks/conv").main(["--smoke"])) >= {"dense", "ours, group width 8"}
