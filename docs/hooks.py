"""Makes the API pages: one per folder of the package, with every object in its `__all__`."""

import importlib
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
    names = sorted(module.__all__, key=str.lower)
    entries = [f"::: {_path(module, name)}" for name in names if _documented(module, name)]
    return "\n\n".join([f"# {title}", module.__doc__ or "", *entries]) + "\n"


def _documented(module, name):
    """Tables and modules have no page of their own: the objects that use them name them."""
    return callable(getattr(module, name))


def _path(module, name):
    """Where an object is found: `data.pipeline` is a function, and a file of that name holds it."""
    home = getattr(module, name).__module__
    return (
        f"{home}.{name}"
        if home.endswith(f"{module.__name__}.{name}")
        else f"{module.__name__}.{name}"
    )
