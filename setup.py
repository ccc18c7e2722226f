"""The parts of the build that pyproject.toml cannot express: `tflite/`, which runs without the
package, goes into the wheel as package data; the description is README.md without pictures and
links into the repository, which would be broken on a package index."""

import pathlib
import re

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE, TARGET = pathlib.Path("tflite"), pathlib.Path("keras_detblocks", "tflite")

MADE = {"__pycache__", "node_modules"}  # files beside the sources that only developers run


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


def description(readme):
    """A page in Markdown without its pictures, and with only the text of links that would lead
    nowhere elsewhere."""
    text = re.sub(r"^!\[[^\]]*\]\([^)]*\)\n+", "", readme, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]*)\]\((?!\w+:)[^)]*\)", r"\1", text)


if __name__ == "__main__":
    setup(
        cmdclass={"build_py": BuildWithDevice},
        long_description=description(pathlib.Path("README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
