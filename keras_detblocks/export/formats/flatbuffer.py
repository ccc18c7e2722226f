"""Reads and edits TFLite flatbuffers: operators, tensors that would crash XNNPACK, an int8 body
joined to a float tail."""

import collections
import functools

import numpy as np

# XNNPACK refuses, or corrupts memory on, an int8 convolution whose requantization factor reaches
# 256.
_LARGEST_FACTOR = 256.0
_SAFE_FACTOR = 128.0
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Operators whose output's scale is not tied to that of the tensor that they read.
_FREE_READERS = (
    *_WEIGHTED,
    "MUL",
    "ADD",
    "SUB",
    "LOGISTIC",
    "TANH",
    "DEQUANTIZE",
    "QUANTIZE",
    "MEAN",
    "HARD_SWISH",
    "LEAKY_RELU",
)


def parse(content):
    """The flatbuffer as a tree of objects (`ModelT`)."""
    tables = schema()
    return tables.ModelT.InitFromObj(tables.Model.GetRootAs(bytearray(content), 0))


def serialize(model):
    """The bytes of a `ModelT`."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def schema():
    """The module of TFLite's flatbuffer classes."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


@functools.cache
def _operator_names():
    operators = schema().BuiltinOperator
    return {value: name for name, value in vars(operators).items() if isinstance(value, int)}


def operator_name(model, operator):
    """The name of an operator, such as `"CONV_2D"`; a custom operator's own name."""
    code = model.operatorCodes[operator.opcodeIndex]
    return _name(code.builtinCode, code.deprecatedBuiltinCode, code.customCode)


def _name(builtin, deprecated, custom):
    return custom.decode() if custom else _operator_names()[max(builtin, deprecated)]


def operators(content):
    """How often each operator occurs, most frequent first."""
    model = schema().Model.GetRootAs(content, 0)  # unpacking would turn all of it into objects
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    names = [
        _name(code.BuiltinCode(), code.DeprecatedBuiltinCode(), code.CustomCode()) for code in codes
    ]
    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    counts = collections.Counter(
        names[graph.Operators(i).OpcodeIndex()]
        for graph in graphs
        for i in range(graph.OperatorsLength())
    )
    return dict(counts.most_common())


def custom_operators(content):
    """Names of the operators that are not builtin."""
    model = schema().Model.GetRootAs(content, 0)
    customs = [model.OperatorCodes(i).CustomCode() for i in range(model.OperatorCodesLength())]
    return sorted({custom.decode() for custom in customs if custom})


def join(body, tail):
    """Joins two files: the outputs of `body` become the inputs of `tail`, by name; quantization
    stays as it is in each.

    Both have one subgraph and one signature. The inputs are the body's, the outputs the tail's.
    """
    first, second = parse(body), parse(tail)
    graph, rest = first.subgraphs[0], second.subgraphs[0]
    ends = {tensor.name: tensor.tensorIndex for tensor in first.signatureDefs[0].outputs}
    place = {tensor.tensorIndex: ends[tensor.name] for tensor in second.signatureDefs[0].inputs}
    for index, tensor in enumerate(rest.tensors):
        if index not in place:
            place[index] = len(graph.tensors)
            tensor.buffer += len(first.buffers)
            graph.tensors.append(tensor)
    for operator in rest.operators:
        operator.opcodeIndex += len(first.operatorCodes)
        operator.inputs = [place.get(int(i), -1) for i in operator.inputs]
        operator.outputs = [place[int(i)] for i in operator.outputs]
    for tensor in second.signatureDefs[0].outputs:
        tensor.tensorIndex = place[tensor.tensorIndex]
    graph.operators += rest.operators
    graph.outputs = [place[int(i)] for i in rest.outputs]
    first.buffers += second.buffers
    first.operatorCodes += second.operatorCodes
    first.signatureDefs[0].outputs = second.signatureDefs[0].outputs
    return serialize(first)


def with_late_casts(content):
    """Casts each constant in half precision right before its first reader, and keeps single numbers
    in single precision. Values stay the same.

    The converter writes all casts first. If the next operator is one that the CPU delegate leaves
    out (the padding of the picture), they would form a separate partition.
    """
    model = parse(content)
    for graph in model.subgraphs:
        ordered, casts = [], {}
        for op in graph.operators:
            is_cast = operator_name(model, op) == "DEQUANTIZE"
            half = model.buffers[graph.tensors[op.inputs[0]].buffer].data if is_cast else None
            if half is None:
                ordered += [casts.pop(i) for i in map(int, op.inputs) if i in casts]
                ordered.append(op)
            elif len(half) == 2:
                graph.tensors[op.outputs[0]].buffer = _single(model, half)
            else:
                casts[int(op.outputs[0])] = op
        graph.operators = ordered + list(casts.values())
    return serialize(model)


def _single(model, half):
    """A new buffer with the number from one in half precision."""
    value = np.frombuffer(bytes(half), "float16").astype("float32")
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(value.tobytes(), "uint8")
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def mend_dead_tensors(content):
    """Widens the ranges of int8 tensors that were (almost) constant over the calibration data.

    A unit whose output is zero over the whole calibration set gets a range of nearly nothing, so
    the factor from the sums of its convolution to its steps exceeds 256, and XNNPACK fails or
    corrupts memory as soon as the file is opened. The steps of such a tensor are made coarse
    enough; the values, all smaller than one step of the input, stay.

    Returns:
        `(content, names of the tensors)`.
    """
    model = parse(content)
    mended = [
        graph.tensors[op.outputs[0]].name.decode()
        for graph in model.subgraphs
        for op in graph.operators
        if operator_name(model, op) in _WEIGHTED and _mend(model, graph, op)
    ]
    return (serialize(model), mended) if mended else (content, [])


def _mend(model, graph, operator):
    """Repairs the output of one convolution if necessary; returns whether it did."""
    entry, weights = (graph.tensors[i].quantization for i in operator.inputs[:2])
    index = operator.outputs[0]
    out = graph.tensors[index].quantization
    if any(q is None or q.scale is None for q in (entry, weights, out)):
        return False
    smallest = float(entry.scale[0]) * float(np.max(weights.scale)) / _SAFE_FACTOR
    if smallest * _SAFE_FACTOR / float(out.scale[0]) < _LARGEST_FACTOR:
        return False
    readers = [op for op in graph.operators if index in op.inputs]
    tied = [
        operator_name(model, op) for op in readers if operator_name(model, op) not in _FREE_READERS
    ]
    if tied or index in graph.outputs:
        from ..check.outputs import ExportError

        raise ExportError(
            f"{graph.tensors[index].name.decode()!r} is constant over the calibration data and "
            f"cannot be widened, because {tied or 'the file'} reads it as it is. Use more "
            "representative data, or train the model further."
        )
    factor = smallest / float(out.scale[0])
    out.scale = np.asarray([smallest], "float32")
    for reader in readers:
        if (
            operator_name(model, reader) in _WEIGHTED
            and index == reader.inputs[0]
            and len(reader.inputs) > 2
        ):
            _rescale_bias(model, graph.tensors[reader.inputs[2]], factor)
    return True


def _rescale_bias(model, tensor, factor):
    """Rescales a bias, which is stored in steps of (input scale x weight scale), which grew by
    `factor`."""
    if tensor.quantization is None or tensor.buffer == 0:
        return
    buffer = model.buffers[tensor.buffer]
    values = np.frombuffer(bytes(buffer.data), "int32").astype("float64") / factor
    buffer.data = np.frombuffer(np.rint(values).astype("int32").tobytes(), "uint8")
    tensor.quantization.scale = np.asarray(tensor.quantization.scale, "float32") * np.float32(
        factor
    )
