"""The documentation builds without a warning, and the Python in it runs."""

import pathlib
import re
import runpy
import textwrap

import click.testing
import pytest

import keras_detblocks as kdb

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "pages").glob("*.md"))
ALL = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
# Numbers that a page may well have, and a test has no time for.
SHORT = {
    "README": {
        "train_images=64, val_images=8": "train_images=8, val_images=4, image_size=96",
        "192": "96",
        "16, training=True": "4, training=True",
        "steps_per_epoch=4": "steps_per_epoch=1",
    }
}
BLOCK = re.compile(r"^ *```python\n(.*?)^ *```", re.M | re.S)


def python_in(path):
    """The Python blocks of a page as one program, at the lines where they stand."""
    text, program = path.read_text(), ""
    for match in BLOCK.finditer(text):
        above = text[: match.start(1)].count("\n") - program.count("\n")
        program += "\n" * above + textwrap.dedent(match[1])
    return program


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [page for page in ALL if BLOCK.search(page.read_text())],
    ids=lambda path: path.stem,
)
def test_the_python_of_a_page_runs(path, tmp_path, monkeypatch, eager):
    monkeypatch.chdir(tmp_path)
    program = python_in(path)
    for long, short in SHORT.get(path.stem, {}).items():
        assert long in program
        program = program.replace(long, short)
    exec(compile(program, str(path), "exec"), {"__name__": path.stem})


@pytest.mark.slow
def test_it_builds_and_every_public_object_is_in_it(tmp_path):
    mkdocs = pytest.importorskip("mkdocs.__main__")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = ["build", "--strict", "-q", "-f", str(ROOT / "docs" / "mkdocs.yml"), "-d"]
    done = click.testing.CliRunner().invoke(mkdocs.cli, [*command, str(tmp_path / "site")])
    assert done.exit_code == 0, done.output[-3000:]
    html = "".join(page.read_text() for page in (tmp_path / "site" / "api").rglob("*.html"))
    ids = set(re.findall(r'id="(?:keras_detblocks\.)?(?:\w+\.)*(\w+)"', html))
    public = [name for name in kdb.__all__ if callable(getattr(kdb, name))]
    assert not set(public) - ids


def test_pages_and_pictures_that_are_linked_exist():
    for path in ALL:
        prose = re.sub(r"(?ms)^```.*?^```", "", path.read_text())
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", prose):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_what_a_package_index_shows_leads_nowhere_that_is_not_there():
    pytest.importorskip("setuptools")
    readme = (ROOT / "README.md").read_text()
    shown = runpy.run_path(str(ROOT / "setup.py"))["description"](readme)
    assert "![" in readme and "![" not in shown
    assert not re.findall(r"\]\((?!https?:)", shown)
    assert "[documentation](" in readme and "in the documentation." in shown
    assert len(readme.splitlines()) <= 130
