import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the same numbers on every machine

import keras_detblocks  # noqa: E402, F401  (turns oneDNN on before TensorFlow is imported)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Fast tests first; what shares fixtures, a file's fast tests or its slow ones, stays in one process."""
    items.sort(key=_is_slow)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}/{item.path.stem}/{'slow' if _is_slow(item) else 'fast'}"))


def _is_slow(item):
    return item.get_closest_marker("slow") is not None
