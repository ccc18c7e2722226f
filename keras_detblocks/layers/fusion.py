"""Fuses maps of one size: weighted sums (BiFPN), maxima over channels (CSPNet's maxout),
concatenations that delegates accept."""

import keras
from keras import ops

from ..checks import check_choice, check_int, check_number

FUSION_METHODS = ("fast", "softmax", "sum")
GROUPINGS = ("strided", "contiguous")
_CONCATENATION_INPUTS = 5  # most inputs of XNNPACK's concatenation


def concatenate(maps):
    """Concatenates maps along the channels, at most five at a time, as many as XNNPACK's
    concatenation takes.

    Args:
        maps: list of `(B, H, W, C_i)`.

    Returns:
        `(B, H, W, sum of C_i)`, the maps in order.
    """
    maps = list(maps)
    while len(maps) > 1:
        maps = [
            ops.concatenate(maps[:_CONCATENATION_INPUTS], axis=-1),
            *maps[_CONCATENATION_INPUTS:],
        ]
    return maps[0]


@keras.saving.register_keras_serializable(package="keras_detblocks")
class WeightedFusion(keras.layers.Layer):
    """Weighted sum of maps with one learned scalar each (EfficientDet,
    https://arxiv.org/abs/1911.09070, section 3.3).

    Args:
        method: `"fast"`: relu(w_i) / (sum of relu(w_j) + epsilon). `"softmax"`: softmax of the
            weights. `"sum"`: no weights. All three cost the same once exported, since the weights
            are then constants; `"sum"` quantizes best.
        epsilon: keeps the fast form finite when no weight is positive.

    Input: list of `(B, H, W, C)`. Output: `(B, H, W, C)`. The weights start at 1 and are normalized
    in float32.

    Raises:
        ValueError: on an unknown method, or maps of different shapes.

    >>> x = keras.ops.ones((1, 2, 2, 3))
    >>> round(float(WeightedFusion("softmax")([x, 3 * x])[0, 0, 0, 0]), 4)
    2.0
    """

    def __init__(self, method="fast", epsilon=1e-4, **kwargs):
        super().__init__(**kwargs)
        self.method = check_choice(method, "method", FUSION_METHODS)
        self.epsilon = check_number(epsilon, "epsilon", above=0)
        self.edge_weights = None

    def build(self, input_shape):
        shapes = {tuple(shape) for shape in input_shape}
        if len({len(shape) for shape in shapes}) > 1 or any(
            len(set(sides) - {None}) > 1 for sides in list(zip(*shapes))[1:]
        ):
            raise ValueError(
                f"Layer {self.name!r} expects maps of one shape; resize and project them first. "
                f"Received: {input_shape}"
            )
        if self.method != "sum":
            self.edge_weights = self.add_weight(
                shape=(len(input_shape),), initializer="ones", name="edge_weights", autocast=False
            )

    def call(self, maps):
        if self.method == "sum":
            return sum(maps[1:], start=maps[0])
        if self.method == "fast":
            weights = ops.relu(self.edge_weights)
            weights = weights / (ops.sum(weights) + self.epsilon)
        else:
            weights = ops.softmax(self.edge_weights)
        # Map by map, since mobile delegates refuse a stack of rank 5 or run it slowly.
        weighted = [x * ops.cast(weights[i], x.dtype) for i, x in enumerate(maps)]
        return sum(weighted[1:], start=weighted[0])

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {**super().get_config(), "method": self.method, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="keras_detblocks")
class CrossChannelPooling(keras.layers.Layer):
    """Maximum over groups of channels (maxout): CSPNet's way to shrink the maps of a pyramid. No
    weights.

    Papers: https://arxiv.org/abs/1911.11929, section 3.2; maxout: https://arxiv.org/abs/1302.4389

    Args:
        pool_size: channels per group; 1 is the identity.
        grouping: `"strided"`: output g is the maximum over channels g, g + N, g + 2 N, ... with N
            output channels (Darknet's `maxpool_depth`). `"contiguous"`: over channels g * pool_size
            to (g + 1) * pool_size - 1 (the maxout paper).

    Input shape `(B, H, W, C)`, output shape `(B, H, W, C / pool_size)`.

    Raises:
        ValueError: if the channels are not divisible by `pool_size`.

    >>> x = keras.ops.reshape(keras.ops.array([1.0, 9, 3, 7, 2, 8]), (1, 1, 1, 6))
    >>> [float(v) for v in CrossChannelPooling(2)(x)[0, 0, 0]]
    [7.0, 9.0, 8.0]
    """

    def __init__(self, pool_size, grouping="strided", **kwargs):
        super().__init__(**kwargs)
        self.pool_size = check_int(pool_size, "pool_size")
        self.grouping = check_choice(grouping, "grouping", GROUPINGS)

    def build(self, input_shape):
        if input_shape[-1] % self.pool_size:
            raise ValueError(
                f"Layer {self.name!r}: {input_shape[-1]} channels are not divisible by "
                f"pool_size={self.pool_size}; choose a divisor, or project the map first."
            )

    def call(self, x):
        width = x.shape[-1] // self.pool_size
        if self.grouping == "strided":
            parts = [x[..., i * width : (i + 1) * width] for i in range(self.pool_size)]
        else:
            parts = [x[..., i :: self.pool_size] for i in range(self.pool_size)]
        y = parts[0]
        for part in parts[1:]:
            y = ops.maximum(y, part)
        return y

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // self.pool_size)

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size, "grouping": self.grouping}
