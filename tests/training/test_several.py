"""Two replicas, two TensorFlow processes and two JAX processes train as one device does: clipping
engaged, averaged weights included, AP measured and files written once."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
ENDED = "Worker 1 ended (no luck today), so worker 0 ends too"
# Muon's Newton-Schulz steps magnify the rounding of another order of sums.
TOLERANCES = {"sgd": 1e-5, "adamw": 1e-5, "muon": 1e-4}


def _free_ports():
    """Two neighbors that nobody listens on."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def _start(mode, index, port, folder):
    paths = [HERE.parents[1], HERE.parent, HERE.parent / "detection"]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERAS_BACKEND": "jax" if mode == "jax" else "tensorflow",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # little to compute, much to compile
    }
    return subprocess.Popen(
        [sys.executable, str(HERE / "several.py"), mode, str(index), str(port), str(folder)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(processes):
    """What a process by itself, or each of two, printed. The second of two fails in the end: with
    Python's code 1; the first, which hears of it, with that of a mistake."""
    printed = [process.communicate(timeout=600)[0] for process in processes]
    codes = [0] if len(processes) == 1 else [2, 1]
    for process, text, code in zip(processes, printed, codes):
        assert process.returncode == code, text[-4000:]
    return printed


def _assert_equal(folder, one, other, tolerance):
    with np.load(folder / f"{one}.npz") as a, np.load(folder / f"{other}.npz") as b:
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_allclose(b[name], a[name], rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("several"), _free_ports()
    printed = _finish([_start("workers", i, port, folder) for i in range(2)])
    _finish([_start("mirror", 0, 0, folder)])
    return folder, printed


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", list(TOLERANCES))
@pytest.mark.parametrize("other", ["mirror-0", "workers-0", "workers-1"])
def test_several_devices_train_as_one(run, other, optimizer):
    _assert_equal(run[0], f"one-0-{optimizer}", f"{other}-{optimizer}", TOLERANCES[optimizer])


@pytest.mark.slow
def test_the_chief_alone_measures_and_writes(run):
    folder = run[0]
    one = json.loads((folder / "one-0-sgd-run" / "history.json").read_text())
    chief = json.loads((folder / "workers-0-sgd-run" / "history.json").read_text())
    assert len(chief["ap"]) == len(one["ap"]) == 2
    assert chief["losses"][0]["loss"] == pytest.approx(one["losses"][0]["loss"], abs=1e-4)
    assert not (folder / "workers-1-sgd-run").exists()
    record = json.loads((folder / "workers-0-sgd-run" / "run.json").read_text())
    assert (record["processes"], record["replicas"]) == (2, 2)


@pytest.mark.slow
def test_a_process_whose_other_fails_ends_with_the_reason(run):
    printed = run[1]
    assert ENDED in printed[0], printed[0][-4000:]


@pytest.mark.slow
def test_two_processes_train_on_jax_as_one(tmp_path):
    pytest.importorskip("jax")
    port = _free_ports()
    printed = _finish([_start("jax", i, port, tmp_path) for i in range(2)])
    assert ENDED in printed[0], printed[0][-4000:]
    for index in range(2):
        _assert_equal(tmp_path, "jaxone-0-sgd", f"jax-{index}-sgd", 1e-5)
    assert (tmp_path / "jax-0-sgd-run" / "detector.keras").is_file()
    assert not (tmp_path / "jax-1-sgd-run").exists()
