"""Opens an exported file in a process of its own and runs it: one interface to SavedModel, ONNX and
TFLite files."""

import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile

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


_WARNING = re.compile(r"\[W:onnxruntime[^\]]*\](.*?)(?:\x1b\[m)?$")


class SessionError(ValueError):
    """An exported file that its runtime cannot open or run."""


class Session:
    """A running copy of an exported file (or of a saved detector): call it with a dict of arrays,
    get a dict of arrays.

    The file runs in a child process, where it cannot harm this one, on `num_threads` threads.
    `seconds` and `cpu_seconds` are what the last call took there, transfers excluded, and `memory`
    the megabytes that the process holds. Close it, or use it in a `with` statement.

    Attributes:
        inputs: name -> (shape, dtype name). outputs: names.
        partitions: TFLite: number of parts that the CPU delegate took (1 is best; None for other
            formats).
    """

    def __init__(self, path, num_threads=1):
        self.path = str(path)
        self.kind = kind_of(path)
        self.seconds = self.cpu_seconds = self.memory = None
        self._errors = tempfile.TemporaryFile()
        # -P: the folder of the script, with our onnx.py in it, must not shadow packages.
        command = [sys.executable, "-P", str(_WORKER), self.path, self.kind, str(num_threads)]
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
        about = self._receive("opened")
        self.inputs, self.outputs = about["inputs"], about["outputs"]
        self.partitions = about.get("partitions")
        self.onnx_metadata = about.get("metadata")

    def __call__(self, **arrays):
        try:
            pickle.dump(arrays, self._process.stdin, protocol=5)
            self._process.stdin.flush()
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
            self.close()
            missing = _RUNTIMES[self.kind]
            if f"No module named '{missing}" in value:
                raise ImportError(
                    f"Running {self.path} needs {missing}: pip install 'keras_detblocks[export]'"
                )
            raise SessionError(f"{self.path} could not be {what}: {value}")
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
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
