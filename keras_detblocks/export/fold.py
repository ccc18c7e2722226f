"""Takes the normalization of images out of a frozen graph: what it multiplies goes into the kernel
of the convolution behind it, what it adds into that convolution's bias.

Normalization maps pixels x to a x + b, channel by channel: written a (x - mean), its factor `a`
scales the kernel. With one mean for all channels the rest is a constant too: the convolution of a
constant picture, if its border is padded with the mean in place of zero, and nothing is left in the
graph. With a mean per channel one addition stays. Both are exact.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

_PASSING = ("Identity", "Cast")
_ADDING = ("Add", "AddV2", "BiasAdd")
# Operators x . c with a constant c, as (factor, summand) of x.
_AFFINE = {
    "Mul": lambda c: (c, 0.0),
    "RealDiv": lambda c: (1.0 / c, 0.0),
    "Sub": lambda c: (1.0, -c),
    **dict.fromkeys(_ADDING, lambda c: (1.0, c)),
}
_NOT_CONSTANT = ("Placeholder", "PartitionedCall", "StatefulPartitionedCall", "While", "If")
_COMMUTES = ("Mul", *_ADDING)


def without_normalization(graph_def, image_names):
    """The graph with the normalization of each input folded, or `None` where there is none to fold.

    Args:
        graph_def: of a frozen graph.
        image_names: of its placeholders.
    """
    graph = _Graph(graph_def)
    folded = [_fold(graph, name) for name in image_names]
    return graph.graph_def if any(folded) else None


def _fold(graph, name):
    """Folds what follows one placeholder; returns whether there was something."""
    start, factor, summand = _normalization(graph, name)
    if start is None:
        return False
    stems = _stems(graph, start.end)
    if not stems:
        return False
    kernels = [graph.constant(stem.conv.input[1]) for stem in stems]
    channels = (graph.sides(name) or [None])[-1]
    if any(k.shape[2] != channels for k in kernels) or factor.size not in (1, channels):
        return False
    factor, summand = (np.broadcast_to(v, (channels,)) for v in (factor, summand))
    if not factor.all():
        return False
    shift = summand / factor
    alone = np.ptp(shift) <= 1e-6 * np.abs(shift).max() and all(stem.can_pad for stem in stems)
    source = start.source
    if shift.any() and not alone:
        source = graph.add_by_channel(source, f"{start.end}/mean", shift, graph.sides(name))
    for stem, kernel in zip(stems, kernels):
        scaled = kernel.astype("float64") * factor[:, None]
        stem.conv.input[1] = graph.const(f"{stem.conv.name}/kernel", scaled)
        stem.first.input[0] = source
        if alone and shift.any():
            _shift(graph, stem, -shift.mean(), scaled)
    return True


@dataclass
class _Start:
    source: str  # the tensor that is normalized
    end: str  # the node whose output is normalized


def _normalization(graph, name):
    """Where normalization starts and ends, its factor and its summand (scalars or one per
    channel); `None` where nothing is normalized."""
    factor, summand, source, here = np.float64(1.0), np.float64(0.0), name, name
    found = False
    while len(graph.readers(here)) == 1:
        node = graph.readers(here)[0]
        constant = graph.operand(node, here)
        if node.op in _PASSING and not found and node.input[0].split(":")[0] == here:
            source = here = node.name
        elif constant is not None and _by_channel(constant):
            a, b = _AFFINE[node.op](constant.astype("float64").reshape(-1))
            factor, summand, here, found = factor * a, summand * a + b, node.name, True
        elif node.op == "Identity":
            here = node.name
        else:
            break
    return (_Start(source, here) if found else None), factor, summand


@dataclass
class _Stem:
    """A convolution of the normalized picture, and the padding before it if there is one."""

    conv: object
    first: object  # the node that reads the picture: the padding or the convolution
    pads: object  # (4, 2) or None where it depends on an unknown size

    @property
    def can_pad(self):
        return self.pads is not None


def _stems(graph, name):
    """The convolutions that read a node, or none if something else reads it."""
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
            stems.append(_Stem(node, node, graph.padding(node)))
        else:
            return []
    return stems


def _shift(graph, stem, mean, kernel):
    """Pads with the mean in place of zero and takes the mean's convolution off the outputs."""
    if stem.pads.any():
        padded = f"{stem.conv.name}/padded"
        pads = graph.const(f"{padded}/paddings", stem.pads, "int32")
        value = graph.const(f"{padded}/mean", mean)
        node = graph.graph_def.node.add(name=padded, op="PadV2")
        node.input.extend([stem.first.input[0], pads, value])
        node.attr["T"].type = tf.float32.as_datatype_enum
        node.attr["Tpaddings"].type = tf.int32.as_datatype_enum
        stem.conv.input[0] = padded
    else:
        stem.conv.input[0] = stem.first.input[0]
    stem.conv.attr["padding"].s = b"VALID"
    del stem.conv.attr["explicit_paddings"].list.i[:]
    graph.add_to_output(stem.conv, -mean * kernel.sum(axis=(0, 1, 2)))


class _Graph:
    """A `GraphDef` with who reads whom, and the values of what is constant."""

    def __init__(self, graph_def):
        self.graph_def = tf.compat.v1.GraphDef.FromString(graph_def.SerializeToString())
        self.nodes = {node.name: node for node in self.graph_def.node}
        self._readers = {}
        for node in self.graph_def.node:
            for each in dict.fromkeys(_name(i) for i in node.input):
                self._readers.setdefault(each, []).append(node)

    def readers(self, name):
        return self._readers.get(name, [])

    def sides(self, name):
        """Batch, height, width and channels of a placeholder, -1 where they are open."""
        return [side.size for side in self.nodes[name].attr["shape"].shape.dim]

    def operand(self, node, name):
        """The constant that an affine `node` joins with the tensor `name`, or `None`."""
        inputs = [each for each in node.input if not each.startswith("^")]
        if node.op not in _AFFINE or _name(inputs[1]) == _name(inputs[0]):
            return None
        if _name(inputs[0]) == name:
            return self.constant(inputs[1])
        return self.constant(inputs[0]) if node.op in _COMMUTES else None

    def constant(self, tensor):
        """The value of a tensor that no input decides, else `None`."""
        part, ahead = tf.compat.v1.GraphDef(), [_name(tensor)]
        for name in ahead:
            if self.nodes[name].op in _NOT_CONSTANT:
                return None
            part.node.append(self.nodes[name])
            ahead += [n for n in map(_name, self.nodes[name].input) if n not in ahead]
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            (value,) = tf.graph_util.import_graph_def(part, return_elements=[_output(tensor)])
            return session.run(value)

    def is_conv(self, node, name):
        """Whether it is a dense convolution of the tensor `name` with a constant kernel."""
        if node.op != "Conv2D" or _name(node.input[0]) != name:
            return False
        return (
            node.attr["data_format"].s in (b"", b"NHWC")
            and self.constant(node.input[1]) is not None
        )

    def padding(self, conv):
        """What a convolution pads, (4, 2); `None` where that depends on the picture's size."""
        pads, name = np.zeros((4, 2), int), conv.attr["padding"].s
        if name == b"EXPLICIT":
            return np.reshape(list(conv.attr["explicit_paddings"].list.i), (4, 2))
        if name == b"VALID":
            return pads
        kernel = self.constant(conv.input[1]).shape
        for axis in (1, 2):
            reach = list(conv.attr["dilations"].list.i or [1] * 4)[axis] * (kernel[axis - 1] - 1)
            if list(conv.attr["strides"].list.i)[axis] > 1 and reach:
                return None
            pads[axis] = reach // 2, reach - reach // 2
        return pads

    def const(self, name, value, dtype="float32"):
        """Adds a constant; returns its name."""
        node = self.graph_def.node.add(name=name, op="Const")
        value = np.asarray(value, dtype)
        node.attr["dtype"].type = tf.as_dtype(dtype).as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        self.nodes[name] = node
        return name

    def add(self, op, name, tensor, value):
        """Adds a node of a tensor and a constant; returns its name."""
        node = self.graph_def.node.add(name=name, op=op)
        kind = "int32" if op == "Reshape" else "float32"
        node.input.extend([tensor, self.const(f"{name}/value", value, kind)])
        node.attr["T"].type = tf.float32.as_datatype_enum
        return name

    def add_by_channel(self, tensor, name, values, sides):
        """Adds a number per channel. Where the sides are known, to whole rows of the picture: a
        vector of three at a time is what processors do worst."""
        batch, height, width, channels = sides
        if -1 in (height, width):
            return self.add("AddV2", name, tensor, values)
        rows = self.add("Reshape", f"{name}/rows", tensor, [batch, height, width * channels])
        rows = self.add("AddV2", name, rows, np.tile(values, width))
        return self.add("Reshape", f"{name}/picture", rows, [batch, height, width, channels])

    def add_to_output(self, node, values):
        """Adds one number per channel to what a node returns: to a constant that is added behind it
        anyway where there is one, so that the convolution stays what optimizers know."""
        name, factor = node.name, 1.0
        while len(self.readers(name)) == 1:
            reader = self.readers(name)[0]
            constant = self.operand(reader, name)
            if reader.op == "Mul" and constant is not None:
                factor, name = factor * constant, reader.name
                continue
            if reader.op in _ADDING and constant is not None:
                place = 1 if _name(reader.input[0]) == name else 0
                total = np.reshape(constant + factor * values, (-1,))
                reader.input[place] = self.const(f"{reader.name}/shifted", total)
                return
            break
        biased = self.add("BiasAdd", f"{node.name}/shifted", node.name, values)
        for reader in self.readers(node.name):
            for i, tensor in enumerate(reader.input):
                if _name(tensor) == node.name:
                    reader.input[i] = biased


def _by_channel(constant):
    """Whether it is one number, or one per channel."""
    return constant.size == (constant.shape[-1] if constant.ndim else 1)


def _name(tensor):
    return tensor.removeprefix("^").split(":")[0]


def _output(tensor):
    return tensor if ":" in tensor else f"{tensor}:0"
