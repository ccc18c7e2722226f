"""Reads text, JSON, XML, CSV cells and numbers as tools write them: in any encoding, with numbers
as text, and without losing good items to a bad one."""

import codecs
import contextlib
import gc
import json
import math
import os
import re
import stat
from typing import NamedTuple
from xml.etree import ElementTree

_MARKS = (  # the longer one first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DEEPEST = 60  # how deeply nested brackets of a JSON file are kept
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_JSON_KEY = re.compile(r'"(\w+)"\s*:\s*(\[)?')
# Keys that identify a layout; if the first bytes of a file hold none, more of it is read.
_TELLING = {
    *("images", "annotations", "categories", "shapes", "imagePath", "coordinates", "regions"),
    *("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels", "objects"),
    *("detections", "bounding_box"),
}
_FURTHER = 1 << 20
_ID = re.compile(r"([0-9]{1,18})(?:\.0+)?")
_XML_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding=["']([A-Za-z0-9._-]+)["']""")


def decode(content):
    """Decodes bytes by the mark at their head, else as UTF-16 if they have its zeros, else as
    UTF-8, and failing that as Latin-1."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    head = content[:64]
    if b"\0" in head and len(head) > 3:
        little = head[1::2].count(0) >= head[::2].count(0)
        return content.decode("utf-16-le" if little else "utf-16-be", errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


@contextlib.contextmanager
def _opened(path):
    """Opens an ordinary file only; opening a pipe that nobody writes to would never return."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except ValueError as error:  # a zero in the name
        raise OSError(f"{path!r} is no name of a file ({error})") from None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is not an ordinary file")
        yield file


def _read(path, size=-1):
    with _opened(path) as file:
        return file.read(size)


def read_text(path):
    """The text of a file.

    Raises:
        OSError: it cannot be read.
    """
    return decode(_read(path))


def read_head(path, size=1 << 14):
    """The text of the first bytes of a file; empty if it cannot be read."""
    try:
        return decode(_read(path, size))
    except (OSError, ValueError):
        return ""


def _read_tail(path, size=1 << 14):
    """The text of the last bytes of a file; empty if it cannot be read."""
    try:
        with _opened(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return decode(file.read())
    except (OSError, ValueError):
        return ""


class JsonHead(NamedTuple):
    """Facts from the beginning of a JSON file: whether it is a list, its keys, those of lists, and
    whether more follows."""

    is_list: bool
    keys: frozenset
    lists: frozenset
    cut: bool


def json_head(path):
    """The `JsonHead` of a file."""
    head = read_head(path)
    found = _JSON_KEY.findall(head)
    cut = len(head) > 5000
    if cut and not _TELLING & {name for name, _ in found}:  # a license or a picture comes first
        found = _JSON_KEY.findall(read_head(path, _FURTHER) + _read_tail(path))
    lists = frozenset(name for name, bracket in found if bracket)
    names = frozenset(name for name, _ in found)
    return JsonHead(head.lstrip("\ufeff \t\r\n")[:1] == "[", names, lists, cut)


def read_json(path, hook=None):
    """The content of a JSON file; values nested too deeply become `None`.

    Raises:
        ValueError, OSError: it does not parse, or cannot be read.
    """
    return _loads(read_text(path), hook)


@contextlib.contextmanager
def without_collector():
    """Pauses Python's garbage collector, which would walk a million new dicts and arrays again and
    again, although none is in a cycle."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _loads(text, hook):
    try:
        return json.loads(text, object_hook=hook)
    except RecursionError:
        return json.loads(_shallow(text), object_hook=hook, parse_int=_long_int)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python converts
        return json.loads(text, object_hook=hook, parse_int=_long_int)


def _long_int(digits):
    return int(digits) if len(digits) < 400 else math.inf


def _shallow(text):
    """The JSON text with `null` in place of values nested more deeply than a parser can follow."""
    parts, kept, depth = [], 0, 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in "[{":
            depth += 1
            if depth == _DEEPEST:
                parts += [text[kept : token.start()], "null"]
        elif mark in "]}":
            if depth == _DEEPEST:
                kept = token.end()
            depth -= 1
    if depth < _DEEPEST:
        parts.append(text[kept:])
    return "".join(parts)


def read_xml(path):
    """The root of an XML file, also in encodings that the parser does not know.

    Raises:
        ValueError, OSError: it does not parse, or cannot be read.
    """
    content = _read(path)
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        named = _XML_ENCODING.search(content[:200])
        try:
            codec = codecs.lookup(named.group(1).decode()).name if named else "utf-8"
            text = content.decode(codec)
            return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff")))
        except (ElementTree.ParseError, ValueError, LookupError):
            raise ValueError(f"it is not XML that can be read ({error})") from None


def number(value):
    """A finite float from a number or a text that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        value = float(value)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def numbers(values, count):
    """A list of `count` finite floats, or None."""
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return None
    found = [number(value) for value in values]
    return None if None in found else found


def size_of(width, height):
    """`(width, height)` as integers; None if they are not stated (zeros are common)."""
    width, height = number(width), number(height)
    if width is None or height is None or width < 1 or height < 1:
        return None
    return int(width), int(height)


def flag(value):
    """Whether a value of any kind means yes; None if it means neither yes nor no."""
    text = str(value).strip().lower()
    if text in ("", "0", "0.0", "false", "no", "none", "null", "unspecified", "-1"):
        return False
    return True if text in ("1", "1.0", "true", "yes") else None


def key(value):
    """An id in one form, so that equal ones compare equal: 7, 7.0, "7" and "7.0" are the same. None
    for anything that is not an id."""
    if isinstance(value, str):
        text = value.strip()
        match = _ID.fullmatch(text)
        return int(match[1]) if match else value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value
