import argparse
import json

import pytest

from keras_detblocks.commands import design
from keras_detblocks.design import Classification, load_sweep

pytest.importorskip("optuna")


def _run(*arguments):
    parser = argparse.ArgumentParser()
    design.add_options(parser)
    return design.run(parser.parse_args([str(argument) for argument in arguments]))


def test_sample_prints_json_lines(capsys):
    _run("sample", "RegNetX", "-n", 3, "--macs", 360e6, 400e6, "--seed", 1)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 3 and all(
        360e6 <= line["macs"] <= 400e6 and line["type"] == "RegNetSpec" for line in lines
    )


def test_own_space_from_a_file(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from keras_detblocks.design import *\nS = AnyNetX_E.derive('S', depths=Range(1, 2))\nx = "
        "3\n"
    )
    _run("sample", f"{path}:S", "-n", 2)
    assert max(json.loads(capsys.readouterr().out.splitlines()[0])["depths"]) <= 2
    for wrong in (f"{path}:x", "AnyNet"):
        with pytest.raises(ValueError, match="space"):
            _run("sample", wrong)


@pytest.mark.slow
def test_sweep_and_report(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(
        Classification, "__call__", lambda task, spec: 1 / sum(spec.to_anynet().depths)
    )
    for space in ("RegNetX", "RegNetY"):
        _run("sweep", space, "-n", 2, "--out", tmp_path, "--epochs", 1)
    assert "2 nets trained, 0 failed" in capsys.readouterr().out
    assert (
        load_sweep(f"sqlite:///{tmp_path / 'sweep.db'}", "RegNetX").settings["task"]["epochs"] == 1
    )
    _run("report", "--out", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "RegNetX" in page and "RegNetY" in page
    with pytest.raises(ValueError, match="one of"):
        _run("report", "other", "--out", tmp_path)


def test_report_before_any_sweep(tmp_path):
    with pytest.raises(ValueError, match="No sweep in"):
        _run("report", "--out", tmp_path)
    assert not list(tmp_path.iterdir())
