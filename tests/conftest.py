"""What all tests share: one thread a process, files in an order that keeps all workers busy, memory
given back after each file, and fixtures that are made once a run."""

import contextlib
import ctypes
import fcntl
import functools
import gc
import os
import resource
import sys

import pytest
from lighter import lighten

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the same numbers on every machine
# As importing keras_detblocks does, for tests that import TensorFlow first. Nothing is imported
# here: the process that hands out the tests needs no TensorFlow, and pytest shows what it says on
# standard error behind the summary.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# A worker a core, and a thread a worker: more only wait for one another.
for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

HERE = os.path.dirname(__file__) + os.sep
LONG = 30  # seconds from which a test should be marked slow
# Files of a minute and about, longest first. A file stays in one worker, since its tests share
# fixtures: one of minutes that began last would keep that worker, and leave the others idle.
LONGEST = (
    "fresh/test_fresh",
    "commands/test_cli",
    "training/test_several",
    "export/test_detector_export",
    "export/test_every_layer",
    "docs/test_documentation",
    "tests/test_contract",
    "tests/test_keras_export",
    "necks/test_neck_export",
    "backbones/test_every_constructor",
    "export/test_detector_forms",
    "examples/test_pretrain_start",
    "context/test_context_export",
)


def pytest_collection_modifyitems(items):
    """The longest files first, and the fast tests of a file before its slow ones.

    xdist hands out whole files (`--dist loadfile`) in this order. Its `loadgroup` is of no use:
    with pytest 9.2 it hands out single tests, and says nothing
    (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    order = {name: place for place, name in enumerate(LONGEST)}
    files = {}
    for item in items:
        name = f"{item.path.parent.name}/{item.path.stem}"
        files.setdefault(item.path, (order.get(name, len(order)), len(files)))
    items.sort(key=lambda item: (files[item.path], item.get_closest_marker("slow") is not None))


def pytest_collection_finish():
    """From here on garbage is collected where memory asks for it (`_memory`): TensorFlow takes
    seconds to take one traced step apart. What the imports made stays, and need not be searched."""
    lighten()
    gc.collect()
    gc.freeze()
    gc.disable()


def pytest_unconfigure():
    gc.freeze()  # nor at the end of the process


def pytest_terminal_summary(terminalreporter):
    """Says which tests are slow without the mark; a busy machine must fail nothing."""
    seconds = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call" and "slow" not in report.keywords:
                seconds[report.nodeid] = report.duration
    long = {name: taken for name, taken in seconds.items() if taken > LONG}
    if long:
        terminalreporter.section(f"over {LONG} s without the mark slow")
        for name, taken in sorted(long.items(), key=lambda each: -each[1]):
            terminalreporter.line(f"{taken:.0f} s {name}")


@pytest.fixture(scope="module", autouse=True)
def _session():
    """Lets Keras forget a file's names, once its fixtures are gone, and the tests' own caches their
    models. What is left is not searched when TensorFlow's converter collects garbage, which it does
    each time."""
    yield
    for module in list(sys.modules.values()):
        if (getattr(module, "__file__", None) or "").startswith(HERE):
            for value in vars(module).values():
                if isinstance(value, type(functools.cache(len))):
                    value.cache_clear()
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)
    gc.freeze()


@pytest.fixture(autouse=True)
def _memory():
    """Gives back what models, functions and graphs took that nobody holds any more, when the
    process has grown by a quarter of a gigabyte since the last time."""
    yield
    if _resident() > _after_collection[-1] + 0.25:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        _after_collection.append(max(_resident(), 1.5))


_after_collection = [1.5]


def _resident():
    """Gigabytes of memory that the process holds, the most of it so far where the system does not
    say it."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@contextlib.contextmanager
def eagerly():
    """Within it Keras' steps run as they are written: few of them cost less than tracing one. What
    a step computes when it is traced is tested elsewhere."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def eager():
    with eagerly():
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)`: a folder that `make(folder)` has filled in the first process of the
    run to ask for it; the others wait for that."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def made(name, make):
        folder, whole = root / name, root / f"{name}.whole"
        with open(root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                folder.mkdir(exist_ok=True)
                make(folder)
                whole.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def rectangles(made_once):
    """A COCO folder of 24 pictures of 64 x 96 with the classes circle, square and star, in the
    split train: bright rectangles, none on the first picture."""
    from toy import write_coco

    return made_once("rectangles", write_coco)


@pytest.fixture(scope="session")
def trained_files(made_once):
    """A folder with `detector.keras`, a `toy_detector` trained until it finds its rectangles, with
    its optimizer; `history.json`; and `pictures.npz`, what it was trained on (x, boxes, labels)."""
    from toy import train_toy

    return made_once("trained", train_toy)


@pytest.fixture(scope="session")
def small_files(made_once):
    """A folder with `detector.keras`, which is sure of some boxes
    (`export_models.small_detector`), and `detector.tflite`, opened and compared when written."""
    from export_models import small_detector

    from keras_detblocks import export

    def make(folder):
        detector = small_detector()
        detector.save(folder / "detector.keras")
        export.to_tflite(detector, folder / "detector.tflite")

    return made_once("small_files", make)
