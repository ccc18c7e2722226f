"""Finds picture files by the names in the annotations, which cannot always be trusted."""

import os
import re
import unicodedata
from urllib.parse import unquote

from ..images.files import SUFFIXES

SPELLING = "picture found by another spelling of its name"
OTHER_SUFFIX = "picture found with another suffix"
SEVERAL = "picture whose name is written without a suffix and has several (the first is taken)"
ELSEWHERE = "picture found without the folders that are written before its name"
BY_NAME = "picture found by its bare name, in another folder than written"
# Label Studio puts eight digits before the names of pictures that were uploaded.
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")
_MOST_FILES = 3_000_000
PICTURE_FOLDERS = ("images", "JPEGImages", "Images", "image_2", "img", "imgs", "data")
_ANNOTATION_FOLDERS = (
    *("annotations", "annotation", "labels", "label", "label_2", "labeltxt", "ann", "json"),
    *("xml", "xmls"),
)


class Pictures:
    """Picture files below some folders.

    Args:
        folders: searched first, for each name as written.
        below: folders whose trees are searched for the bare file name.
    """

    def __init__(self, folders=(), below=()):
        self.below = [str(folder) for folder in dict.fromkeys(below)]
        self.folders = list(dict.fromkeys([*map(str, folders), *self.below]))
        self._listings, self._places, self._around = {}, {}, {}
        self._by_name = None

    def find(self, name, near="", other_name=""):
        """Returns `(path, how)`: the file of that name, or None; and how it was found, None if
        exactly as written."""
        places = [*self._near(near), *self.folders] if near else self.folders
        if path := self._joined(places, name):
            return path, None
        for each in filter(None, (name, other_name)):
            found = self._with_suffix(places, each)
            if found:
                return found
        for each in filter(None, (name, other_name)):
            found = self._respelled(places, each)
            if found:
                return found
        for each in filter(None, (name, other_name)):
            if path := self._anywhere(each, near):
                return path, BY_NAME
        return None, None

    def _near(self, folder):
        """The folder of an annotation file, and the folders of pictures that belong to it."""
        if folder not in self._around:
            found = dict.fromkeys([folder, *beside(folder)])
            self._around[folder] = [f for f in found if self._listing(f).exists]
        return self._around[folder]

    def _joined(self, places, name):
        """The path of the name in the first folder that has it."""
        folder, _, last = name.rpartition("/")
        if not last or "\0" in name:
            return None
        for inside, listing in self._inside(tuple(places), folder):
            if last in listing.names:
                return f"{inside}/{last}" if inside else last
        return None

    def _inside(self, places, folder):
        """Yields `(path, listing)` of a folder in each place that has it; most names share one."""
        if (places, folder) not in self._places:
            paths = [_join(place, folder) for place in places]
            there = [(p, self._listing(p)) for p in dict.fromkeys(paths) if self._listing(p).exists]
            self._places[places, folder] = there
        return self._places[places, folder]

    def _with_suffix(self, places, name):
        """Returns `(path, how)` for a name written without a suffix."""
        folder, _, last = name.rpartition("/")
        for place in places:
            inside = _join(place, folder)
            found = self._listing(inside).stems.get(_folded(last), ())
            if found:
                return _join(inside, found[0]), SEVERAL if len(found) > 1 else None
        return None

    def _respelled(self, places, name):
        """Tries other separators, percent signs, cases, suffixes, and fewer of the folders
        written."""
        for written in spellings(name):
            parts = written.split("/")
            for k in range(len(parts)):
                shorter = "/".join(parts[k:])
                folder, _, last = shorter.rpartition("/")
                for place in places:
                    inside = self._folder_like(place, folder)
                    if inside is None:
                        continue
                    if found := self._listing(inside).folded.get(_folded(last)):
                        return _join(inside, found), ELSEWHERE if k else SPELLING
                    stem, suffix = split_suffix(last)
                    if found := self._listing(inside).stems.get(_folded(stem)):
                        how = OTHER_SUFFIX if suffix else SPELLING
                        return _join(inside, found[0]), ELSEWHERE if k else how
        return None

    def _folder_like(self, place, folder):
        """The folder below `place`, whatever its upper and lower case; None without one."""
        inside = _join(place, folder)
        if self._listing(inside).exists:
            return inside
        for part in folder.split("/"):
            found = self._listing(place).folders.get(_folded(part))
            if found is None:
                return None
            place = _join(place, found)
        return place

    def _anywhere(self, name, near):
        """The only file of that name in the trees searched, or the one nearest to the
        annotation."""
        if self._by_name is None:
            self._by_name = {}
            for path in walk_pictures(self.below):
                self._by_name.setdefault(_folded(os.path.basename(path)), []).append(path)
                stem = split_suffix(os.path.basename(path))[0]
                self._by_name.setdefault(_folded(stem), []).append(path)
        for written in spellings(name):
            last = written.rpartition("/")[2]
            for form in (last, split_suffix(last)[0]):
                found = self._by_name.get(_folded(form), ())
                if len(found) == 1:
                    return found[0]
                closest = [p for p in found if near and p.startswith(f"{near}/")]
                if len(closest) == 1:
                    return closest[0]
        return None

    def _listing(self, folder):
        if folder not in self._listings:
            self._listings[folder] = _Listing(folder)
        return self._listings[folder]


class _Listing:
    """The names in a folder: as they are, and on demand by folded name and by stem."""

    def __init__(self, folder):
        self.names, self._folders = set(), []
        try:
            with os.scandir(folder or ".") as entries:
                for entry in entries:
                    is_folder = entry.is_dir()
                    (self._folders.append if is_folder else self.names.add)(entry.name)
            self.exists = True
        except (OSError, ValueError):
            self.exists = False
        self._folded = self._stems = None

    @property
    def folders(self):
        return {_folded(name): name for name in self._folders}

    @property
    def folded(self):
        if self._folded is None:
            self._folded = {_folded(name): name for name in sorted(self.names, reverse=True)}
        return self._folded

    @property
    def stems(self):
        """Returns folded stem -> the pictures with that stem."""
        if self._stems is None:
            self._stems = {}
            for name in sorted(self.names):
                stem, suffix = split_suffix(name)
                if suffix:
                    self._stems.setdefault(_folded(stem), []).append(name)
        return self._stems


def beside(folder):
    """Folders of pictures that belong to a folder of annotations: `a/labels/b` -> `a/images/b`, and
    the usual ones beside it."""
    parts = folder.split("/")
    for k in range(len(parts) - 1, -1, -1):
        if parts[k].lower() in _ANNOTATION_FOLDERS:
            for name in PICTURE_FOLDERS:
                yield "/".join([*parts[:k], name, *parts[k + 1 :]])
            yield "/".join([*parts[:k], *parts[k + 1 :]])
            break


def spellings(name):
    """Yields the spellings that a name may have been meant to have, without leading folders that go
    up."""
    forms = [name.replace("\\", "/")]
    for change in (_after_query, unquote, lambda n: _UPLOAD.sub("", n.rpartition("/")[2])):
        changed = change(forms[-1]).replace("\\", "/")
        if changed != forms[-1]:
            forms.append(changed)
    for form in forms:
        parts = [part for part in form.split("/") if part not in ("", ".", "..")]
        if parts and "\0" not in form:
            yield "/".join(parts)


def _after_query(name):
    """Label Studio's local files are written `/data/local-files/?d=folder/1.jpg`, downloads
    `https://host/1.jpg?width=640`."""
    before, mark, query = name.partition("?")
    values = [part[2:] for part in query.split("&") if part.startswith("d=")]
    return values[0] if values else before if mark else name


def stem_of(path):
    """The file's name without folders and without its last suffix, whatever it is."""
    return os.path.splitext(os.path.basename(path))[0]


def split_suffix(name):
    """`(stem, suffix)`, where the suffix is empty if it is not a picture's."""
    stem, suffix = os.path.splitext(name)
    return (stem, suffix) if suffix.lower() in SUFFIXES else (name, "")


def is_picture(name):
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("._")


def _folded(name):
    return unicodedata.normalize("NFC", name).casefold() if not name.isascii() else name.lower()


def _join(folder, name):
    if not name:
        return folder or ""
    return name if not folder or name.startswith("/") else f"{folder.rstrip('/')}/{name}"


def walk(folders, most=_MOST_FILES):
    """Paths of all files below some folders, sorted within each; links are followed once."""
    seen, left = set(), [str(folder) for folder in reversed(list(folders))]
    while left and most > 0:
        folder = left.pop()
        try:
            state = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (OSError, ValueError):
            continue
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        inner = []
        for entry in entries:
            if entry.is_dir():
                if not entry.name.startswith(".") and entry.name != "__MACOSX":
                    inner.append(_join(folder, entry.name))
            else:
                most -= 1
                yield _join(folder, entry.name)
        left += reversed(inner)


def walk_pictures(folders):
    return (path for path in walk(folders) if is_picture(os.path.basename(path)))
