"""What every backbone constructor shares: the contract of keras.applications, and levels.

`Trunk` is what a family brings (the layers between image and feature maps, and names);
`application` adds input, normalisation, levels or top, and weights, and checks the arguments with
the messages of keras.applications where it has them.
"""

import numbers
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from .. import weights as weights_room
from ..layers import ImageNormalization
from ..layers.normalization import IMAGENET_MEAN, IMAGENET_STD

EVALUATION_KEYS = ("architecture", "tag", "crop_pct", "interpolation", "input_size")


@dataclass(frozen=True)
class Trunk:
    """A family's part of a backbone.

    name: default name of the model. body: maps (image tensor, deepest level to build) to a dict
    {level: last feature map of that level}. levels: every level that `body` can give, ascending;
    level l has stride 2 ** l. stem: path of the kernel that reads the image. unbuilt: maps the
    deepest level to a regular expression of the reference keys that belong to stages beyond it, or
    None. imagenet: id of the checkpoint that `weights="imagenet"` means, or None where nothing is
    published. default_size: side of the square input where no shape is given and there is a top.
    """

    name: str
    body: Callable
    levels: tuple
    stem: str
    unbuilt: Callable
    imagenet: str | None = None
    default_size: int = 224


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
    include_preprocessing: bool = True
    levels: tuple | None = None

    def __post_init__(self):
        if self.levels is not None:
            levels = (
                (self.levels,) if isinstance(self.levels, numbers.Integral) else tuple(self.levels)
            )
            object.__setattr__(self, "levels", levels)


def application(trunk, arguments):
    """Returns the functional model of a trunk.

    Raises:
        ValueError: naming the argument that is wrong.
    """
    _check(trunk, arguments)
    image = _image(trunk, arguments)
    checkpoint = _checkpoint(trunk, arguments)
    x = image
    if arguments.include_preprocessing:
        x = _normalization(x.shape[-1], checkpoint)(x)
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
    # What the user's `input_tensor` brings along has weights of its own.
    own = model if arguments.input_tensor is None else keras.Model(image, outputs)
    _load(own, trunk, arguments, checkpoint, deepest)
    return model


def _top(x, arguments):
    if not arguments.include_top and arguments.pooling is None:
        return x
    if not arguments.include_top and arguments.pooling == "max":
        return keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if not arguments.include_top:
        return x
    policy = keras.config.dtype_policy()
    return keras.layers.Dense(
        arguments.classes,
        activation=arguments.classifier_activation,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name="predictions",
        dtype="float32" if policy.compute_dtype in ("float16", "bfloat16") else None,
    )(x)


def positive_ints(values, name):
    """A tuple of positive Python ints, or an error with the argument's name."""
    values = tuple(values)
    if any(not isinstance(v, numbers.Integral) or v < 1 for v in values):
        raise ValueError(f"`{name}` must hold positive integers. Received: {name}={values}")
    return tuple(int(v) for v in values)


def check_strides_and_drops(output_stride, drop_path_rate=0.0):
    """Raises `ValueError` unless dilation can hold a net at the stride, and the rate leaves
    something of every branch."""
    if output_stride not in (8, 16, 32):
        raise ValueError(
            f"`output_stride` must be 8, 16 or 32. Received: output_stride={output_stride}"
        )
    if not 0.0 <= drop_path_rate < 1.0:
        raise ValueError(
            f"`drop_path_rate` must be at least 0 and below 1. Received: "
            f"drop_path_rate={drop_path_rate}"
        )


def _check(trunk, arguments):
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "keras_detblocks is channels-last only. Received: keras.config.image_data_format()="
            f"{keras.config.image_data_format()!r}; call "
            f"keras.config.set_image_data_format('channels_last')."
        )
    if arguments.pooling not in (None, "avg", "max"):
        raise ValueError(
            f"`pooling` must be None, 'avg' or 'max'. Received: pooling={arguments.pooling!r}"
        )
    positive_ints((arguments.classes,), "classes")
    if arguments.levels is not None:
        _check_levels(trunk, arguments)
    if _wants_imagenet(arguments):
        _check_imagenet(trunk, arguments)
    if arguments.weights is not None and arguments.include_top:
        _check_activation(arguments.classifier_activation)


def _wants_imagenet(arguments):
    return isinstance(arguments.weights, str) and arguments.weights == "imagenet"


def _check_levels(trunk, arguments):
    levels = arguments.levels
    if arguments.include_top or arguments.pooling:
        raise ValueError(
            "`levels` gives feature maps: it needs `include_top=False` and `pooling=None`. "
            "Received: "
            f"levels={levels}, include_top={arguments.include_top}, pooling={arguments.pooling!r}"
        )
    unknown = [level for level in levels if level not in trunk.levels]
    if unknown or not levels or len(set(levels)) != len(levels):
        raise ValueError(
            f"`levels` must be distinct ones of {trunk.levels}, those of {trunk.name} (level l "
            f"has stride 2 ** l). "
            f"Received: levels={levels}"
        )


def _check_imagenet(trunk, arguments):
    if trunk.imagenet is None:
        raise ValueError(
            f"No ImageNet weights are published for {trunk.name}: use `weights=None`, a path, or "
            f"another model of "
            "`keras_detblocks.list_models(pretrained=True)`. Received: weights='imagenet'"
        )
    if arguments.include_top and arguments.classes != 1000:
        raise ValueError(
            'If using `weights="imagenet"` with `include_top=True`, `classes` should be 1000. '
            f"Received: classes={arguments.classes}"
        )


def _check_activation(activation):
    if keras.activations.get(activation) not in (
        keras.activations.get("softmax"),
        keras.activations.get(None),
    ):
        raise ValueError(
            "Only `None` and `softmax` activations are allowed for the `classifier_activation` "
            "argument when using pretrained "
            f"weights, with `include_top=True`. Received: classifier_activation={activation}"
        )


def _image(trunk, arguments):
    """The tensor that the net reads."""
    if arguments.input_tensor is not None:
        if keras.utils.is_keras_tensor(arguments.input_tensor):
            _check_shape(tuple(arguments.input_tensor.shape[1:]), trunk, arguments)
            return arguments.input_tensor
        raise ValueError(
            "`input_tensor` must be a Keras tensor (the output of `keras.Input` or of a layer). "
            "Received: "
            f"{type(arguments.input_tensor).__name__}"
        )
    side = trunk.default_size
    shape = arguments.input_shape or ((side, side, 3) if arguments.include_top else (None, None, 3))
    shape = tuple(shape)
    _check_shape(shape, trunk, arguments)
    return keras.Input(shape=shape, name="image")


def _check_shape(shape, trunk, arguments):
    if len(shape) != 3:
        raise ValueError(
            f"`input_shape` must be a tuple of three integers. Received: input_shape={shape}"
        )
    imagenet = _wants_imagenet(arguments)
    side = trunk.default_size
    if (
        imagenet
        and arguments.include_top
        and arguments.input_tensor is None
        and shape != (side, side, 3)
    ):
        raise ValueError(
            f"When setting `include_top=True` and loading `imagenet` weights, `input_shape` "
            f"should be {(side, side, 3)}. "
            f"Received: input_shape={shape}"
        )
    if shape[-1] is None or (imagenet and shape[-1] != 3):
        raise ValueError(
            f"The input must have {'3' if imagenet else 'a known number of'} channels. Received: "
            f"input_shape={shape}"
        )
    if arguments.include_top and None in shape and arguments.input_tensor is None:
        raise ValueError(
            f"If `include_top` is True, you should specify a static `input_shape`. Received: "
            f"input_shape={shape}"
        )
    least = 2 ** max(arguments.levels or trunk.levels)
    if any(n is not None and n < least for n in shape[:2]):
        raise ValueError(
            f"Input size must be at least {least}x{least}; Received: input_shape={shape}"
        )
    if shape[-1] not in (1, 3) and arguments.weights is None and arguments.input_tensor is None:
        warnings.warn(
            "This model usually expects 1 or 3 input channels. However, it was passed an "
            "input_shape with "
            f"{shape[-1]} input channels.",
            stacklevel=5,
        )


def _normalization(channels, checkpoint):
    config = checkpoint.config if checkpoint is not None else {}
    mean = tuple(255.0 * m for m in config["mean"]) if "mean" in config else IMAGENET_MEAN
    std = tuple(255.0 * s for s in config["std"]) if "std" in config else IMAGENET_STD
    if channels != len(mean):
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    evaluation = {key: config[key] for key in EVALUATION_KEYS if key in config} or None
    return ImageNormalization(mean, std, evaluation=evaluation, name="normalization")


def _checkpoint(trunk, arguments):
    """The checkpoint to load, or None (nothing, or a `.weights.h5` file, which Keras loads as it
    is)."""
    source = trunk.imagenet if _wants_imagenet(arguments) else arguments.weights
    if source is None or isinstance(source, (dict, weights_room.Checkpoint)):
        return None if source is None else weights_room.read(source)
    if not weights_room.is_hub_id(str(source)) and not os.path.exists(source):
        raise ValueError(
            "The `weights` argument should be either `None` (random initialization), 'imagenet' "
            "(pre-training on ImageNet), a "
            "Hugging Face id such as 'timm/regnety_008.pycls_in1k', a dict of arrays under the "
            "reference's key names, or the "
            f"path to the weights file to be loaded. Received: `weights={source}`"
        )
    if not weights_room.is_keras_file(source):
        return weights_room.read(source)
    return None if str(source).endswith(".weights.h5") else _saved_net(source)


def _saved_net(path):
    """The checkpoint of a `.keras` file: by names, since Keras takes layers by their order, which
    drop path and levels change."""
    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a Keras model that can be read: {error}") from error
    settings = _settings(model) or {}
    config = {
        key: [v / 255.0 for v in value] if key in ("mean", "std") else value
        for key, value in settings.items()
    }
    return weights_room.checkpoint_of(_innermost(model), str(path), config)


def _innermost(model):
    """The net that a saved model holds, such as the backbone of a detector, or the model itself."""
    nets = [layer for layer in model.layers if isinstance(layer, keras.Model) and layer.weights]
    return _innermost(nets[0]) if nets else model


def _load(model, trunk, arguments, checkpoint, deepest):
    if checkpoint is None:
        if arguments.weights is not None:
            weights_room.load(model, arguments.weights)
        return
    unused = [trunk.unbuilt(deepest)] + (
        [] if arguments.include_top else [r"^((head\.)?fc\.|predictions/)"]
    )
    fitting_kernel, fitting_bias = _head_adapters()
    adapt = {
        trunk.stem: _adapted_stem,
        "predictions/kernel": fitting_kernel,
        "predictions/bias": fitting_bias,
    }
    weights_room.load(
        model,
        checkpoint,
        unused="|".join(pattern for pattern in unused if pattern) or None,
        adapt=adapt,
    )


def _adapted_stem(kernel, variable):
    """A stem for another number of channels: the sum for one, else repeated and scaled to keep the
    sum."""
    channels, wanted = kernel.shape[2], variable.shape[2]
    if channels == wanted:
        return kernel
    warnings.warn(
        f"The checkpoint's stem reads {channels} channels and the model's {wanted}: its kernel was "
        f"{'summed over the channels' if wanted == 1 else 'repeated along the channels and scaled'}.",
        stacklevel=2,
    )
    if wanted == 1:
        return kernel.sum(axis=2, keepdims=True)
    repeats = -(-wanted // channels)
    return np.tile(kernel, (1, 1, repeats, 1))[:, :, :wanted] * (channels / wanted)


def _head_adapters():
    """Functions for the head's kernel and bias: both stay at random where the model has other
    classes than the checkpoint."""
    left = []

    def kernel(array, variable):
        if array.shape[1] == variable.shape[1] or array.shape[0] != variable.shape[0]:
            return array
        left.append(array.shape[1])
        warnings.warn(
            f"The checkpoint has {array.shape[1]} classes and the model {variable.shape[1]}: the "
            f"classifier `predictions` keeps "
            "its random initialization.",
            stacklevel=2,
        )
        return None

    def bias(array, variable):
        return None if left == [array.shape[0]] else array

    return kernel, bias


def evaluation_settings(model):
    """How the checkpoint of a model is evaluated, also after saving and loading: kept in the config
    of its normalisation layer.

    Returns:
        A dict with `mean` and `std` (pixels of 0 to 255) and, where the weights came with them,
        `architecture`, `tag`, `crop_pct` (share of the resized image's side that the centre crop
        takes), `interpolation` and `input_size` (channels, height, width).

    Raises:
        ValueError: if the model has no `ImageNormalization`.

    >>> evaluation_settings(kdb.RegNetX002(include_top=False))["mean"]
    (123.675, 116.28, 103.53)
    """
    settings = _settings(model)
    if settings is None:
        raise ValueError(
            f"{model.name!r} has no ImageNormalization layer: it was built with "
            f"`include_preprocessing=False`."
        )
    return settings


def _settings(model):
    """Of the first `ImageNormalization`, in the model or in a model within it; None without one."""
    for layer in model.layers:
        if isinstance(layer, ImageNormalization):
            return {"mean": layer.mean, "std": layer.std, **(layer.evaluation or {})}
        if isinstance(layer, keras.Model) and (found := _settings(layer)) is not None:
            return found
    return None


def preprocess_input(x, data_format=None):
    """Returns `x`: normalisation is part of the models (`include_preprocessing=True`), which take
    RGB pixels of 0 to 255.

    Here so that code written for keras.applications keeps working, as in
    `keras.applications.convnext`.
    """
    return x


def decode_predictions(preds, top=5):
    """Class names of ImageNet predictions `(B, 1000)`: one list of `(wordnet id, name, score)` per
    image, best first.

    The first call downloads Keras' class index.
    """
    return keras.applications.imagenet_utils.decode_predictions(
        ops.convert_to_numpy(preds), top=top
    )


def constructor(function_name, title, trunk, module):
    """Returns a named constructor with the signature of keras.applications.

    Args:
        function_name: its name.
        title: first line of its documentation.
        trunk: maps (output_stride, drop_path_rate) to a `Trunk`.
        module: `__name__` of the module that defines it.
    """

    def build(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=None,
        *,
        include_preprocessing=True,
        levels=None,
        output_stride=32,
        drop_path_rate=0.0,
    ):
        return application(
            trunk(output_stride, drop_path_rate),
            Arguments(
                include_top,
                weights,
                input_tensor,
                input_shape,
                pooling,
                classes,
                classifier_activation,
                name,
                include_preprocessing,
                levels,
            ),
        )

    build.__name__ = build.__qualname__ = function_name
    build.__module__ = module
    build.__doc__ = f"""{title}

    The arguments are those of `RegNetY` less `variant`: keras.applications', then `include_preprocessing`, `levels`,
    `output_stride` and `drop_path_rate`. Returns a functional `keras.Model`; raises `ValueError` naming the wrong argument.
    """
    return build
