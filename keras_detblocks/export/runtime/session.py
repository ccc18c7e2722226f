"""Opens an exported file in a separate process and runs it: one interface for SavedModel, ONNX and
TFLite files."""

import contextlib
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time

from ...checks import check_flag, check_int, check_path
from ...weights.keras_file import whole
from ..graph import check_size, picture_like
from .archive import is_tflite
from .seal import check_seal

_WORKER = pathlib.Path(__file__).with_name("worker.py")
_RUNTIMES = {
    "tflite": "ai_edge_litert",
    "onnx": "onnxruntime",
    "saved_model": "tensorflow",
    "keras": "tensorflow",
}


def kind_of(path):
    """`"saved_model"`, `"onnx"`, `"tflite"` or `"keras"` (a detector), by what is at `path`."""
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(8)
        if is_tflite(head):
            return "tflite"
        suffix = path.suffix.lower()
        if suffix == ".keras" or (suffix == ".onnx" and head and not _known(head)):
            return suffix[1:]
        what = _known(head) or ("a file of another kind" if head else "an empty file")
    else:
        what = _folder(path) if path.exists() else "nothing is there"
    raise ValueError(
        f"{path}: expected a .tflite, .onnx or .keras file or the folder of a SavedModel; "
        f"received: {what}."
    )


# First bytes of files that are mistaken for a model's file.
_KNOWN = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"PK": "a zip archive, as PyTorch writes them",
    b"\x89HDF": "weights without their model (HDF5)",
    b"version ": "the address of a file that Git LFS has not brought",
}


def _known(head):
    return next((what for begin, what in _KNOWN.items() if head.startswith(begin)), None)


def _folder(path):
    inside = sorted(each.parent for each in path.glob("*/saved_model.pb"))
    return f"a folder; give {inside[-1]}" if inside else "a folder without saved_model.pb"


# Processes that wait for another SavedModel after theirs was closed, by parent process and number
# of threads, since starting TensorFlow takes seconds. They end with this process, or by themselves
# after a while.
_WAITING = {}
_SECONDS_TO_WAIT = 60

_WARNING = re.compile(r"\[W:onnxruntime[^\]]*\](.*?)(?:\x1b\[m)?$")


def _check(path, kind):
    """Refuses a damaged file before a runtime crashes on it or mistakes it for another."""
    if kind == "keras":
        with whole(path):
            return
    check_seal(path)


def _ended(code):
    """Describes how a process ended."""
    if code == -signal.SIGKILL:
        return "was killed, as systems do that run out of memory"
    return f"ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}"


class SessionError(ValueError):
    """An exported file that its runtime cannot open or run."""


class Session:
    """A running copy of an exported file (or of a saved detector): call it with a dict of arrays,
    get a dict of arrays.

    The file runs in a child process, where it cannot harm this one, on `num_threads` threads. A
    detector's file is first compared with the checksum that it carries. `seconds` and `cpu_seconds`
    are the times of the last call there, without transfers, and `memory` is the number of megabytes
    that the process holds. Close it, or use it in a `with` statement.

    Args:
        path: of the file or folder.
        num_threads: of the runtime.
        fresh: whether the process must be new. By default one that ran another SavedModel may run
            this one too, which saves the seconds that TensorFlow takes to start.
        checked: whether the caller has compared the file with its checksum.

    Attributes:
        inputs: name -> (shape, dtype name). outputs: names.
        partitions: the number of parts that TFLite's CPU delegate took (1 is best; None for other
            formats).
        process: the child, a `subprocess.Popen`; `None` once it is closed.
    """

    def __init__(self, path, num_threads=1, fresh=False, checked=False):
        path = check_path(path, "path")
        self.path, self.num_threads = str(path), check_int(num_threads, "num_threads")
        fresh = check_flag(fresh, "fresh")
        self.kind = kind_of(path)
        if not check_flag(checked, "checked"):
            _check(path, self.kind)
        self.seconds = self.cpu_seconds = self.memory = None
        self._busy = True  # until the answer has come
        if fresh or not self._take_waiting():
            self._start()
        about = self._receive("opened")
        self.inputs, self.outputs = about["inputs"], about["outputs"]
        self.partitions = about.get("partitions")
        self.onnx_metadata = about.get("metadata")

    def picture(self, image_size=None):
        """A made-up picture that the file accepts, `(1, H, W, C)`, for timing; `image_size` sets
        open sides, 320 by default.

        Raises:
            ValueError: if it takes anything but pictures.
        """
        shape, dtype = self.inputs.get("image", ((), None))
        if len(self.inputs) != 1 or len(shape) != 4:
            raise ValueError(
                f"{self.path}: expected a file with one input, a picture called image; received: "
                f"one with {', '.join(sorted(self.inputs))}."
            )
        check_size(image_size)
        sides = [side or other or 320 for side, other in zip(shape[1:3], image_size or (320, 320))]
        return picture_like((1, *sides, shape[3])).astype(dtype)

    def _take_waiting(self):
        """Whether a waiting process took this file."""
        if self.kind != "saved_model" or self._place not in _WAITING:
            return False
        self.process, self._errors, since = _WAITING.pop(self._place)
        try:
            if time.monotonic() - since < _SECONDS_TO_WAIT - 5:
                self._send(os.path.abspath(self.path))
                return True
        except BrokenPipeError:
            pass
        self._end()
        return False

    @property
    def _place(self):
        return os.getpid(), self.num_threads

    def _start(self):
        self._errors = tempfile.TemporaryFile()
        # -P: the folder of the script, which contains our onnx.py, must not shadow packages.
        command = [sys.executable, "-P", str(_WORKER), self.path, self.kind, str(self.num_threads)]
        # The place of this package, for a .keras file.
        folders = [
            str(_WORKER.parents[3]),
            os.environ.get("PYTHONPATH", ""),
        ]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={
                "TF_CPP_MIN_LOG_LEVEL": "2",
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, folders)),
            },
        )

    def _send(self, value):
        self._busy = True
        pickle.dump(value, self.process.stdin, protocol=5)
        self.process.stdin.flush()

    def __call__(self, **arrays):
        try:
            self._send(arrays)
        except BrokenPipeError:
            pass  # the child is gone, which _receive reports
        outputs, self.seconds, self.cpu_seconds, self.memory = self._receive("run")
        return outputs

    def _receive(self, what):
        try:
            value = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):  # none of its answer, or a part of it
            value = f"the runtime {_ended(self.process.wait())}. {self._last_words()}".strip()
        if isinstance(value, str):
            self._end()
            missing = _RUNTIMES[self.kind]
            if f"No module named '{missing}" in value:
                raise ImportError(
                    f"Running {self.path} needs {missing}: pip install 'keras_detblocks[export]'"
                )
            of_file = what == "opened" and not value.startswith("the runtime")
            remedy = " Copy it again, or export it anew." if of_file else ""
            raise SessionError(f"{self.path} could not be {what}: {value.rstrip('.')}.{remedy}")
        self._busy = False
        return value

    def _last_words(self):
        return " | ".join(self._said()[-3:])

    def _said(self):
        """The lines that the child wrote to its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()]

    @property
    def warnings(self):
        """The warnings of onnxruntime since the file was opened, a list of sentences."""
        found = [_WARNING.search(line) for line in self._said()]
        return list(dict.fromkeys(match[1].strip() for match in found if match))

    def close(self):
        """Ends the process, or leaves it for the next SavedModel."""
        if self.process is None:
            return
        if self.kind != "saved_model" or self._busy or self._place in _WAITING:
            return self._end()
        try:
            self._send(_SECONDS_TO_WAIT)
        except BrokenPipeError:
            return self._end()
        _WAITING[self._place] = self.process, self._errors, time.monotonic()
        self.process = None

    def _end(self):
        with contextlib.suppress(BrokenPipeError):  # the child is gone
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()
        self.process = None
        self._errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
