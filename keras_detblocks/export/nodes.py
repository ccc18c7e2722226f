"""Makes a frozen TensorFlow graph readable and editable: readers of each node, constants,
convolutions and their padding."""

import numpy as np
import tensorflow as tf

_ADDING = ("Add", "AddV2", "BiasAdd")
# Operators x . c with a constant c, as (factor, summand) of x.
AFFINE = {
    "Mul": lambda c: (c, 0.0),
    "RealDiv": lambda c: (1.0 / c, 0.0),
    "Sub": lambda c: (1.0, -c),
    **dict.fromkeys(_ADDING, lambda c: (1.0, c)),
}
_NOT_CONSTANT = ("Placeholder", "PartitionedCall", "StatefulPartitionedCall", "While", "If")
_COMMUTES = ("Mul", *_ADDING)


class Nodes:
    """A `GraphDef` with the readers of each node, and the values of constants."""

    def __init__(self, graph_def):
        self.graph_def = tf.compat.v1.GraphDef.FromString(graph_def.SerializeToString())
        self.nodes = {node.name: node for node in self.graph_def.node}
        self._readers = {}
        for node in self.graph_def.node:
            for each in dict.fromkeys(name_of(i) for i in node.input):
                self._readers.setdefault(each, []).append(node)

    def readers(self, name):
        return self._readers.get(name, [])

    def sides(self, name):
        """Batch, height, width and channels of a placeholder; open ones are -1."""
        return [side.size for side in self.nodes[name].attr["shape"].shape.dim]

    def operand(self, node, name):
        """The constant that an affine `node` joins with the tensor `name`, or `None`."""
        inputs = [each for each in node.input if not each.startswith("^")]
        if node.op not in AFFINE or name_of(inputs[1]) == name_of(inputs[0]):
            return None
        if name_of(inputs[0]) == name:
            return self.constant(inputs[1])
        return self.constant(inputs[0]) if node.op in _COMMUTES else None

    def constant(self, tensor):
        """The value of a tensor that depends on no input; else `None`."""
        part, ahead = tf.compat.v1.GraphDef(), [name_of(tensor)]
        for name in ahead:
            if self.nodes[name].op in _NOT_CONSTANT:
                return None
            part.node.append(self.nodes[name])
            ahead += [n for n in map(name_of, self.nodes[name].input) if n not in ahead]
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            (value,) = tf.graph_util.import_graph_def(part, return_elements=[_output(tensor)])
            return session.run(value)

    def is_conv(self, node, name):
        """Whether it is a dense convolution of the tensor `name` with a constant kernel."""
        if node.op != "Conv2D" or name_of(node.input[0]) != name:
            return False
        return (
            node.attr["data_format"].s in (b"", b"NHWC")
            and self.constant(node.input[1]) is not None
        )

    def padding(self, conv, sides):
        """The padding, (4, 2), of a convolution of a picture with these sides; `None` if it depends
        on an open side."""
        pads, mode = np.zeros((4, 2), int), conv.attr["padding"].s
        if mode == b"EXPLICIT":
            return np.reshape(list(conv.attr["explicit_paddings"].list.i), (4, 2))
        if mode == b"VALID":
            return pads
        kernel = self.constant(conv.input[1]).shape
        for axis in (1, 2):
            reach = list(conv.attr["dilations"].list.i or [1] * 4)[axis] * (kernel[axis - 1] - 1)
            step = list(conv.attr["strides"].list.i)[axis]
            if sides[axis] == -1 and step > 1 and reach:
                return None
            last = 0 if step == 1 else (-(-sides[axis] // step) - 1) * step + 1 - sides[axis]
            total = max(reach + last, 0)
            pads[axis] = total // 2, total - total // 2
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
        kind = "float32" if op == "AddV2" else "int32"
        node.input.extend([tensor, self.const(f"{name}/value", value, kind)])
        node.attr["T"].type = tf.float32.as_datatype_enum
        self.nodes[name] = node
        return name

    def add_by_channel(self, tensor, name, values, sides):
        """Adds a number per channel; if the numbers differ and the sides are known, to whole rows
        of the picture, since processors handle vectors of three badly."""
        batch, height, width, channels = sides
        if np.ptp(values) <= 1e-6 * np.abs(values).max():
            return self.add("AddV2", name, tensor, values.mean())
        if -1 in (height, width):
            return self.add("AddV2", name, tensor, values)
        rows = self.add("Reshape", f"{name}/rows", tensor, [batch, height, width * channels])
        rows = self.add("AddV2", name, rows, np.tile(values, width))
        return self.add("Reshape", f"{name}/picture", rows, [batch, height, width, channels])

    def add_to_output(self, node, values):
        """Adds one number per channel to a node's output: to a constant that is added after it
        anyway if there is one, so that optimizers recognize the convolution."""
        name, factor = node.name, 1.0
        while len(self.readers(name)) == 1:
            reader = self.readers(name)[0]
            constant = self.operand(reader, name)
            if reader.op == "Mul" and constant is not None:
                factor, name = factor * constant, reader.name
                continue
            if reader.op in _ADDING and constant is not None:
                place = 1 if name_of(reader.input[0]) == name else 0
                total = np.reshape(constant + factor * values, (-1,))
                reader.input[place] = self.const(f"{reader.name}/shifted", total)
                return
            break
        biased = self.add("BiasAdd", f"{node.name}/shifted", node.name, values)
        for reader in self.readers(node.name):
            for i, tensor in enumerate(reader.input):
                if name_of(tensor) == node.name:
                    reader.input[i] = biased


def name_of(tensor):
    return tensor.removeprefix("^").split(":")[0]


def _output(tensor):
    return tensor if ":" in tensor else f"{tensor}:0"
