"""Cross-stage partial connections (https://arxiv.org/abs/1911.11929) around any block.

The paper's figure 3: with `x = [bypass, processed]` along the channels and T a transition (1x1
convolution, normalization, activation),

    full   T2([bypass, T1(block(processed))])    partial dense block and partial transition layer
    first  T2([bypass, block(processed)])        fusion first
    last   [bypass, T1(block(processed))]        fusion last
"""

import numbers

import keras
from keras import ops

from ..checks import check_choice, check_flag, check_int, check_number
from .activation import activation_layer, check_activation
from .block import Block
from .conv import Conv2D
from .folding import normalized
from .normalization import normalization_layer


@keras.saving.register_keras_serializable(package="keras_detblocks")
class CrossStage(Block):
    """Lets a share of the channels bypass a block, and fuses both parts after it.

    Args:
        block: the layer or model that processes the other channels, `(B, H, W, C)` to `(B, H, W,
            C')`.
        filters: channels of the output's transition T2 (`fusion="last"` has none and ignores it);
            `None` keeps the input's.
        fusion: `"full"`, `"first"` or `"last"`.
        part_ratio: share of the channels that bypasses the block (the paper's gamma: less bypass,
            less saving).
        part_filters: channels of T1; `None` keeps those that enter the block.
        activation: of the transitions.
        pre_activation: whether a transition is normalization, activation, convolution, as in
            DenseNet.
        processed_part: `"last"` or `"first"`: which end of the channels goes through the block.

    Input shape `(B, H, W, C)`, output shape `(B, H, W, filters)`.

    Raises:
        ValueError: on an unknown fusion, a block that is not a layer or does not keep height and
            width, an input that is not one map with a known number of channels, or a ratio that
            leaves one part empty.

    >>> stage = CrossStage(keras.layers.Conv2D(24, 3, padding="same"), filters=48, part_ratio=0.25)
    >>> tuple(stage(keras.ops.ones((1, 7, 5, 32))).shape)
    (1, 7, 5, 48)
    """

    def __init__(
        self,
        block,
        filters=None,
        fusion="full",
        part_ratio=0.5,
        part_filters=None,
        activation="relu",
        pre_activation=False,
        processed_part="last",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(block, keras.layers.Layer):
            raise ValueError(
                "`block` must be one keras.layers.Layer: put several into a keras.Sequential and "
                "a function into a keras.layers.Lambda or a layer of your own. Received: "
                f"block={block!r}"
            )
        self.block = block
        self.filters = check_int(filters, "filters", optional=True)
        self.fusion = check_choice(fusion, "fusion", ("full", "first", "last"))
        self.part_ratio = check_number(part_ratio, "part_ratio", above=0, below=1)
        self.part_filters = check_int(part_filters, "part_filters", optional=True)
        self.activation = check_activation(activation)
        self.pre_activation = check_flag(pre_activation, "pre_activation")
        self.processed_part = check_choice(processed_part, "processed_part", ("last", "first"))
        self.part_transition = self.transition = None

    def build_parts(self, input_shape):
        bypass, channels = self._bypass(input_shape), input_shape[-1]
        shape = self._processed_shape((*input_shape[:-1], channels - bypass))
        if self.fusion != "first":
            self.part_transition = self._transition(
                "part_transition", self.part_filters or channels - bypass, shape
            )
            shape = self.part_transition.compute_output_shape(shape)
        if self.fusion != "last":
            self.transition = self._transition(
                "transition", self.filters or channels, (*shape[:-1], bypass + shape[-1])
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})

    def _transition(self, name, filters, input_shape):
        layer = Transition(
            filters, self.activation, self.pre_activation, name=name, dtype=self.dtype_policy
        )
        layer.build(input_shape)
        return layer

    def _processed_shape(self, shape):
        """Builds the block and returns the shape of its output."""
        entering = keras.KerasTensor(shape, dtype=self.compute_dtype)
        # A symbolic call builds any layer and gives its output shape, whether or not it has `build`
        # and `compute_output_shape`.
        processed = self.block(entering)
        self._check_processed(entering, processed)
        if None in shape[1:3]:
            # Unknown sides stay unknown whatever the strides, so the block is tried with 64 pixels.
            entering = keras.KerasTensor(
                (shape[0], *(side or 64 for side in shape[1:3]), shape[-1]),
                dtype=self.compute_dtype,
            )
            try:
                at_size = self.block.compute_output_spec(entering)
            except (ValueError, TypeError):  # made for another size: `call` checks it
                at_size = entering
            self._check_processed(entering, at_size)
        return tuple(processed.shape)

    def _check_processed(self, entering, processed):
        before, after = (
            tuple(entering.shape),
            keras.tree.map_structure(lambda x: tuple(x.shape), processed),
        )
        one_map = not keras.tree.is_nested(processed) and len(after) == 4
        if not one_map or any(
            None not in sides and sides[0] != sides[1] for sides in zip(before[1:3], after[1:3])
        ):
            raise ValueError(
                f"Layer {self.name!r}: `block` must map (B, H, W, C) to one (B, H, W, any C), "
                'with height and width kept: give it strides=1 and padding="same", and reduce the '
                "size before or after this layer. Received: "
                f"{self.block.name!r} ({type(self.block).__name__}), which maps {before} to {after}"
            )

    def _bypass(self, input_shape):
        if len(input_shape) != 4 or not isinstance(input_shape[-1], numbers.Integral):
            raise ValueError(
                f"Layer {self.name!r}: the input must be one map (B, H, W, C) with a known number "
                "of channels; give the `keras.Input` before it such a shape. Received: shape "
                f"{input_shape}"
            )
        channels = input_shape[-1]
        bypass = round(channels * self.part_ratio)
        if not 0 < bypass < channels:
            raise ValueError(
                f"Layer {self.name!r}: part_ratio={self.part_ratio} of {channels} channels leaves "
                "one part empty; use at least 2 channels and a ratio nearer to 0.5."
            )
        return bypass

    def call(self, x, training=None):
        bypass, entering = self._parts(x)
        processed = (
            self.block(entering, training=training)
            if _takes_training(self.block)
            else self.block(entering)
        )
        self._check_processed(entering, processed)
        if self.part_transition is not None:
            processed = self.part_transition(processed, training=training)
        x = ops.concatenate([bypass, processed], axis=-1)
        return x if self.transition is None else self.transition(x, training=training)

    def _parts(self, x):
        bypass = self._bypass(x.shape)
        if self.processed_part == "last":
            return x[..., :bypass], x[..., bypass:]
        return x[..., -bypass:], x[..., :-bypass]

    def compute_output_shape(self, input_shape):
        bypass = self._bypass(input_shape)
        if self.fusion != "last":
            filters = self.filters or input_shape[-1]
        else:
            filters = bypass + (self.part_filters or input_shape[-1] - bypass)
        return (*input_shape[:-1], filters)

    def get_config(self):
        return {
            **super().get_config(),
            "block": keras.saving.serialize_keras_object(self.block),
            "filters": self.filters,
            "fusion": self.fusion,
            "part_ratio": self.part_ratio,
            "part_filters": self.part_filters,
            "activation": self.activation,
            "pre_activation": self.pre_activation,
            "processed_part": self.processed_part,
        }

    @classmethod
    def from_config(cls, config):
        config = {**config, "block": keras.saving.deserialize_keras_object(config["block"])}
        if "worked_part" in config:  # the argument's name in older files
            config["processed_part"] = config.pop("worked_part")
        return super().from_config(config)


def _takes_training(layer):
    return getattr(layer, "_call_has_training_arg", True)


@keras.saving.register_keras_serializable(package="keras_detblocks")
class Transition(Block):
    """1x1 convolution, normalization, activation; or normalization, activation, convolution
    (`pre_activation`).

    Args:
        filters, activation, pre_activation: see `CrossStage`.

    Input shape `(B, H, W, C)`, output shape `(B, H, W, filters)`.
    """

    def __init__(self, filters, activation="relu", pre_activation=False, **kwargs):
        super().__init__(**kwargs)
        self.filters = check_int(filters, "filters")
        self.activation = check_activation(activation)
        self.pre_activation = check_flag(pre_activation, "pre_activation")
        self.conv = Conv2D(
            filters,
            1,
            use_bias=False,
            kernel_initializer="he_normal",
            name="conv",
            dtype=self.dtype_policy,
        )
        self.norm = normalization_layer("batch", name="norm", dtype=self.dtype_policy)
        self.act = activation_layer(activation, name="act", dtype=self.dtype_policy)

    def build_parts(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build(
            input_shape if self.pre_activation else self.conv.compute_output_shape(input_shape)
        )

    def call(self, x, training=None):
        if self.pre_activation:
            return self.conv(self.act(self.norm(x, training=training)))
        return self.act(normalized(self.conv, self.norm, x, training))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "activation": self.activation,
            "pre_activation": self.pre_activation,
        }
