"""The line that shows how far a run is, in terminals of every width and in notebooks."""

import io
import sys
import types

import pytest
from rich.console import Console
from rich.table import Table

from keras_detblocks.commands.options import print_table
from keras_detblocks.training.progress import ProgressBar, speaker

BUDGET = types.SimpleNamespace(progress=0.42, step=123456)
HISTORY = {"ap": [{"AP": 0.1234}]}


def _last_line(width):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    bar = ProgressBar(BUDGET, HISTORY, console)
    with bar.bar:
        bar.on_train_begin()
        bar.on_train_batch_end(0, {"loss": 12.3456})
    lines = [line for line in out.getvalue().replace("\r", "\n").split("\n") if "loss 12" in line]
    return lines[-1].replace("\x1b[2K", "").replace("\x1b[?25h", "").rstrip()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_line_fits_and_says_all(width):
    line = _last_line(width)
    assert "42% step 123456 loss 12.346 AP 0.123" in line and "…" not in line
    assert len(line) <= width


def test_a_notebook_has_one_line_that_is_replaced(monkeypatch):
    """Without ipywidgets, which rich would need."""
    shown = []

    def display(data, raw, display_id):
        shown.append(data["text/plain"])
        return types.SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))

    module = types.SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=module))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    bar = ProgressBar(BUDGET, HISTORY, Console(file=io.StringIO(), force_jupyter=True))
    with bar.bar:
        bar.on_train_begin()
        bar.on_train_batch_end(0, {"loss": 1.0})
    assert "42% step 123456 loss 1.000 AP 0.123" in shown[-1] and len(shown) == 2


def test_nothing_is_shown_where_nobody_looks():
    out = io.StringIO()
    bar = ProgressBar(BUDGET, HISTORY, Console(file=out))
    with bar.bar:
        bar.on_train_begin()
        bar.on_train_batch_end(0, {})  # the loss is not even read
    assert out.getvalue().strip() == ""


def test_a_terminal_that_is_gone_does_not_end_a_run():
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(5, "Input/output error")

    speaker(Console(file=Gone()))("still here")


def test_a_line_in_a_file_stays_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    out, said = io.StringIO(), "a word and another " * 20
    speaker(Console(file=out))(said)
    assert out.getvalue() == f"{said}\n"


def test_a_table_in_a_file_is_as_wide_as_it_needs_to_be(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    out, name = io.StringIO(), "a/long/path/of/a/model/" * 4
    table = Table("file", "ms")
    table.add_row(name, "1.5")
    print_table(table, Console(file=out))
    assert name in out.getvalue()
