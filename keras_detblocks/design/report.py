"""Writes one self-contained HTML page on one or several sweeps: distributions, trends, the best
nets."""

import base64
import html
import io
from dataclasses import fields

import numpy as np

from ..backbones.complexity import to_anynet
from ..checks import check_path
from . import plots
from .statistics import complexity_weights, edf, permutation_test

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto;
  padding: 0 1em; color: #222; background: #fff; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, td.text { text-align: left; }
img { max-width: 100%; }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto; white-space: pre-wrap; }
.scroll { max-height: 32em; overflow: auto; }
figure { margin: 1.5em 0; } figcaption { color: #555; }
"""


def report(results, path):
    """Writes the page.

    Args:
        results: `SweepResult`s, such as the spaces of a ladder; the others are compared with the
            first.
        path: of the HTML file.

    Returns:
        The path.

    Raises:
        ValueError: a sweep without a trained net.
        ImportError: matplotlib is not installed.
    """
    path, results = check_path(path, "path"), list(results)
    if not results:
        raise ValueError(
            "No sweep to report: the storage holds none. Run a `sweep` first, or check `storage`."
        )
    for result in results:
        if not len(result):
            reasons = (
                "; ".join(sorted({reason for _, reason in result.failures})[:3])
                or "it has not finished any"
            )
            raise ValueError(f"The sweep {result.name!r} has no trained net to report ({reasons}).")
    best = min(results, key=lambda result: result.errors[0])
    body = [
        "<h1>Design spaces</h1>",
        _summary(results),
        *_distributions(results),
        "<h2>Best net</h2>",
        f"<p>From {html.escape(best.name)}, error {best.errors[0]:.4g}.</p>",
        f"<pre>{html.escape(python_of(best.specs[0]))}</pre>",
        *(part for result in results for part in _section(result)),
    ]
    page = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Design spaces</title>'
    page += f"<style>{_STYLE}</style></head>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{page}<body>{''.join(body)}</body></html>\n", encoding="utf-8")
    return path


def python_of(spec):
    """The Python source that builds a spec's net."""
    module = "regnet" if type(spec).__name__ == "RegNetSpec" else "anynet"
    argument = "spec.to_anynet()" if module == "regnet" else "spec"
    imports = [
        "from keras_detblocks.backbones.anynet import AnyNet",
        "from keras_detblocks.backbones.regnet import RegNetSpec",
    ]
    if module == "anynet":
        imports = ["from keras_detblocks.backbones.anynet import AnyNet, AnyNetSpec"]
    return "\n".join(
        [*imports, "", f"spec = {spec!r}", f"model = AnyNet({argument}, input_shape=(224, 224, 3))"]
    )


def _summary(results):
    """The numbers of each sweep, and whether it differs from the first."""
    head = [
        "space",
        "nets",
        "failed",
        "least error",
        "mean error",
        "mean difference",
        "p (mean)",
        "p (KS)",
    ]
    rows = []
    for result in results:
        distribution = edf(result.errors)
        row = [
            result.name,
            str(len(result)),
            str(len(result.failures)),
            f"{distribution.min:.4g}",
            f"{distribution.mean:.4g}",
        ]
        if result is not results[0]:
            test = permutation_test(result.errors, results[0].errors, rng=0)
            row += [f"{test.mean_difference:+.4g}", f"{test.mean_p:.2g}", f"{test.ks_p:.2g}"]
        rows.append(row + [""] * (len(head) - len(row)))
    note = (
        f"<p>Differences are to {html.escape(results[0].name)}, p-values by permutation.</p>"
        if len(results) > 1
        else ""
    )
    return _table(head, rows) + note


def _distributions(results):
    """The error distributions, plain and, if the nets allow it, with normalized complexity."""
    errors = {result.name: result.errors for result in results}
    yield _image(plots.plot_edf(errors), "Error distributions: higher and further left is better.")
    macs = [result.complexity.macs for result in results]
    bounds = max(m.min() for m in macs), min(m.max() for m in macs)
    if bounds[0] < bounds[1]:
        for bins in (8, 4, 2):
            try:
                weights = {
                    result.name: complexity_weights(m, bins, bounds)
                    for result, m in zip(results, macs)
                }
            except ValueError:
                continue
            yield _image(
                plots.plot_edf(errors, weights),
                f"The same with {bins} ranges of multiply-adds weighted equally.",
            )
            return


def _section(result):
    """The trends, widths and tables of one sweep."""
    parameters = {
        name: values for name, values in _parameters(result).items() if np.ptp(values) > 0
    }
    yield f"<h2>{html.escape(result.name)}</h2>"
    if parameters:
        figure = plots.plot_error_against(
            parameters, result.errors, log=("macs", "params", "activations")
        )
        yield _image(
            figure,
            "Error against each parameter. Line and band: the best value by the bootstrap, 95 %.",
        )
    yield _image(
        plots.plot_widths(result.specs, result.errors),
        "Widths of the best nets, and the quantized line closest to them.",
    )
    yield _image(
        plots.plot_random_search(result.errors),
        "Expected best error against the number of random nets, with its 95 % band.",
    )
    rows = [
        [str(i + 1), f"{error:.4g}", *(f"{cost:,}" for cost in costs), *_shape(spec)]
        for i, (spec, error, costs) in enumerate(
            zip(result.specs, result.errors, zip(*(c.tolist() for c in result.complexity)))
        )
    ]
    head = [
        "",
        "error",
        "multiply-adds",
        "parameters",
        "activations",
        "depths",
        "widths",
        "b",
        "group widths",
    ]
    yield f'<h3>Nets, best first</h3><div class="scroll">{_table(head, rows)}</div>'
    if result.failures:
        yield "<h3>Failures</h3>" + _table(
            ["net", "reason"], [[repr(spec), reason] for spec, reason in result.failures]
        )
    settings = "\n".join(f"{key}: {value}" for key, value in result.settings.items())
    yield f"<h3>Settings</h3><pre>{html.escape(settings)}</pre>"


def _parameters(result):
    """The nets' numbers by name: those of the spec, and the nets' costs."""
    numbers = {}
    if all(hasattr(spec, "w_0") for spec in result.specs):
        names = [f.name for f in fields(result.specs[0]) if f.name != "rounding"]
        numbers = {name: np.array([getattr(spec, name) for spec in result.specs]) for name in names}
    else:
        nets = [to_anynet(spec) for spec in result.specs]
        numbers["depth"] = np.array([sum(net.depths) for net in nets])
        if len({len(net.depths) for net in nets}) == 1:
            for name in ("depths", "widths", "bottleneck_ratios", "group_widths"):
                for stage in range(len(nets[0].depths)):
                    numbers[f"{name}[{stage}]"] = np.array(
                        [getattr(net, name)[stage] for net in nets]
                    )
    return numbers | result.complexity._asdict()


def _shape(spec):
    net = to_anynet(spec)
    settings = net.depths, net.widths, net.bottleneck_ratios, net.group_widths
    return [" ".join(f"{value:g}" for value in stages) for stages in settings]


def _table(head, rows):
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    cells = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{names}</tr></thead><tbody>{cells}</tbody></table>"


def _image(figure, caption):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = html.escape(caption)
    image = f'<img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
