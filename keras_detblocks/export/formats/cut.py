"""Cuts a TFLite file into parts that run by themselves: network, decoding and suppression, or
single operators."""

import copy

from .flatbuffer import operator_name, parse, schema, serialize

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
PARTS = ("network", "decoding", "suppression")


def cut(content, picked):
    """Returns the bytes of a file with some operators, picked by index; its inputs are the tensors
    that they read but do not make, its outputs those that they make but do not read. Both have the
    tensors' names."""
    model = parse(content)
    graph = model.subgraphs[0]
    chosen = [graph.operators[i] for i in picked]
    # Operators that cast weights in half precision come along.
    casts = [i for i, op in enumerate(graph.operators) if _is_cast_of_a_constant(model, op)]
    needed, weights = {*_tensors(chosen, "inputs")}, set()
    for i in casts:
        made = {int(t) for t in graph.operators[i].outputs}
        weights |= made
        picked = {*picked, i} if made & needed else picked
    chosen = [graph.operators[i] for i in sorted(picked)]
    made = _tensors(chosen, "outputs")
    read = _tensors(chosen, "inputs")
    inputs = [t for t in read if t not in made and not _is_constant(model, graph.tensors[t])]
    # A tensor that others read is an output too, even if the part reads it itself.
    others = [op for i, op in enumerate(graph.operators) if i not in set(picked)]
    wanted = {*_tensors(others, "inputs"), *map(int, graph.outputs)}
    made = [t for t in made if t not in weights]
    outputs = [t for t in made if t in wanted] or [t for t in made if t not in read]
    return serialize(_model_of(model, chosen, inputs, outputs))


def _model_of(model, chosen, inputs, outputs):
    graph, tables = model.subgraphs[0], schema()
    kept = sorted({*_tensors(chosen, "inputs"), *_tensors(chosen, "outputs")})
    place = {tensor: i for i, tensor in enumerate(kept)}
    part, buffers = tables.SubGraphT(), [tables.BufferT()]
    part.tensors, part.operators = [], []
    for index in kept:
        tensor = copy.copy(graph.tensors[index])
        if _is_constant(model, tensor):
            buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = len(buffers) - 1
        else:
            tensor.buffer = 0
        part.tensors.append(tensor)
    for operator in map(copy.copy, chosen):
        operator.inputs = [place.get(int(i), -1) for i in operator.inputs]
        operator.outputs = [place[int(i)] for i in operator.outputs]
        part.operators.append(operator)
    part.inputs, part.outputs = ([place[i] for i in each] for each in (inputs, outputs))
    whole = tables.ModelT()
    whole.version, whole.operatorCodes = 3, model.operatorCodes
    whole.subgraphs, whole.buffers = [part], buffers
    return whole


def parts_of(content):
    """The indices of a detector's operators: `{"network": [...], "decoding": [...], "suppression":
    [...]}`.

    The network ends with the last convolution and the operators that turn its results into floats;
    suppression begins with the choice of candidates.
    """
    model = parse(content)
    graph = model.subgraphs[0]
    names = [operator_name(model, op) for op in graph.operators]
    weighted = [i for i, name in enumerate(names) if name in _WEIGHTED]
    network = _closure(graph, weighted, back=True)
    ends = [i for i, op in enumerate(graph.operators) if names[i] == "DEQUANTIZE"]
    network |= {i for i in ends if _makers(graph, i) & network}
    chosen = [i for i, name in enumerate(names) if name == "TOPK_V2"]
    suppression = _closure(graph, chosen, back=False) - network
    rest = set(range(len(names))) - network - suppression
    return dict(zip(PARTS, (sorted(network), sorted(rest), sorted(suppression))))


def describe(content):
    """Lists `(operator, shape of its output, name of its output)` for each operator."""
    model = parse(content)
    graph, rows = model.subgraphs[0], []
    for op in graph.operators:
        out = graph.tensors[int(op.outputs[0])]
        shape = () if out.shape is None else tuple(map(int, out.shape))
        rows.append((operator_name(model, op), shape, out.name.decode()))
    return rows


def kernels(content):
    """The height, width and depth of each operator's kernel; `()` if it has none."""
    model = parse(content)
    graph, found = model.subgraphs[0], []
    for op in graph.operators:
        weighted = operator_name(model, op) in _WEIGHTED
        shape = graph.tensors[int(op.inputs[1])].shape if weighted else None
        found.append(() if shape is None else tuple(map(int, shape[1:])))
    return found


def _closure(graph, start, back):
    """The operators that lead to some (`back`), or that follow from them."""
    step = _makers if back else _readers
    found, ahead = set(start), list(start)
    for i in ahead:
        new = step(graph, i) - found
        found |= new
        ahead += new
    return found


def _makers(graph, i):
    read = {int(t) for t in graph.operators[i].inputs}
    return {j for j, op in enumerate(graph.operators) if read & {int(t) for t in op.outputs}}


def _readers(graph, i):
    made = {int(t) for t in graph.operators[i].outputs}
    return {j for j, op in enumerate(graph.operators) if made & {int(t) for t in op.inputs}}


def _tensors(operators, side):
    return list(dict.fromkeys(int(t) for op in operators for t in getattr(op, side) if int(t) >= 0))


def _is_cast_of_a_constant(model, op):
    tensors = model.subgraphs[0].tensors
    return operator_name(model, op) == "DEQUANTIZE" and _is_constant(model, tensors[op.inputs[0]])


def _is_constant(model, tensor):
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0
