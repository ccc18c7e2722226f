"""Makes the API pages: one per folder of the package, with every object in its `__all__`."""

import ast
import importlib
import inspect
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mkdocs.structure.files import File  # noqa: E402

PARTS = {
    "backbones": "Backbones",
    "context": "Receptive-field blocks",
    "necks": "Necks",
    "layers": "Layers",
    "detection": "Detector",
    "weights": "Weights",
    "analysis": "Analysis",
    "images": "Pictures",
    "data": "Data",
    "training": "Training",
    "evaluation": "Evaluation",
    "export": "Export",
    "design": "Design spaces",
    "optimizers": "Optimizers",
}


def on_config(config):
    api = next(entry for entry in config.nav if "API" in entry)
    api["API"] = [{title: f"api/{part}.md"} for part, title in PARTS.items()]
    return config


def on_files(files, config):
    for part, title in PARTS.items():
        files.append(File.generated(config, f"api/{part}.md", content=page(part, title)))
    return files


def page(part, title):
    """The Markdown of one page: the folder's docstring, then each public object's."""
    module = importlib.import_module(f"keras_detblocks.{part}")
    return "\n\n".join([f"# {title}", module.__doc__ or "", *entries(module)]) + "\n"


def entries(module):
    """Yields the Markdown of each public object, and for a module among them also of its
    objects."""
    for name in sorted(module.__all__, key=str.lower):
        value = getattr(module, name)
        if inspect.ismodule(value):
            yield from [_heading(module, name), value.__doc__, *entries(value)]
        elif callable(value):
            yield f"::: {_path(module, name)}"
        else:
            yield from [_heading(module, name), about(module, name)]
            yield f"```python\n{_short(value)}\n```"


def about(module, name):
    """The docstring of a value: the text below its assignment, in the file that defines it."""
    body = ast.parse(inspect.getsource(module)).body
    for statement, below in zip(body, [*body[1:], None]):
        if isinstance(statement, ast.ImportFrom) and name in {a.name for a in statement.names}:
            home = "." * statement.level + (statement.module or "")
            return about(importlib.import_module(home, module.__package__), name)
        if isinstance(statement, ast.Assign) and name == ast.unparse(statement.targets[0]):
            return inspect.cleandoc(below.value.value)
    raise LookupError(f"{module.__name__} neither makes nor imports {name}")


def _heading(module, name):
    path = f"{module.__name__}.{name}"
    return f"## `{path}` {{#{path}}}"


def _short(value, most=400):
    """A value as source text; for a dict only its keys."""
    text = repr(list(value) if isinstance(value, dict) else value)
    return text if len(text) <= most else f"{text[:most]}..."


def _path(module, name):
    """The path of an object; `data.pipeline` is a function in a file of the same name."""
    home = getattr(module, name).__module__
    return (
        f"{home}.{name}"
        if home.endswith(f"{module.__name__}.{name}")
        else f"{module.__name__}.{name}"
    )
