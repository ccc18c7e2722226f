"""The start's training, tiny, on JAX in a process of its own: it learns nothing, and leaves its
file and log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_smoke(tmp_path):
    pytest.importorskip("jax")
    command = [sys.executable, str(EXAMPLES / "pretrain_start.py"), "--smoke", "--steps", "1"]
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # the step is compiled for one call
    }
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["start", "step", "evaluation"]
    assert 0 < events[1]["loss"] < 100
    assert (tmp_path / "compact_start.safetensors").stat().st_size < 2e6
