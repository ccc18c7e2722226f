import html.parser

import numpy as np
import pytest

from keras_detblocks.design import SPACES, Complexity, SweepResult, report, sample
from keras_detblocks.design.report import python_of

pytest.importorskip("matplotlib")


def _result(name, n, failures=()):
    sampled = (
        sample(SPACES[name], n, {"macs": (100e6, 900e6)}, rng=0) if n else sample(SPACES[name], 0)
    )
    errors = np.linspace(0.2, 0.6, n)
    return SweepResult(
        name,
        {"seed": 0, "note": "<script>"},
        sampled.specs,
        errors,
        sampled.complexity,
        ({},) * n,
        tuple(failures),
    )


class _Page(html.parser.HTMLParser):
    """Collects every address that a browser would load, and the text."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.tags, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href")]

    def handle_data(self, data):
        self.text += data


@pytest.mark.slow
def test_one_page_holds_everything(tmp_path):
    spec = sample(SPACES["RegNetX"], 1, rng=5)[0]
    results = [
        _result("RegNetY", 12),
        _result("RegNetX", 12, [(spec, "out of memory <all of it>")]),
    ]
    page = _Page(report(results, tmp_path / "new" / "report.html").read_text())
    assert page.addresses and all(
        address.startswith("data:image/svg+xml;base64,") for address in page.addresses
    )
    assert "script" not in page.tags and "<script>" in page.text
    assert "out of memory <all of it>" in page.text and "Differences are to RegNetY" in page.text
    assert repr(results[0].specs[0]) in page.text


@pytest.mark.parametrize("name", ["RegNetY", "AnyNetX_E"])
def test_best_spec_as_python(name):
    spec = sample(SPACES[name], 1, {"macs": (0, 30e6)}, rng=0)[0]
    scope = {}
    exec(python_of(spec), scope)  # noqa: S102
    assert scope["spec"] == spec and scope["model"].output_shape == (None, 1000)
    assert scope["model"].count_params() > 0


def test_one_net_is_enough(tmp_path):
    assert report([_result("AnyNetX_A", 1)], tmp_path / "report.html").stat().st_size > 1000


def test_nothing_trained(tmp_path):
    empty = SweepResult(
        "x", {}, (), np.zeros(0), Complexity(*np.zeros((3, 0))), (), ((None, "NaN"),)
    )
    with pytest.raises(ValueError, match=r"no trained net to report \(NaN\)"):
        report([empty], tmp_path / "report.html")
