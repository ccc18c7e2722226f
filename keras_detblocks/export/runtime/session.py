"""Opens an exported file in a process of its own and runs it: one interface to SavedModel, ONNX and
TFLite files."""

import contextlib
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile
import time

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
        if head[4:] == b"TFL3":
            return "tflite"
        if path.suffix in (".onnx", ".keras"):
            return path.suffix[1:]
    what = "nothing is there" if not path.exists() else "it is neither"
    raise ValueError(
        f"Expected a SavedModel folder, an .onnx file or a .tflite file at {path}, but {what}."
    )


# Processes that wait for another SavedModel after theirs was closed, by this process and number of
# threads: starting TensorFlow takes seconds. They end with this process, or by themselves soon.
_WAITING = {}
_SECONDS_TO_WAIT = 60

_WARNING = re.compile(r"\[W:onnxruntime[^\]]*\](.*?)(?:\x1b\[m)?$")


class SessionError(ValueError):
    """An exported file that its runtime cannot open or run."""


class Session:
    """A running copy of an exported file (or of a saved detector): call it with a dict of arrays,
    get a dict of arrays.

    The file runs in a child process, where it cannot harm this one, on `num_threads` threads.
    `seconds` and `cpu_seconds` are what the last call took there, transfers excluded, and `memory`
    the megabytes that the process holds. Close it, or use it in a `with` statement.

    Args:
        path: of the file or folder.
        num_threads: of the runtime.
        fresh: whether the process must be a new one. By default one that ran another SavedModel may
            run this one too, which saves the seconds that TensorFlow takes to start.

    Attributes:
        inputs: name -> (shape, dtype name). outputs: names.
        partitions: TFLite: number of parts that the CPU delegate took (1 is best; None for other
            formats).
    """

    def __init__(self, path, num_threads=1, fresh=False):
        self.path, self.num_threads = str(path), num_threads
        self.kind = kind_of(path)
        self.seconds = self.cpu_seconds = self.memory = None
        self._busy = True  # until the answer has come
        if fresh or not self._take_waiting():
            self._start()
        about = self._receive("opened")
        self.inputs, self.outputs = about["inputs"], about["outputs"]
        self.partitions = about.get("partitions")
        self.onnx_metadata = about.get("metadata")

    def _take_waiting(self):
        """Whether a process that waits took this file."""
        if self.kind != "saved_model" or self._place not in _WAITING:
            return False
        self._process, self._errors, since = _WAITING.pop(self._place)
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
        # -P: the folder of the script, with our onnx.py in it, must not shadow packages.
        command = [sys.executable, "-P", str(_WORKER), self.path, self.kind, str(self.num_threads)]
        # Of this package, for a .keras file.
        folders = [
            str(_WORKER.parents[3]),
            os.environ.get("PYTHONPATH", ""),
        ]
        self._process = subprocess.Popen(
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
        pickle.dump(value, self._process.stdin, protocol=5)
        self._process.stdin.flush()

    def __call__(self, **arrays):
        try:
            self._send(arrays)
        except BrokenPipeError:
            pass  # the child is gone, which _receive reports
        outputs, self.seconds, self.cpu_seconds, self.memory = self._receive("run")
        return outputs

    def _receive(self, what):
        try:
            value = pickle.load(self._process.stdout)
        except EOFError:
            value = (
                f"the runtime ended with code {self._process.wait()}. {self._last_words()}".strip()
            )
        if isinstance(value, str):
            self._end()
            missing = _RUNTIMES[self.kind]
            if f"No module named '{missing}" in value:
                raise ImportError(
                    f"Running {self.path} needs {missing}: pip install 'keras_detblocks[export]'"
                )
            raise SessionError(f"{self.path} could not be {what}: {value}")
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
        """What onnxruntime warned of since the file was opened, a list of sentences."""
        found = [_WARNING.search(line) for line in self._said()]
        return list(dict.fromkeys(match[1].strip() for match in found if match))

    def close(self):
        if self._process is None:
            return
        if self.kind != "saved_model" or self._busy or self._place in _WAITING:
            return self._end()
        try:
            self._send(_SECONDS_TO_WAIT)
        except BrokenPipeError:
            return self._end()
        _WAITING[self._place] = self._process, self._errors, time.monotonic()
        self._process = None

    def _end(self):
        with contextlib.suppress(BrokenPipeError):  # the child is gone
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._process = None
        self._errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
