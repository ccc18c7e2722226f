"""`feature_pyramid`: any functional image model as a backbone with a dict of levels."""

import keras


def feature_pyramid(model, levels=(3, 4, 5), preprocess=None, name=None):
    """Returns a model from image to `{"P3": ..., ...}` that shares the layers and weights of a functional image model.

    The output of level l is the last map of stride 2 ** l that everything deeper passes through: the output of a residual stage,
    or in nets of inverted bottlenecks the expansion before the next stride (as MobileNetV2's detector takes it,
    https://arxiv.org/abs/1801.04381). Strides come from the shapes of the graph itself, so it works on models of
    `keras.applications`, on one just loaded from a file and on a clone. A model that names its own maps by level in a dict
    `pyramid_outputs`, as the backbones of KerasHub do, gives those.

    Args:
        model: functional `keras.Model` with one image input, channels-last.
        levels: distinct levels, in the order of the result.
        preprocess: `None`, or what maps images (RGB, 0 to 255) to what the model expects: a Keras layer, or a function of Keras
            operations such as `keras.applications.resnet.preprocess_input`.
        name: of the new model; the old name with `_pyramid` by default.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: if the model is not functional, has another number of inputs, or lacks a level.

    >>> net = keras.applications.MobileNetV3Small(weights=None, include_top=False, input_shape=(96, 64, 3))
    >>> {k: tuple(v.shape) for k, v in feature_pyramid(net, (4, 3)).output.items()}
    {'P4': (None, 6, 4, 288), 'P3': (None, 12, 8, 96)}
    """
    image = _image_input(model)
    levels = tuple(levels)
    if not levels or len(set(levels)) != len(levels):
        raise ValueError(f"`levels` must be distinct and at least one. Received: levels={levels}")
    found = _own_maps(model)
    if any(level not in found for level in levels):
        found = {**_last_maps(model, image), **found}
    missing = [level for level in levels if level not in found]
    if missing:
        raise ValueError(
            f"{model.name!r} has the levels {tuple(sorted(found))} (level l has stride 2 ** l). Received: levels={levels}"
        )
    outputs = {f"P{level}": found[level] for level in levels}
    if preprocess is None:
        return keras.Model(image, outputs, name=name or f"{model.name}_pyramid")
    trunk = keras.Model(image, outputs, name=f"{model.name}_levels")
    raw = keras.Input(shape=image.shape[1:], name="image")
    return keras.Model(raw, trunk(preprocess(raw)), name=name or f"{model.name}_pyramid")


def _image_input(model):
    inputs = getattr(model, "inputs", None)
    if not inputs or not hasattr(model, "operations"):
        raise ValueError(
            "`model` must be a functional keras.Model (built from `keras.Input`). A subclassed model has no graph to find strides "
            f"in. Received: {type(model).__name__}"
        )
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(f"`model` must have one image input (B, H, W, C). Received: {[tuple(t.shape) for t in inputs]}")
    return inputs[0]


def _own_maps(model):
    """The maps of `model.pyramid_outputs`, which cloning drops: nothing but the choice between maps of a level hangs on it."""
    named = getattr(model, "pyramid_outputs", None) or {}
    return {int(key[1:]): tensor for key, tensor in named.items() if key[:1] in "Pp" and key[1:].isdigit()}


def _last_maps(model, image):
    """The last map per level that the deepest output depends on by every path, else the last one of that level."""
    tensors, through = _computation(model)
    size, shapes = _shapes(model, image, tensors)
    maps, certain = {}, set()
    for tensor, shape, passed in zip(tensors, shapes, through):
        level = _level(size, shape[1:3]) if len(shape) == 4 and None not in shape[1:] else None
        if level is not None and (passed or level not in certain):
            maps[level] = tensor
            certain |= {level} if passed else set()
    return maps


def _computation(model):
    """(tensors in the order of computation, whether every path from the image to the last output leads through each)."""
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    tensors = [tensor for node in nodes for tensor in keras.tree.flatten(node.output_tensors)]
    position = {id(tensor): index for index, tensor in enumerate(tensors)}
    used_by = {id(t): [] for t in tensors}
    for node in nodes:
        for source in keras.tree.flatten(node.input_tensors):
            used_by[id(source)] += [position[id(t)] for t in keras.tree.flatten(node.output_tensors)]
    last = max(position[id(tensor)] for tensor in keras.tree.flatten(model.outputs))
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
    return tensors, through


def _level(size, sides):
    """The level l with `ceil(n / 2**l)` or `floor(n / 2**l)` on both sides, or None."""
    if min(sides) < 2:  # pooled vectors kept as 1x1 maps
        return None
    for level in range(12):
        stride = 2**level
        if all(side in (n // stride, -(-n // stride)) for n, side in zip(size, sides)):
            return level
    return None


def _shapes(model, image, tensors):
    """(size of an image, shapes of the tensors at that size)."""
    height, width = image.shape[1:3]
    if None not in (height, width):
        return (height, width), [tuple(tensor.shape) for tensor in tensors]
    size = (height or 512, width or 512)
    every = keras.Model(image, tensors)
    specs = every.compute_output_spec(keras.KerasTensor((1, *size, image.shape[-1]), dtype=image.dtype))
    return size, [tuple(spec.shape) for spec in keras.tree.flatten(specs)]
