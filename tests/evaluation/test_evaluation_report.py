"""Pages of evaluations and comparisons: whole, self-contained, and with the numbers in them."""

import json
import re
import runpy
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_detblocks import evaluation
from keras_detblocks.evaluation import pictures
from keras_detblocks.evaluation.compare import compare_found

BENCHMARK = Path(__file__).parents[2] / "examples" / "benchmarks" / "evaluation.py"
made_up = runpy.run_path(str(BENCHMARK))["made_up"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Thirty pictures of twenty classes, and detections on them."""
    path = tmp_path_factory.mktemp("picture") / "<gray> & wide.png"
    Image.new("RGB", (640, 640), "gray").save(path)
    return made_up(30, 20, objects=6, detections=15, path=str(path))


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    """An evaluation, its page and its numbers."""
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    about = {"model": "<b>model</b>.keras", "milliseconds": 12.3, "bytes": 2048}
    result = evaluation.measure(*made, resamples=50, about=about)
    losses = [
        {"step": s, "seconds": s / 5, "loss": 2.0, "box_loss": 1.0, "learning_rate": 0.1}
        for s in (20, 40)
    ]
    history = {"losses": losses, "ap": [{"seconds": 8, "AP": 0.1, "AP50": 0.2}]}
    path = evaluation.write_report(result, folder, history=history, most_pictures=6)
    return result, path.read_text(), json.loads((folder / "metrics.json").read_text())


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.addresses, self.images = [], 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.images += tag == "img"
        self.addresses += [attributes[k] for k in ("src", "href") if k in attributes]


@pytest.mark.slow
def test_the_page_needs_no_other_file(written):
    _, text, _ = written
    page = _Page()
    page.feed(text)
    assert page.images == 9 + 2 * 6  # figures, and pairs of pictures
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "@import" not in text and "url(" not in text and "<script" not in text
    assert len(text) < 3_000_000


def test_the_page_has_the_numbers_and_escapes_names(written):
    result, text, _ = written
    assert f"{result.numbers['AP']:.3f}" in text and "12.3 ms" in text and "2 kB" in text
    assert "<b>model" not in text and "&lt;gray&gt; &amp; wide.png" in text
    weakest = result.per_class[0]
    assert text.index(f"<td>{weakest['class']}</td>") < text.index(
        f"<td>{result.per_class[-1]['class']}</td>"
    )
    assert f"--score {result.best_threshold:.2f}" in text and "How it learned" in text
    assert "Only the classes that are confused most" in text  # of twenty, twelve are shown


def test_metrics_are_json_without_nan(written):
    result, _, metrics = written
    assert metrics["numbers"]["AP"] == pytest.approx(result.numbers["AP"], abs=1e-6)
    low, high = metrics["intervals"]["AP"]
    assert low < metrics["numbers"]["AP"] < high and metrics["measured"] is True
    assert metrics["best_threshold"] == result.best_threshold
    at = metrics["at_best_threshold"]
    assert at["right"] + at["missed"] == sum(row["objects"] for row in metrics["classes"])
    counts = np.array(metrics["confusion"]["counts"])
    assert counts.shape == (21, 21) and counts[:-1].sum() == at["right"] + at["missed"]
    assert (
        np.diag(counts).sum() == at["right"] and counts[:, :-1].sum() == at["right"] + at["wrong"]
    )
    wrong = sum(v["count"] for k, v in metrics["errors"].items() if k != "missed")
    assert wrong == at["wrong"]
    assert "NaN" not in json.dumps(metrics)


@pytest.mark.slow
def test_every_plot_is_a_figure_and_notebooks_show_the_object(written):
    from matplotlib.figure import Figure

    result, _, _ = written
    for name in dir(result):
        if name.startswith("plot_"):
            figure = getattr(result, name)()
            assert isinstance(figure, Figure) and figure._repr_png_().startswith(b"\x89PNG"), name
    html = result._repr_html_()
    assert "AP50" in html and "<html" not in html
    # Styles of a notebook's cell must not reach the notebook.
    style = re.search("<style>(.*)</style>", html, re.S)[1]
    rules = re.findall(r"([^{}]+){", re.sub(r"@media[^{]+{", "", style))
    assert all(".kdb" in part for rule in rules for part in rule.split(","))


def test_pictures_that_are_gone_are_left_out(made, tmp_path):
    dataset, found = made
    records = [replace(r, path=str(tmp_path / "gone.png")) for r in dataset.records]
    result = evaluation.measure(replace(dataset, records=records), found, resamples=2)
    assert pictures.worst_pictures(result) and pictures.draw_pair(result, 0) is None


def test_worst_pictures_are_for_three_reasons_and_each_once(written):
    result, _, _ = written
    shown = pictures.worst_pictures(result, 12)
    assert len({s.image for s in shown}) == len(shown) == 12
    assert [s.reason for s in shown] == [r for r in pictures.REASONS for _ in range(4)]
    left, right = pictures.draw_pair(result, shown[0].image)
    assert left.size == right.size == (384, 384)


def worse(found, share):
    """The same detections without some of the sure ones."""
    return [{k: v[np.arange(len(v)) >= len(v) * share] for k, v in f.items()} for f in found]


def test_comparison_of_two(made, tmp_path):
    dataset, found = made
    names = dataset.class_names
    pair = {"weak & small": (worse(found, 0.2), names), "strong": (found, names)}
    result = compare_found(pair, dataset, resamples=200)
    assert result.best == "strong" and result.differences[0]["sure"]
    assert result.answer.startswith("strong is better than weak & small: AP 0.")
    aps = [each.numbers["AP"] for each in result.evaluations.values()]
    assert result.differences[0]["AP"] == pytest.approx(aps[0] - aps[1])
    # Paired: the same pictures go up and down together.
    spread = result.differences[0]["high"] - result.differences[0]["low"]
    low, high = result.evaluations["strong"].intervals["AP"]
    assert spread < 0.8 * (high - low)
    page = result.write_report(tmp_path, most_pictures=2)
    text = page.read_text()
    assert "weak &amp; small" in text and "http" not in text.replace("http-equiv", "")
    assert json.loads((tmp_path / "metrics.json").read_text())["answer"] == result.answer
    assert result.answer.split(":")[0].replace("&", "&amp;") in result._repr_html_()


def test_the_same_model_twice_is_not_better_than_itself(made):
    dataset, found = made
    names = dataset.class_names
    three = {"a": (found, names), "b": (found, names), "c": (worse(found, 0.3), names)}
    result = compare_found(three, dataset, resamples=50)
    a, c = result.difference("a", "b"), result.difference("a", "c")
    assert (a["AP"], a["low"], a["high"], a["sure"]) == (0, 0, 0, False) and c["sure"]
    assert "surely better than c" in result.answer and "not surely better than b" in result.answer


def test_one_picture_has_no_interval_and_decides_nothing(made, tmp_path):
    dataset, found = made
    one = replace(dataset, records=dataset.records[:1]), found[:1]
    result = evaluation.measure(*one)
    assert np.isnan(result.intervals["AP"]).all() and "95 %: –" in str(result)
    text = evaluation.write_report(result, tmp_path / "one").read_text()
    assert ": 1 picture, " in text and "nan" not in re.sub('base64,[^"]*', "", text)
    names = dataset.class_names
    pair = {"a_b": (one[1], names), "b": (worse(one[1], 0.3), names)}
    result = compare_found(pair, one[0])
    assert not result.differences[0]["sure"] and "No difference can be told" in result.answer
    text = result.write_report(tmp_path / "two").read_text()
    assert "a_<wbr>b" in text and "nan" not in re.sub('base64,[^"]*', "", text)


def test_models_are_compared_on_the_classes_they_have_in_common(made):
    dataset, found = made
    names = dataset.class_names
    swapped = (names[1], names[0], "owl")
    back = np.array([1, 0] + [-1] * 18)
    other = [{**f, "labels": back[f["labels"]]} for f in found]
    pair = {"all": (found, names), "two": (other, swapped)}
    result = compare_found(pair, dataset, resamples=20)
    assert {row["class"] for row in result.per_class} == set(names[:2])
    assert result.differences[0]["AP"] == pytest.approx(0)
    assert "18 classes" in result.problems[0]
    none = compare_found({"a": (found, names), "b": (found, ["x"] * 20)}, dataset)
    assert not none.measured and "no class" in none.answer
    with pytest.raises(ValueError, match="two models or more"):
        compare_found({"a": (found, names)}, dataset)


def test_a_threshold_is_stored_beside_the_weights_as_they_are(tmp_path):
    path = tmp_path / "detector.keras"
    content = {"class_name": "Detector", "config": {"name": "d"}}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(content))
        file.writestr("model.weights.h5", b"weights" * 1000)
    evaluation.store_threshold(path, 0.37)
    with zipfile.ZipFile(path) as file:
        assert file.read("model.weights.h5") == b"weights" * 1000 and file.testzip() is None
        assert json.loads(file.read("config.json"))["config"]["best_score_threshold"] == 0.37
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps({"class_name": "Functional"}))
    with pytest.raises(ValueError, match="holds a Functional"):
        evaluation.store_threshold(path, 0.37)
    path.write_bytes(b"noise")
    with pytest.raises(ValueError, match=r"Expected a .keras file"):
        evaluation.store_threshold(path, 0.37)


def test_the_benchmark_runs(capsys):
    runpy.run_path(str(BENCHMARK))["main"](["--pictures", "6", "--classes", "2"])
    assert "6 pictures, 2 classes" in capsys.readouterr().out
