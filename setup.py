"""What pyproject.toml cannot say of the build: `tflite/`, which runs without the package, goes into
the wheel as data of the package; the description is README.md without what leads into the
repository, for on a package index such pictures and links would be broken."""

import pathlib
import re

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


def description(readme):
    """A page in Markdown without its pictures, and with the text alone of links that lead nowhere
    from elsewhere."""
    text = re.sub(r"^!\[[^\]]*\]\([^)]*\)\n+", "", readme, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]*)\]\((?!\w+:)[^)]*\)", r"\1", text)


if __name__ == "__main__":
    setup(
        cmdclass={"build_py": BuildWithDevice},
        long_description=description(pathlib.Path("README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
