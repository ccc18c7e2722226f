"""Shows the doctest examples in docstrings as code, wherever they are in the text."""

import re

import griffe

EXAMPLE = re.compile(
    r"(?:^[ \t]*Examples?:[ \t]*\n\n?)?((?:^[ \t]*>>> .*\n(?:^[ \t]*\S.*\n)*)+)", re.M
)


class Doctests(griffe.Extension):
    """Puts each block of examples between fences."""

    def on_instance(self, *, obj, **_):
        if obj.docstring is not None:
            text = obj.docstring.value + "\n"
            obj.docstring.value = EXAMPLE.sub(_fenced, text).rstrip()


def _fenced(match):
    lines = match[1].rstrip("\n").split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip())
    code = "\n".join(line[indent:] for line in lines)
    return f"\n**Example**\n\n```pycon\n{code}\n```\n"
