"""The folders of the package import only what the design allows."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "keras_detblocks"
# A file may import from the rows above its own, and within its own folder. Folders on one row never
# import each other.
ROWS = [
    ["checks", "files", "startup", "version"],
    ["images"],
    ["layers", "optimizers"],
    ["weights"],
    ["backbones"],
    ["context", "necks"],
    ["detection"],
    ["analysis", "data"],
    ["design"],
    ["training"],
    ["evaluation"],
    ["export"],
    ["commands"],
    ["cli"],
    ["__main__"],
]


def _part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path):
    """Folders of this package that a file imports, wherever in the file."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level == depth:  # relative to the package itself
                yield from (
                    [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
                )
            elif node.level == 0 and (node.module or "").startswith("keras_detblocks"):
                yield from (
                    [node.module.split(".")[1]]
                    if "." in node.module
                    else [a.name for a in node.names]
                )


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_arrows(path):
    part = _part(path)
    if part == "__init__":
        return
    rank = {name: row for row, names in enumerate(ROWS) for name in names}
    assert part in rank, f"{part} is not in the design's order"
    for other in _imports(path):
        if other in rank and other != part:
            assert rank[other] < rank[part], f"{path.name} ({part}) imports {other}"


def test_the_base_import_settles_the_environment_before_keras():
    """oneDNN is asked for, and the command line is quiet, only before TensorFlow is imported."""
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    local = [node for node in body if isinstance(node, ast.ImportFrom)]
    assert [alias.name for alias in local[0].names] == ["startup"]
