"""What ruff does not see: American spelling, short functions and files."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
CODE = sorted((ROOT / "keras_detblocks").rglob("*.py"))
TEXTS = sorted(
    path
    for folder in ("keras_detblocks", "tests", "examples", "docs/pages", "tflite", ".")
    for path in (ROOT / folder).glob("*.md" if folder == "." else "**/*")
    if path.suffix in (".py", ".md", ".html", ".js", ".ipynb") and "node_modules" not in path.parts
)
_STEMS = (
    "canonical categor custom discret factor final general initial linear local maxim minim normal "
    "optim organ parametr penal polar prior quant random real recogn regular serial special "
    "standard summar synchron token util vector visual"
)
BRITISH = re.compile(
    rf".*(?:{'|'.join(_STEMS.split())})is(?:e[drs]?|es|ing|ations?|able)"
    "|.*(?:analys|catalys)(?:ed?|ing)|(?:behavi|col|fav|flav|harb|hon|hum|lab|neighb|vap)our.*"
    "|.*(?:cancel|label|level|model|signal|travel|tunnel)l(?:ed|ing|er)s?"
    "|(?:cent|fib|lit|met|theat)re[ds]?|(?:cata|dia|ana)logues?"
    "|grey.*|licences?|defence|artefacts?|judgement|learnt|whilst"
)
# A key of Label Studio's files, and the old name in the changelog.
FOREIGN = re.compile(r"was_cancelled|`licence`")
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 50
TABLES = {"outlines.py"}  # a shape a function


def british(text):
    """The words of a text, and the parts of its identifiers, that are spelled as in Britain."""
    words = set(re.findall(r"[a-z]+", FOREIGN.sub("", text).lower()))
    return sorted(filter(BRITISH.fullmatch, words))


def test_american_spelling():
    texts = {path: path.read_text() for path in TEXTS if path != pathlib.Path(__file__)}
    assert not british("\n".join(texts.values()))
    found = british("Normalised_color a_centre, cancelled colours, optimistic wise center")
    assert found == ["cancelled", "centre", "colours", "normalised"]


def test_functions_and_files_are_short():
    long = []
    for path in CODE:
        text = path.read_text()
        if text.count("\n") > MOST_LINES and path.name not in TABLES:
            long.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and _lines(node) > MOST_LINES_OF_A_FUNCTION:
                long.append(f"{path.name}: {node.name}")
    assert not long


def _lines(function):
    """Without signature and docstring."""
    body = function.body[1 if ast.get_docstring(function) else 0 :]
    return function.end_lineno - body[0].lineno + 1 if body else 0
