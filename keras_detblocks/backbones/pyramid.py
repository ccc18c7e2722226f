"""`feature_pyramid`: any functional image model as a backbone with a dict of levels."""

import keras
import numpy as np

from ..checks import check_levels, level_name, level_number

# Layers that move pixels at random in training, but not the boxes of a picture.
MOVING = (
    keras.layers.AugMix,
    keras.layers.CutMix,
    keras.layers.MixUp,
    keras.layers.RandAugment,
    keras.layers.RandomCrop,
    keras.layers.RandomElasticTransform,
    keras.layers.RandomFlip,
    keras.layers.RandomPerspective,
    keras.layers.RandomRotation,
    keras.layers.RandomShear,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
)


def feature_pyramid(model, levels=(3, 4, 5), preprocess=None, name=None):
    """Returns a model from an image to `{"P3": ..., ...}` that shares the layers and weights of a
    functional image model.

    The output of level l is the last map of stride 2 ** l that everything deeper passes through:
    the output of a residual stage, or in nets of inverted bottlenecks the expansion before the next
    stride (as MobileNetV2's detector takes it, https://arxiv.org/abs/1801.04381). Strides come from
    the shapes of the graph itself, at the model's own size and at a larger one (a pooled vector
    kept as a 1x1 map does not grow), so it works on models of `keras.applications`, on one just
    loaded from a file and on a clone. If a model names its own maps by level in a dict
    `pyramid_outputs`, as the backbones of KerasHub do, these are used.

    Levels that the graph lacks are looked for in nested models, as in a classifier made of a
    rescaling, a pretrained model and a head. Layers in front of a nested model stay in front of it.

    Args:
        model: functional `keras.Model` or built `keras.Sequential` with one image input,
            channels-last.
        levels: distinct levels, in the order of the result; or a single one.
        preprocess: `None`, or a mapping from images (RGB, 0 to 255) to the inputs that the model
            expects: a Keras layer, or a function of Keras operations such as
            `keras.applications.resnet.preprocess_input`.
        name: of the new model; the old name with `_pyramid` by default.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: if the model is not functional, has another number of inputs, lacks a level, or
            moves pixels at random before one (`keras.layers.RandomFlip`): boxes would not move
            along.

    >>> size = (96, 64, 3)
    >>> net = keras.applications.MobileNetV3Small(
    ...     weights=None, include_top=False, input_shape=size
    ... )
    >>> {k: tuple(v.shape) for k, v in feature_pyramid(net, (4, 3)).output.items()}
    {'P4': (None, 6, 4, 288), 'P3': (None, 12, 8, 96)}
    >>> top = [keras.layers.Flatten(), keras.layers.Dense(10)]
    >>> classifier = keras.Sequential([keras.layers.Rescaling(1 / 255), net, *top])
    >>> classifier.build((None, 96, 64, 3))
    >>> {k: tuple(v.shape) for k, v in feature_pyramid(classifier).output.items()}
    {'P3': (None, 12, 8, 96), 'P4': (None, 6, 4, 288), 'P5': (None, 3, 2, 576)}
    """
    graph = functional_form(model)
    image = _image_input(model, graph)
    levels = check_levels(levels, ascending=False, single=True)
    if preprocess is not None and not callable(preprocess):
        raise ValueError(
            f"`preprocess` must be a layer, a function or None. Received: preprocess={preprocess!r}"
        )
    found = _levels(graph)
    if not set(levels) <= set(found):
        raise ValueError(
            f"{model.name!r} has the levels {tuple(sorted(found))} (level l has stride 2 ** "
            f"l).{_advice(graph, levels)} Received: levels={levels}"
        )
    ends = _ends(graph, [found[level] for level in levels])
    outputs = {level_name(level): end for level, end in zip(levels, ends)}
    pyramid = keras.Model(
        image,
        outputs,
        name=f"{model.name}_levels" if preprocess is not None else name or f"{model.name}_pyramid",
    )
    _check_nothing_moves(pyramid, graph, levels)
    if preprocess is None:
        return pyramid
    raw = keras.Input(shape=image.shape[1:], name="image")
    return keras.Model(raw, pyramid(preprocess(raw)), name=name or f"{model.name}_pyramid")


def functional_form(model):
    """The model itself if it has a graph; for a built `keras.Sequential`, a functional model over
    its layers; else None."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        return None
    if isinstance(model, keras.Sequential):
        # Not a list, since calls would have to pass a list too.
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model if hasattr(model, "operations") else None


def _image_input(model, graph):
    if graph is None and isinstance(model, keras.Sequential):
        raise ValueError(
            f"{model.name!r} is not built. Begin it with `keras.Input((height, width, 3))`, or "
            f"call `build`."
        )
    if graph is None:
        raise ValueError(
            "`model` must be a functional keras.Model (built from `keras.Input`). A subclassed "
            f"model has no graph to find strides in. Received: {type(model).__name__}"
        )
    if not _takes_an_image(graph):
        raise ValueError(
            f"`model` must have one image input (B, H, W, C). Received: "
            f"{[tuple(t.shape) for t in graph.inputs]}"
        )
    return graph.inputs[0]


def _takes_an_image(graph):
    return len(graph.inputs) == 1 and len(graph.inputs[0].shape) == 4


def _nested(operation):
    """The graph of a nested model that takes one map, or None."""
    graph = functional_form(operation)
    return graph if graph is not None and _takes_an_image(graph) else None


def _advice(graph, levels):
    """Says which nested model has the levels, if one has them by itself (for example after a
    `keras.layers.Resizing`)."""
    path = _path_to(graph, levels)
    return (
        f" A nested model has these levels by itself: pass `model{path}`, with a `preprocess`."
        if path
        else ""
    )


def _path_to(graph, levels):
    for layer in graph.layers:
        nested = _nested(layer)
        if nested is not None:
            deeper = "" if set(levels) <= set(_levels(nested)) else _path_to(nested, levels)
            if deeper is not None:
                return f".get_layer({layer.name!r}){deeper}"
    return None


def _check_nothing_moves(pyramid, graph, levels):
    moving = next((layer for layer in _layers(pyramid) if isinstance(layer, MOVING)), None)
    if moving is not None:
        raise ValueError(
            f"{moving.name!r} moves pixels at random in training, and boxes would not move along. "
            f"Build the model without it.{_advice(graph, levels)} Received: a model with "
            f"{type(moving).__name__}"
        )


def _layers(model):
    for layer in model.layers:
        yield layer
        yield from _layers(layer) if isinstance(layer, keras.Model) else ()


def _levels(graph):
    """Returns {level: route}. A route consists of the nodes of the nested models to go through,
    then the tensor of the map in the last one."""
    image = graph.inputs[0]
    # Unequal sides, so that a map resized to a square has no level.
    height, width = (
        image.shape[1] or 512,
        image.shape[2] or 640,
    )
    # The larger size tells levels apart that share a small map, and 1x1 maps from pooled vectors.
    # 512 is a multiple of every stride, so that paddings made for the model's own size fit.
    sizes = [(height + more, width + more) for more in (0, 512)]
    images = [
        keras.KerasTensor((image.shape[0] or 1, *size, image.shape[-1]), dtype=image.dtype)
        for size in sizes
    ]
    return {level: route for level, (_, route) in _maps(graph, images, sizes).items()}


def _maps(graph, entries, sizes):
    """Returns {level: (certain, route)}: per level the last map on every path to the deepest
    output, else the last one.

    The model's own maps take precedence over those of nested models. `entries` are the inputs of
    the model for images of `sizes`.
    """
    specs = [_specs(graph, entry) for entry in entries]
    nodes, through = _computation(graph)
    inner, own = {}, {}
    for node in nodes:
        nested = _nested(node.operation)
        if nested is not None:
            source = node.input_tensors[0]
            enter = [specs[0].get(id(source), source), specs[1].get(id(source))]
            passed = any(through[id(tensor)] for tensor in node.outputs)
            for level, (certain, route) in _maps(nested, enter, sizes).items():
                _keep(inner, level, certain and passed, (node, *route))
        for tensor in node.outputs:
            level = _level(sizes, specs[0].get(id(tensor), tensor), specs[1].get(id(tensor)))
            _keep(own, level, through[id(tensor)], (tensor,))
    named = _named(graph) if _level(sizes, *entries) == 0 else {}
    return {**inner, **own, **named}


def _keep(maps, level, certain, route):
    if level is not None and (certain or level not in maps or not maps[level][0]):
        maps[level] = (certain, route)


def _named(graph):
    """The maps of `pyramid_outputs`, which cloning drops: only the choice between maps of a level
    depends on it."""
    named = getattr(graph, "pyramid_outputs", None) or {}
    levels = {level_number(key.upper()): tensor for key, tensor in named.items()}
    return {level: (True, (tensor,)) for level, tensor in levels.items() if level is not None}


def _level(sizes, spec, larger):
    """The level that fits a map at both sizes, else at the first; None if there is none."""
    # A pooled vector kept as a 1x1 map is as small at the larger size.
    at_larger = _fitting(sizes[1], larger, least=2)
    at_both = [level for level in _fitting(sizes[0], spec, least=1) if level in at_larger]
    # A layer made for one size (a Reshape) cannot be computed at another. Then the first size
    # decides, and 1x1 could be pooled.
    return next(iter(at_both or _fitting(sizes[0], spec, least=2)), None)


def _fitting(size, spec, least):
    """The levels l with `ceil(n / 2**l)` or `floor(n / 2**l)` on both sides of the map, if these
    are at least `least` pixels."""
    if (
        spec is None
        or len(spec.shape) != 4
        or None in spec.shape[1:]
        or min(spec.shape[1:3]) < least
    ):
        return []
    pairs = list(zip(size, spec.shape[1:3]))
    return [
        level
        for level in range(12)
        if all(side in (n >> level, -(-n >> level)) for n, side in pairs)
    ]


def _nodes(graph):
    """The calls of a graph's layers in the order of computation."""
    return [
        node
        for depth in sorted(graph._nodes_by_depth, reverse=True)
        for node in graph._nodes_by_depth[depth]
    ]


def _walk(graph, values, call):
    """`values`, by the ids of tensors, extended from the inputs to all tensors that `call(node,
    ...)` gives a value."""
    for node in _nodes(graph):
        if not node.is_input and all(id(tensor) in values for tensor in node.input_tensors):
            args, kwargs = node.arguments.fill_in(values)
            values.update(
                zip(map(id, node.outputs), keras.tree.flatten(call(node, *args, **kwargs)))
            )
    return values


def _specs(graph, entry):
    """Returns {id of a tensor: its spec} for an input like `entry`, without tensors that cannot be
    computed at that size."""

    def spec(node, *args, **kwargs):
        try:
            nested = _nested(node.operation)
            if nested is None:
                return (
                    node.outputs
                    if _pools_all(node)
                    else node.operation.compute_output_spec(*args, **kwargs)
                )
            # By its layers: a nested model as a whole refuses any size but its own.
            inside = _specs(nested, keras.tree.flatten((args, kwargs))[0])
            return [inside[id(tensor)] for tensor in nested.outputs]
        # a layer may raise anything; tensors that depend on it are left out as well
        except Exception:
            return ()

    return {} if entry is None else _walk(graph, {id(graph.inputs[0]): entry}, spec)


def _pools_all(node):
    """Whether an explicit window, larger than those for strides, covers the whole map: global
    pooling as old nets write it."""
    before, after = node.input_tensors[0].shape[1:3], node.outputs[0].shape[1:3]
    if tuple(after) != (1, 1) or None in before or not hasattr(node.operation, "pool_size"):
        return False
    window = np.broadcast_to(node.operation.pool_size, 2)
    return min(window) > 3 and all(window >= before)


def _computation(graph):
    """Returns (nodes in the order of computation, {id of a tensor: whether every path from the
    image to the last output crosses it})."""
    nodes = _nodes(graph)
    tensors = [tensor for node in nodes for tensor in node.outputs]
    position = {id(tensor): index for index, tensor in enumerate(tensors)}
    used_by = {id(t): [] for t in tensors}
    for node in nodes:
        for source in node.input_tensors:
            used_by[id(source)] += [position[id(t)] for t in node.outputs]
    last = max(position[id(tensor)] for tensor in graph.outputs)
    needed, reach = [False] * len(tensors), [0] * len(tensors)
    for index in reversed(range(last + 1)):
        users = [user for user in used_by[id(tensors[index])] if user <= last and needed[user]]
        needed[index] = index == last or bool(users)
        reach[index] = max(users, default=index)
    # A tensor is on every path if no edge leads over it from an earlier tensor to a later one.
    through, furthest = [False] * len(tensors), 0
    for index in range(last + 1):
        through[index] = needed[index] and furthest <= index
        furthest = max(furthest, reach[index]) if needed[index] else furthest
    return nodes, dict(zip(position, through))


def _ends(graph, routes):
    """The tensors at the ends of `routes`, computed from the inputs of `graph`.

    A nested model on a route is replaced by one over the same layers that outputs the maps, and its
    own outputs only if they are used: beside the nested model itself, a map would be computed
    twice, with separate dropout and batch statistics.
    """
    values = {id(tensor): tensor for tensor in graph.inputs}
    part = keras.Model(
        graph.inputs, [route[0] if len(route) == 1 else route[0].outputs[0] for route in routes]
    )
    used = {id(tensor) for node in _nodes(part) for tensor in node.input_tensors} | {
        id(route[0]) for route in routes
    }
    ends = {}

    def call(node, *args, **kwargs):
        inner = [route[1:] for route in routes if route[0] is node]
        if inner:
            nested = functional_form(node.operation)
            own = (
                [(tensor,) for tensor in nested.outputs]
                if any(id(tensor) in used for tensor in node.outputs)
                else []
            )
            trunk = keras.Model(
                nested.input, _ends(nested, own + inner), name=f"{nested.name}_levels"
            )
            tensors = keras.tree.flatten(trunk(*args, **kwargs))
            ends.update(
                ((node, *route), tensor) for route, tensor in zip(inner, tensors[len(own) :])
            )
            return tensors[: len(own)]
        before_all_nested = all(values[id(tensor)] is tensor for tensor in node.input_tensors)
        return node.outputs if before_all_nested else node.operation(*args, **kwargs)

    _walk(part, values, call)
    return [values[id(route[0])] if len(route) == 1 else ends[route] for route in routes]
