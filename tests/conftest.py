import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the same numbers on every machine
# As importing keras_detblocks does, for tests that import TensorFlow first. Nothing is imported
# here: the process that hands out the tests needs no TensorFlow, and pytest shows what it says on
# standard error behind the summary.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Fast tests first; what shares fixtures, a file's fast tests or its slow ones, stays in one
    process."""
    items.sort(key=_is_slow)
    for item in items:
        item.add_marker(
            pytest.mark.xdist_group(
                f"{item.path.parent.name}/{item.path.stem}/{'slow' if _is_slow(item) else 'fast'}"
            )
        )


def _is_slow(item):
    return item.get_closest_marker("slow") is not None
