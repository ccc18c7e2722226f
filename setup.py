"""The one step of the build that pyproject.toml cannot say: `tflite/`, which runs without the
package, goes into the wheel as data of the package."""

import pathlib

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE, TARGET = pathlib.Path("tflite"), pathlib.Path("keras_detblocks", "tflite")

MADE = {"__pycache__", "node_modules"}  # beside the sources by who runs them


class BuildWithDevice(build_py):
    """Copies the device side; an editable install finds it beside the package."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for source, target in self._copies():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target), preserve_mode=False)

    def get_outputs(self, include_bytecode=True):
        return [
            *super().get_outputs(include_bytecode),
            *(str(target) for _, target in self._copies()),
        ]

    def get_source_files(self):
        return [*super().get_source_files(), *(str(source) for source, _ in self._copies())]

    def _copies(self):
        build = pathlib.Path(self.build_lib)
        for path in sorted(SOURCE.rglob("*")):
            if path.is_file() and not MADE & set(path.parts):
                yield path, build / TARGET / path.relative_to(SOURCE)


setup(cmdclass={"build_py": BuildWithDevice})
