"""Processes that train together end together: what one tells the others, and what they do then."""

import contextlib
import json
import os
import socket
import sys
import threading

import pytest

from keras_detblocks.training.interrupt import Stopped
from keras_detblocks.training.together import Ended, together

module = sys.modules[together.__module__]  # its name in the package is the function's


class Line:
    """That of worker 0, where another may have told its end; a `RuntimeError` may be another's."""

    index = 0
    gone = False

    def __init__(self, heard=None):
        self.heard, self.told, self.left = heard, [], 0

    def look(self):
        return self.heard

    def put(self, text):
        self.told.append(json.loads(text))

    def may_be_another(self, error):
        return isinstance(error, RuntimeError)

    def chief_is_gone(self):
        return self.gone

    def time_to_tell(self):
        return contextlib.nullcontext()

    def leave(self, waits):
        self.left += 1
        self.waits = waits


OTHER = json.dumps({"worker": 1, "reason": "no such file", "exit_code": 2})


@pytest.fixture
def on(monkeypatch):
    """A function that puts this process on a line."""

    def connect(line):
        monkeypatch.setattr(module, "_line", lambda: line)
        return line

    monkeypatch.setattr(module, "UNTIL_TOLD", 0.05)
    monkeypatch.setattr(module, "BETWEEN_LOOKS", 0.01)
    return connect


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError("12 of\n 20"), 2), (KeyError("x"), 1), (Stopped(15), 143)]
)
def test_an_error_is_told_to_the_others_and_raised(on, error, code):
    line = on(Line())
    with pytest.raises(type(error)):
        with together(), together():  # `train` within the command
            raise error
    reason = " ".join(str(error).split())
    assert line.told == [{"worker": 0, "reason": reason, "exit_code": code}] and line.left == 1


def test_a_stop_of_all_and_a_good_end_are_told_to_nobody(on):
    line = on(Line())
    with pytest.raises(Stopped):
        with together():
            raise Stopped(15, agreed=True)
    with together():
        pass
    assert (line.told, line.left) == ([], 0)


def test_who_waits_for_one_that_ended_ends_with_its_reason_and_its_code(on, monkeypatch):
    line, codes, ended = on(Line(OTHER)), [], threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), ended.set()))
    said = []
    with together(said.append):
        assert ended.wait(10)
    assert codes[0] == 2 and line.left >= 1
    assert "Worker 1 ended (no such file), so worker 0 ends too" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("felt", [False, True])
def test_whose_chief_is_gone_says_so_and_ends_at_once(on, monkeypatch, felt):
    """Whether the watch finds out or an error of the backend; nobody is waited for."""
    line, codes, said, ended = on(Line()), [], [], threading.Event()
    monkeypatch.setattr(module, "BETWEEN_LOOKS", 10 if felt else 0.01)
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), ended.set()))
    with contextlib.suppress(Ended), together(said.append):
        line.gone = True
        if felt:
            raise RuntimeError("connection closed")
        assert ended.wait(10)
    assert codes[0] == 1 and not line.waits
    assert "Worker 0 is gone without a word, so worker 0 ends too" in said[0]


@pytest.mark.skipif(sys.platform == "win32", reason="sockets there wait before they refuse")
def test_the_chief_of_jax_is_there_while_somebody_listens():
    line = module._JaxLine.__new__(module._JaxLine)
    with socket.create_server(("127.0.0.1", 0)) as server:
        line._chief = server.getsockname()
        assert not line.chief_is_gone()
    assert line.chief_is_gone()


@pytest.mark.parametrize(
    ("heard", "code", "message"), [(OTHER, 2, "no such file"), (None, 1, "is gone .connection")]
)
def test_what_the_backend_feels_first_is_explained(on, heard, code, message):
    line = on(Line())
    with pytest.raises(Ended, match=message) as raised:
        with together():
            line.heard = heard
            raise RuntimeError("connection\nclosed")
    assert raised.value.exit_code == code and line.told == []
    assert line.waits == (heard is not None)  # not for one that is gone
