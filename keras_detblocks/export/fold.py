"""Takes the normalization of images out of a frozen graph: its factor goes into the kernel of the
next convolution, its summand into that convolution's bias.

Normalization maps pixels x to a x + b, channel by channel: written a (x - mean), its factor `a`
scales the kernel. With one mean for all channels the rest is constant too: the convolution of a
constant picture, if its border is padded with the mean instead of zero; then nothing is left in the
graph. With a mean per channel one addition stays if the convolution pads. Both are exact.

In int8 files the addition stays for one mean too: TFLite's delegate takes it, and there a padding
with zeros is part of the convolution, while the delegate takes a padding with a number for no type.
"""

from dataclasses import dataclass

import numpy as np

from .nodes import AFFINE, Nodes
from .pairs import in_pairs

_PASSING = ("Identity", "Cast")


def without_normalization(graph_def, image_names, pairs=False):
    """The graph with the normalization of each input folded; `None` if there is none to fold.

    Args:
        graph_def: of a frozen graph.
        image_names: names of its placeholders.
        pairs: for integers: whether the first convolutions read pixels in pairs if they can
            (`pairs`), and an addition of the mean stays if they pad.
    """
    graph = Nodes(graph_def)
    folded = [_fold(graph, name, pairs) for name in image_names]
    return graph.graph_def if any(folded) else None


def _fold(graph, name, pairs):
    """Folds the normalization after one placeholder; returns whether something changed."""
    start, factor, summand = _normalization(graph, name)
    sides = graph.sides(name)
    stems = _stems(graph, start.end, sides)
    if not stems:
        return False
    kernels = [graph.constant(stem.conv.input[1]) for stem in stems]
    channels = (sides or [None])[-1]
    if any(k.shape[2] != channels for k in kernels) or factor.size not in (1, channels):
        return False
    factor, summand = (np.broadcast_to(v, (channels,)) for v in (factor, summand))
    if not factor.all():
        return False
    if start.end != start.source:
        parts = graph, start, stems, kernels, factor, summand / factor, sides
        _into_stems(*parts, adds=pairs)
    paired = [pairs and in_pairs(graph, stem, sides) for stem in stems]
    return start.end != start.source or any(paired)


def _into_stems(graph, start, stems, kernels, factor, shift, sides, adds):
    """Replaces factor (x + shift): the factor by scaled kernels, and the shift by biases, with the
    mean as padding if it is one number; else (and with `adds`) by one addition."""
    bare = all(stem.pads is not None and not stem.pads.any() for stem in stems)
    one = np.ptp(shift) <= 1e-6 * np.abs(shift).max() and all(s.pads is not None for s in stems)
    inside = shift.any() and (bare or (one and not adds))
    source = start.source
    if shift.any() and not inside:
        source = graph.add_by_channel(source, f"{start.end}/mean", shift, sides)
    for stem, kernel in zip(stems, kernels):
        scaled = kernel.astype("float64") * factor[:, None]
        stem.conv.input[1] = graph.const(f"{stem.conv.name}/kernel", scaled)
        stem.first.input[0] = source
        if inside:
            graph.add_to_output(stem.conv, shift @ scaled.sum(axis=(0, 1)))
            if not bare:
                _pad_with(graph, stem, -shift.mean())


def _pad_with(graph, stem, mean):
    """Pads a stem's picture with the mean instead of zero."""
    source = stem.first.input[0]
    if stem.pads.any():
        name = f"{stem.conv.name}/padded"
        source = graph.add("PadV2", name, source, stem.pads)
        graph.nodes[name].input.append(graph.const(f"{name}/mean", mean))
    stem.conv.input[0] = source
    stem.conv.attr["padding"].s = b"VALID"
    del stem.conv.attr["explicit_paddings"].list.i[:]


@dataclass
class _Start:
    source: str  # the tensor that is normalized
    end: str  # the node whose output is normalized; the same one without normalization


def _normalization(graph, name):
    """The start and end of the normalization, its factor and its summand (scalars or one per
    channel)."""
    factor, summand, source, here = np.float64(1.0), np.float64(0.0), name, name
    found = False
    while len(graph.readers(here)) == 1:
        node = graph.readers(here)[0]
        constant = graph.operand(node, here)
        if node.op in _PASSING and not found and node.input[0].split(":")[0] == here:
            source = here = node.name
        elif constant is not None and _by_channel(constant):
            a, b = AFFINE[node.op](constant.astype("float64").reshape(-1))
            factor, summand, here, found = factor * a, summand * a + b, node.name, True
        elif node.op == "Identity":
            here = node.name
        else:
            break
    return _Start(source, here if found else source), factor, summand


@dataclass
class _Stem:
    """A convolution of the normalized picture, with the padding before it if there is one."""

    conv: object
    first: object  # the node that reads the picture: the padding or the convolution
    pads: object  # (4, 2), or None if it depends on an unknown size


def _stems(graph, name, sides):
    """The convolutions that read a node; an empty list if anything else reads it."""
    stems = []
    for node in graph.readers(name):
        if node.op in ("Pad", "PadV2"):
            value = graph.constant(node.input[2]) if node.op == "PadV2" else np.zeros(())
            pads = graph.constant(node.input[1])
            convs = graph.readers(node.name)
            if value is None or value.any() or pads is None or len(convs) != 1:
                return []
            if not graph.is_conv(convs[0], node.name) or convs[0].attr["padding"].s != b"VALID":
                return []
            stems.append(_Stem(convs[0], node, pads))
        elif graph.is_conv(node, name):
            stems.append(_Stem(node, node, graph.padding(node, sides)))
        else:
            return []
    return stems


def _by_channel(constant):
    """Whether a constant is one number, or one per channel."""
    return constant.size == (constant.shape[-1] if constant.ndim else 1)
