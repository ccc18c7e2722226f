"""The files of a data set, walked once."""

import os
from functools import cached_property

from ..checks import check_path
from .parse import json_head
from .pictures import PICTURE_FOLDERS, Pictures, is_picture, walk


class Tree:
    """A path that may hold a data set: one file, or a folder with everything below it.

    Attributes:
        path: as given.
        root: the folder, or the file's folder if the path is a file.
        images: another folder of pictures, or None.
    """

    def __init__(self, path, images=None):
        self.path = check_path(path, "path")
        self.images = None if images is None else str(images)
        self._heads = {}
        self.is_file = self.path.is_file()
        self.root = str(self.path.parent if self.is_file else self.path)

    @cached_property
    def _all(self):
        return [str(self.path)] if self.is_file else list(walk([self.root]))

    @cached_property
    def files(self):
        """Paths of all files except macOS' resource forks."""
        return [path for path in self._all if not _foreign(path)]

    @cached_property
    def foreign(self):
        """Paths of macOS' resource forks, `._name`, whose content does not match their suffix."""
        return [] if self.is_file else [path for path in self._all if _foreign(path)]

    @cached_property
    def by_suffix(self):
        table = {}
        for path in self.files:
            table.setdefault(os.path.splitext(path)[1].lower(), []).append(path)
        return table

    def of(self, *suffixes):
        """Paths of the files with some suffixes, given in lower case with the dot."""
        return [path for suffix in suffixes for path in self.by_suffix.get(suffix, ())]

    def json_head(self, path):
        """The `JsonHead` of a file, read once for all layouts."""
        if path not in self._heads:
            self._heads[path] = json_head(path)
        return self._heads[path]

    @cached_property
    def picture_files(self):
        return [path for path in self.files if is_picture(os.path.basename(path))]

    def pictures(self, *folders):
        """The finder of picture files: in `images` first, then in the folders named, then below the
        data set's own folder. For a single file only the usual folders beside it are searched."""
        given = [self.images] if self.images else []
        usual = [f"{self.root}/{part}" for part in (*PICTURE_FOLDERS, "media")]
        below = [f for f in usual if os.path.isdir(f)] if self.is_file else [self.root]
        return Pictures([*given, *folders], [*given, *below])


def _foreign(path):
    return os.path.basename(path).startswith("._")
