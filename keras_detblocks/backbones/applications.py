"""Shared by all backbone constructors: the contract of keras.applications, and levels.

`Trunk` is a family's part (the layers between image and feature maps, and names); `application`
adds input, normalization, levels or top, and weights, and checks the arguments, with the messages
of keras.applications if it has any. `constructor.py` makes functions with this contract's signature
and documentation.
"""

import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

import keras

from ..checks import (
    check_choice,
    check_flag,
    check_int,
    check_levels,
    check_number,
    check_shape,
)
from . import pretrained


@dataclass(frozen=True)
class Trunk:
    """A family's part of a backbone.

    name: default name of the model. body: maps (image tensor, deepest level to build) to a dict
    {level: last feature map of that level}. levels: every level that `body` can give, ascending;
    level l has stride 2 ** l. stem: path of the kernel that reads the image.
        stages: number of a stage in the reference's keys -> its level. stage_keys: regular
        expression for the keys of the stages whose numbers replace its braces. imagenet: id of the
        checkpoint that `weights="imagenet"` means, or None if nothing is published. default_size:
        side of the square input if no shape is given and there is a top.
    """

    name: str
    body: Callable
    levels: tuple
    stem: str
    stages: dict
    stage_keys: str
    imagenet: str | None = None
    default_size: int = 224

    def unbuilt(self, deepest):
        """A regular expression for the reference keys of the stages beyond a level, or None."""
        beyond = [str(number) for number, level in self.stages.items() if level > deepest]
        return self.stage_keys.format("|".join(beyond)) if beyond else None


@dataclass(frozen=True)
class Arguments:
    """The arguments of keras.applications, and ours, in the order of the constructors."""

    include_top: bool = True
    weights: Any = None
    input_tensor: Any = None
    input_shape: tuple | None = None
    pooling: str | None = None
    classes: int = 1000
    classifier_activation: Any = "softmax"
    name: str | None = None
    _: KW_ONLY
    include_preprocessing: object = True
    levels: tuple | None = None

    def __post_init__(self):
        levels = check_levels(self.levels, optional=True, ascending=False, single=True)
        object.__setattr__(self, "levels", levels)
        for name, check in (("include_top", check_flag), ("classes", check_int)):
            object.__setattr__(self, name, check(getattr(self, name), name))
        given = self.include_preprocessing
        if not isinstance(given, keras.layers.Layer):
            given = check_flag(given, "include_preprocessing", "a keras.layers.Layer")
            object.__setattr__(self, "include_preprocessing", given)


def application(trunk, arguments):
    """Returns the functional model of a trunk.

    Raises:
        ValueError: if an argument is wrong, which the message names.
    """
    _check(trunk, arguments)
    image = _image(trunk, arguments)
    checkpoint = pretrained.checkpoint_for(trunk, arguments)
    x = image
    if isinstance(arguments.include_preprocessing, keras.layers.Layer):
        x = arguments.include_preprocessing(x)
    elif arguments.include_preprocessing:
        x = pretrained.normalization(checkpoint, x.shape[-1])(x)
    deepest = max(arguments.levels or trunk.levels)
    maps = trunk.body(x, deepest)
    if arguments.levels:
        outputs = {f"P{level}": maps[level] for level in arguments.levels}
    else:
        outputs = _top(maps[deepest], arguments)
    sources = keras.utils.get_source_inputs(image)
    model = keras.Model(
        sources[0] if len(sources) == 1 else sources, outputs, name=arguments.name or trunk.name
    )
    # The layers that produce the user's `input_tensor` have weights too.
    own = model if arguments.input_tensor is None else keras.Model(image, outputs)
    pretrained.load_into(own, trunk, arguments, checkpoint, deepest)
    return model


def _top(x, arguments):
    if not arguments.include_top and arguments.pooling is None:
        return x
    if not arguments.include_top and arguments.pooling == "max":
        return keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if not arguments.include_top:
        return x
    low = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    return keras.layers.Dense(
        arguments.classes,
        activation=arguments.classifier_activation,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name="predictions",
        dtype="float32" if low else None,
    )(x)


# Checks -------------------------------------------------------------------------------------------


def check_strides_and_drops(output_stride, drop_path_rate=0.0):
    """Returns both as Python's numbers; raises a `ValueError` unless dilation can keep a net at the
    stride, and the rate leaves something of every branch."""
    return (
        check_choice(output_stride, "output_stride", (8, 16, 32)),
        check_number(drop_path_rate, "drop_path_rate", least=0, below=1),
    )


def _check(trunk, arguments):
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "keras_detblocks is channels-last only. Received: "
            f"keras.config.image_data_format()={keras.config.image_data_format()!r}; call "
            "keras.config.set_image_data_format('channels_last')."
        )
    check_choice(arguments.pooling, "pooling", (None, "avg", "max"))
    if arguments.levels is not None:
        _check_levels(trunk, arguments)
    if pretrained.wants_imagenet(arguments):
        _check_imagenet(trunk, arguments)
    if arguments.weights is not None and arguments.include_top:
        _check_activation(arguments.classifier_activation)


def _check_levels(trunk, arguments):
    levels = arguments.levels
    if arguments.include_top or arguments.pooling:
        raise ValueError(
            "`levels` gives feature maps: it needs `include_top=False` and `pooling=None`. "
            f"Received: levels={levels}, include_top={arguments.include_top}, "
            f"pooling={arguments.pooling!r}"
        )
    if not set(levels) <= set(trunk.levels):
        raise ValueError(
            f"`levels` must be distinct ones of {trunk.levels}, those of {trunk.name} (level l has "
            f"stride 2 ** l). Received: levels={levels}"
        )


def _check_imagenet(trunk, arguments):
    if trunk.imagenet is None:
        raise ValueError(
            f"No ImageNet weights are published for {trunk.name}: use `weights=None`, a path, or "
            "another model of `keras_detblocks.list_models(pretrained=True)`. Received: "
            "weights='imagenet'"
        )
    if arguments.include_top and arguments.classes != 1000:
        raise ValueError(
            'If using `weights="imagenet"` with `include_top=True`, `classes` should be 1000. '
            f"Received: classes={arguments.classes}"
        )


def _check_activation(activation):
    allowed = (keras.activations.get("softmax"), keras.activations.get(None))
    if keras.activations.get(activation) not in allowed:
        raise ValueError(
            "Only `None` and `softmax` activations are allowed for the `classifier_activation` "
            "argument when using pretrained weights, with `include_top=True`. Received: "
            f"classifier_activation={activation}"
        )


def _image(trunk, arguments):
    """The tensor that the net reads."""
    tensor = arguments.input_tensor
    if tensor is None:
        side = trunk.default_size
        default = (side, side, 3) if arguments.include_top else (None, None, 3)
        shape = default if arguments.input_shape is None else arguments.input_shape
        return keras.Input(shape=_checked_shape(shape, trunk, arguments), name="image")
    if not keras.utils.is_keras_tensor(tensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor (the output of `keras.Input` or of a layer). "
            f"Received: {type(tensor).__name__}"
        )
    shape = _checked_shape(tensor.shape[1:], trunk, arguments)
    if arguments.input_shape is not None and tuple(arguments.input_shape) != shape:
        raise ValueError(
            "`input_shape` must be the shape of `input_tensor`, or be left out beside it. "
            f"Received: input_shape={tuple(arguments.input_shape)}, and an input_tensor of {shape}"
        )
    return tensor


def _checked_shape(shape, trunk, arguments):
    """A shape as a tuple of ints and None, or an error that says what it must be."""
    shape = check_shape(shape, "input_shape", "(height, width, channels)")
    _check_imagenet_shape(shape, trunk, arguments)
    if arguments.include_top and None in shape and arguments.input_tensor is None:
        raise ValueError(
            "If `include_top` is True, you should specify a static `input_shape`. Received: "
            f"input_shape={shape}"
        )
    least = 2 ** max(arguments.levels or trunk.levels)
    if any(n is not None and n < least for n in shape[:2]):
        raise ValueError(
            f"Input size must be at least {least}x{least}; Received: input_shape={shape}"
        )
    unusual = shape[-1] not in (1, 3) and arguments.weights is None
    if unusual and arguments.input_tensor is None:
        warnings.warn(
            "This model usually expects 1 or 3 input channels. However, it was passed an "
            f"input_shape with {shape[-1]} input channels.",
            stacklevel=5,
        )
    return shape


def _check_imagenet_shape(shape, trunk, arguments):
    imagenet = pretrained.wants_imagenet(arguments)
    wanted = (trunk.default_size, trunk.default_size, 3)
    bound = imagenet and arguments.include_top and arguments.input_tensor is None
    if bound and shape != wanted:
        raise ValueError(
            "When setting `include_top=True` and loading `imagenet` weights, `input_shape` should "
            f"be {wanted}. Received: input_shape={shape}"
        )
    if shape[-1] is None or (imagenet and shape[-1] != 3):
        raise ValueError(
            f"The input must have {'3' if imagenet else 'a known number of'} channels. Received: "
            f"input_shape={shape}"
        )


def preprocess_input(x, data_format=None):
    """Returns `x`, whatever `data_format` says: normalization is part of the models
    (`include_preprocessing=True`), which take RGB pixels from 0 to 255.

    It is here so that code written for keras.applications keeps working, as in
    `keras.applications.convnext`.
    """
    return x
