"""A run that dies is started again, and one that ends is not."""

import os
import signal
import subprocess
import sys

import pytest

from keras_detblocks.commands import supervise as module
from keras_detblocks.commands.supervise import supervise, without


@pytest.fixture
def processes(monkeypatch):
    """Runs scripts instead of the command; returns the arguments that each was started with."""

    class Started(list):
        scripts = []

    started, popen = Started(), subprocess.Popen

    def start(command):
        started.append(command[3:])
        return popen([sys.executable, "-c", started.scripts.pop(0)])

    monkeypatch.setattr(module.subprocess, "Popen", start)
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)
    return started


KILLED = "import os; os.kill(os.getpid(), 9)"
CRASHED = "import sys; sys.exit(1)"


def test_a_run_that_dies_is_resumed_until_it_ends(processes, tmp_path):
    said = []
    (tmp_path / "checkpoint" / "step-5").mkdir(parents=True)
    processes.scripts = [KILLED, CRASHED, "pass"]
    assert supervise(["train", "data"], tmp_path, 5, said.append) == 0
    assert processes == [["train", "data", "--resume"]] * 3
    assert "SIGKILL" in said[0] and "exit code 1" in said[1]


def test_it_gives_up(processes, tmp_path):
    processes.scripts = [CRASHED, CRASHED]
    assert supervise(["train"], tmp_path, 1, lambda _: None) == 1
    assert processes == [["train"], ["train"]]  # nothing to resume


@pytest.mark.parametrize("code", [0, 2, 143])
def test_ends_are_not_repeated(processes, tmp_path, code):
    processes.scripts = [f"import sys; sys.exit({code})"]
    assert supervise(["train"], tmp_path, 9) == code


def test_signals_are_passed_on(processes, tmp_path):
    processes.scripts = [
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"os.kill({os.getpid()}, signal.SIGTERM)\n"
        "time.sleep(60)"
    ]
    before = signal.getsignal(signal.SIGTERM)
    assert supervise(["train"], tmp_path, 9) == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_options_are_taken_out_in_both_forms():
    given = ["train", "--restarts", "3", "a", "--restarts=4", "--restartsx"]
    assert without(given, "--restarts") == ["train", "a", "--restartsx"]
