"""Two worker processes on one study, one killed in mid-training: on SQLite, and on a PostgreSQL
server of our own."""

import importlib.util
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

pytest.importorskip("optuna")
from sweep_worker import BAD_DEPTH, SPECS  # noqa: E402

from keras_detblocks.design import load_sweep  # noqa: E402

pytestmark = pytest.mark.slow
_HERE = pathlib.Path(__file__).parent
_DEADLINE = 240


def _worker(storage, log, seconds):
    environment = os.environ | {"PYTHONPATH": str(_HERE.parent.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if importlib.util.find_spec("jax"):  # nothing is computed, and importing TensorFlow takes long
        environment |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, str(_HERE / "sweep_worker.py"), storage, str(log), str(seconds)],
        env=environment,
    )


def _lines(log):
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def _kill_one_of_two(storage, tmp_path):
    """A worker that would take minutes a net is killed as soon as it has begun one; a quick one
    does everything."""
    log = tmp_path / "log"
    slow = _worker(storage, log, 300)
    quick = None
    try:
        deadline = time.monotonic() + _DEADLINE
        while not any(event == "start" for event, *_ in _lines(log)):
            assert slow.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        quick = _worker(storage, log, 0.2)
        while len({pid for _, _, pid in _lines(log)}) < 2:
            assert quick.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        slow.send_signal(signal.SIGKILL)
        slow.wait()
        assert quick.wait(timeout=_DEADLINE) == 0
    finally:
        for process in (slow, quick):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
    return _lines(log), str(slow.pid)


def _check(lines, killed, storage):
    good = [str(spec.depths[0]) for spec in SPECS if spec.depths[0] != BAD_DEPTH]
    assert sorted(depth for event, depth, _ in lines if event == "end") == good  # each exactly once
    assert not [line for line in lines if line[0] == "end" and line[2] == killed]
    interrupted = [depth for event, depth, pid in lines if pid == killed]
    assert (
        len(interrupted) == 1
        and sum(depth == interrupted[0] for event, depth, _ in lines if event == "start") == 2
    )
    result = load_sweep(storage)
    assert [spec.depths[0] for spec in result.specs] == [8, 7, 6, 5, 4, 2, 1]
    assert [(spec.depths[0], reason) for spec, reason in result.failures] == [
        (3, "out of memory (MemoryError: too deep)")
    ]


def test_kill_on_sqlite(tmp_path):
    storage = f"sqlite:///{tmp_path / 'sweep.db'}"
    _check(*_kill_one_of_two(storage, tmp_path), storage)


def test_kill_on_postgresql(tmp_path, postgresql):
    _check(*_kill_one_of_two(postgresql, tmp_path), postgresql)


def _program(name):
    """A program of Debian's postgresql package, which keeps them off the path."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture
def postgresql():
    """URL of a private cluster on loopback; skips where the server is not installed."""
    pytest.importorskip("pg8000", reason="the PostgreSQL driver is not installed (extra: postgres)")
    if not (_program("initdb") and _program("pg_ctl")):
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    # A socket's path must be short.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="detblocks_pg_", dir="/tmp"))
    account = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        user = pwd.getpwnam(
            "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
        )
        os.chown(folder, user.pw_uid, user.pw_gid)
        account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, "timeout": 120} | account
    data = str(folder / "data")
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    )
    try:
        subprocess.run(
            [
                _program("initdb"),
                "-D",
                data,
                "-U",
                "sweep",
                "--auth=trust",
                "-E",
                "UTF8",
                "--no-sync",
            ],
            **run,
        )
        subprocess.run(
            [
                _program("pg_ctl"),
                "-D",
                data,
                "-o",
                options,
                "-l",
                str(folder / "log"),
                "-w",
                "start",
            ],
            **run,
        )
        yield f"postgresql://sweep@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [_program("pg_ctl"), "-D", data, "-m", "immediate", "stop"], **(run | {"check": False})
        )
        shutil.rmtree(folder, ignore_errors=True)
