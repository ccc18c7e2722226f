"""The documentation builds without a warning, is whole, and the Python in it runs."""

import importlib
import inspect
import pathlib
import pkgutil
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
    ids = set(re.findall(r'id="(keras_detblocks\.[\w.]+)"', html))
    for path, _ in public():
        folder, name = path.rsplit(".", 1)  # a function is found under the file that holds it too
        assert path in ids or f"{path}.{name}" in ids, path


def public(*modules):
    """The path and value of every public object, and of those in public modules."""
    names = [found.name for found in pkgutil.iter_modules(kdb.__path__)]
    for module in modules or [importlib.import_module(f"keras_detblocks.{name}") for name in names]:
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            yield f"{module.__name__}.{name}", value
            if inspect.ismodule(value):
                yield from public(value)


# Keras calls these, or a neck's own base class does: arguments as described there.
CALLED = {"build", "call", "get_config", "from_config", "convolution_op", "predict_step"}
CALLED |= {"build_parts", "make_parts", "make_levels", "required_levels", "check_filters"}
CALLED |= {"compute_output_shape", "unit", "path", "pooled", "on_epoch_end"}


def documented():
    """Path, function and docstring of every public function, constructor and method."""
    for path, value in public():
        if not inspect.isclass(value):
            if callable(value):
                yield path, value, inspect.getdoc(value)
            continue
        own = "" if (value.__doc__ or "").startswith(f"{value.__name__}(") else value.__doc__ or ""
        if "__init__" in vars(value):
            yield path, value.__init__, own
        for name, method in vars(value).items():
            method = getattr(method, "__func__", method)  # of a class method
            if inspect.isfunction(method) and name not in CALLED and not name.startswith("_"):
                about = inspect.getdoc(getattr(value, name))
                yield f"{path}.{name}", method, about and f"{about} {own}"


def test_every_argument_is_named_in_the_docstring():
    """A method's in its own or in that of its class."""
    missing = []
    for path, function, about in documented():
        own = inspect.signature(function).parameters.values()
        names = {p.name for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        words = set(re.findall(r"\w+", about or ""))
        missing += [f"{path}: {name}" for name in sorted(names - {"self", "cls"} - words)]
        missing += [] if about else [f"{path} has no docstring"]
    assert not missing, "\n".join(missing)


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
