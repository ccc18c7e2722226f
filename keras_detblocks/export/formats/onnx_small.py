"""Smaller ONNX files: weights in half precision, or convolutions in eight bits."""

import collections

import numpy as np

# Operators that onnxruntime's tool may put into eight bits between the first and the last
# convolution.
_QUANTIZED = (
    *("Conv", "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "MaxPool"),
    *("GlobalAveragePool", "ReduceMean", "Resize", "Concat", "DepthToSpace", "Transpose"),
)
_LEAST = 64  # least size of a tensor that is worth a cast


def halve(path):
    """Stores the weights of an ONNX file in float16. The file computes in float32: runtimes cast
    the weights once, when they open it."""
    import onnx

    proto = onnx.load(str(path))
    kept = [*proto.graph.initializer]
    del proto.graph.initializer[:]
    casts = []
    for tensor in kept:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= _LEAST:
            limit = np.finfo("float16").max
            half = np.clip(values, -limit, limit).astype("float16")
            name = f"{tensor.name}_half"
            casts.append(
                onnx.helper.make_node(
                    "Cast", [name], [tensor.name], f"{name}_cast", to=onnx.TensorProto.FLOAT
                )
            )
            tensor = onnx.numpy_helper.from_array(half, name)
        proto.graph.initializer.append(tensor)
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.save(proto, str(path))


def quantize(path, samples):
    """Puts the network of an ONNX file into eight bits (QDQ), with ranges from samples; everything
    after the last convolution stays in float. Returns how often each operator occurs.

    Args:
        path: of the file, which is replaced.
        samples: list of dicts of single inputs.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(samples)

        def get_next(self):
            return next(self.left, None)

    proto = onnx.load(str(path))
    beside = path.with_name(f"float_{path.name}")
    path.rename(beside)
    quantization.quantize_static(
        str(beside),
        str(path),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=list(_QUANTIZED),
        nodes_to_exclude=_behind_the_network(proto.graph),
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    beside.unlink()
    return dict(collections.Counter(node.op_type for node in onnx.load(str(path)).graph.node))


def _behind_the_network(graph):
    """The names of the nodes after the last convolutions: boxes and scores would lose too much in
    eight bits."""
    makers = {name: node for node in graph.node for name in node.output}
    ahead = [node for node in graph.node if node.op_type == "Conv"]
    within = {node.name for node in ahead}
    for node in ahead:
        for maker in (makers[name] for name in node.input if name in makers):
            if maker.name not in within:
                within.add(maker.name)
                ahead.append(maker)
    return [node.name for node in graph.node if node.name not in within]
