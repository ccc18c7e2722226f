"""Helpers of the pages: templates, and figures and numbers in their form."""

import base64
import io
import math
import pathlib
import re

import numpy as np

from .average import interval_text
from .classes import counted

_TEMPLATES = pathlib.Path(__file__).with_name("templates")


def template(name):
    """A page to render; missing values are errors, and texts are escaped."""
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("Reports need jinja2: pip install 'keras_detblocks[train]'.") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = _number
    environment.filters["interval"] = interval_text
    environment.filters["counted"] = counted
    environment.filters["breakable"] = _breakable
    environment.filters["percent"] = lambda v: "–" if v is None else f"{100 * v:.0f} %"
    return environment.get_template(name)


def _breakable(name):
    """A long name that may break into the next line after its marks."""
    from markupsafe import Markup, escape

    parts = re.split(r"(?<=[/_.-])", str(name))
    return Markup("<wbr>").join(escape(part) for part in parts)


def svg(figure):
    """A figure as the address of an `<img>` that holds it."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "keras_detblocks"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _number(value, digits=3):
    """Formats a number with three decimals; a dash if it is undefined."""
    if value is None or value < 0 or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def plain(value):
    """Converts a value for JSON, which knows neither NumPy nor nan."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
