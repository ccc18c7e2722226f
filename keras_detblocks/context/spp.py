"""Spatial pyramid pooling: SPP-net's fixed-length vector (https://arxiv.org/abs/1406.4729) and the
same-size form of detectors.

YOLOv3-SPP and YOLOv4 (https://arxiv.org/abs/2004.10934) concatenate a map with its own max-pools;
YOLOv5 computes the same numbers by a chain of small windows. Numbers agree with ultralytics/yolov3,
ultralytics/yolov5 and GOATmessi8/ASFF.
"""

import keras
from keras import ops

from ..checks import check_choice, check_flag, check_int, check_ints, who
from ..layers import MaxPool2D
from ..layers.activation import check_activation
from .base import ContextBlock, check_map, in_turn


class _PooledConcat(ContextBlock):
    """A map and its max-pools, concatenated, between two optional 1x1 convolutions. Subclasses
    define `pooled(x)`. Not public."""

    def __init__(
        self,
        filters,
        hidden_filters,
        largest_first,
        activation,
        hidden_activation,
        epsilon,
        **kwargs,
    ):
        super().__init__(epsilon=epsilon, **kwargs)
        self.filters = check_int(filters, "filters", optional=True)
        self.hidden_filters = check_int(hidden_filters, "hidden_filters", optional=True)
        if filters is None and hidden_filters is not None:
            raise ValueError(
                "`hidden_filters` needs `filters`: without it there are no convolutions. Received: "
                f"hidden_filters={hidden_filters}"
            )
        self.largest_first = check_flag(largest_first, "largest_first")
        self.activation = check_activation(activation)
        self.hidden_activation = check_activation(hidden_activation, "hidden_activation")
        self.reduce = self.project = None

    def make_parts(self, input_shape):
        if self.filters is None:
            return
        hidden = self.hidden_filters or max(input_shape[-1] // 2, 1)
        self.reduce = self.unit("reduce", hidden, activation=self.hidden_activation)
        self.project = self.unit("project", self.filters, activation=self.activation)

    def call(self, x, training=None):
        check_map(x.shape, self)
        x = x if self.filters is None else self.reduce(x, training=training)
        maps = self.pooled(x)
        y = ops.concatenate(maps[::-1] if self.largest_first else maps, axis=-1)
        return y if self.filters is None else self.project(y, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "hidden_filters": self.hidden_filters,
            "largest_first": self.largest_first,
            "activation": self.activation,
            "hidden_activation": self.hidden_activation,
        }


@keras.saving.register_keras_serializable(package="keras_detblocks")
class SPP(_PooledConcat):
    """The SPP block of detectors: a map concatenated with its stride-1 max-pools of several sizes.

    Papers: https://arxiv.org/abs/1406.4729, https://arxiv.org/abs/2004.10934 (YOLOv4). `SPPF` gives
    the same numbers in half the time or less.

    Args:
        pool_sizes: odd window sizes. A window larger than the map is a global maximum.
        filters: `None` for the pools alone (Darknet, ASFF's code); an int for a 1x1 convolution to
            `hidden_filters` before and one to `filters` after them (YOLOv3 and YOLOv5 in PyTorch,
            YOLOX, mmdetection).
        hidden_filters: half the input channels by default.
        largest_first: whether to concatenate in Darknet's order, which is the reverse of the
            default: the map, then the pools as given. The blocks of the next kernel's rows follow
            it.
        activation, hidden_activation: of the convolution after and before the pools.
        epsilon: of their batch normalization. The YOLO models set 1e-3.

    Input shape `(B, H, W, C)`. Output shape `(B, H, W, (1 + len(pool_sizes)) * C)`, or `(B, H, W,
    filters)`.

    Raises:
        ValueError: on even or missing windows, or an input that is not one feature map.

    >>> tuple(SPP()(keras.ops.ones((1, 10, 7, 8))).shape)
    (1, 10, 7, 32)
    """

    def __init__(
        self,
        pool_sizes=(5, 9, 13),
        filters=None,
        hidden_filters=None,
        largest_first=False,
        activation="silu",
        hidden_activation="silu",
        epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(
            filters, hidden_filters, largest_first, activation, hidden_activation, epsilon, **kwargs
        )
        self.pool_sizes = check_ints(pool_sizes, "pool_sizes", odd=True)
        self.pools = [
            MaxPool2D(size, name=f"pool{size}", dtype=self.dtype_policy) for size in self.pool_sizes
        ]

    @property
    def num_maps(self):
        return 1 + len(self.pool_sizes)

    def pooled(self, x):
        return [x, *(pool(x) for pool in self.pools)]

    def get_config(self):
        return {"pool_sizes": self.pool_sizes, **super().get_config()}


@keras.saving.register_keras_serializable(package="keras_detblocks")
class SPPF(_PooledConcat):
    """SPP by a chain of equal windows: three of 5 see what windows of 5, 9 and 13 see, bit for bit,
    in a fraction of the time.

    Paper: https://arxiv.org/abs/2004.10934 for the block; the chain is YOLOv5's. Checkpoints of
    `SPP` and `SPPF` are interchangeable. n windows of size k in a row equal one of size n * (k - 1)
    + 1.

    Args:
        filters: as in `SPP`: `None` for the pools alone.
        pool_size: odd window size.
        num_pools: length of the chain.
        hidden_filters: half the input channels by default.
        activation, hidden_activation: of the convolution after and before the pools; YOLO26 has
            `hidden_activation=None`.
        epsilon: of their batch normalization. The YOLO models set 1e-3.
        largest_first: as in `SPP`: the order of the concatenation in Darknet.

    Input shape `(B, H, W, C)`. Output shape `(B, H, W, (1 + num_pools) * C)`, or `(B, H, W,
    filters)`.

    Raises:
        ValueError: on an even window, or an input that is not one feature map.

    >>> tuple(SPPF(16)(keras.ops.ones((1, 10, 7, 8))).shape)
    (1, 10, 7, 16)
    """

    def __init__(
        self,
        filters=None,
        pool_size=5,
        num_pools=3,
        hidden_filters=None,
        activation="silu",
        hidden_activation="silu",
        epsilon=1e-5,
        largest_first=False,
        **kwargs,
    ):
        super().__init__(
            filters, hidden_filters, largest_first, activation, hidden_activation, epsilon, **kwargs
        )
        self.pool_size = check_int(pool_size, "pool_size", odd=True)
        self.num_pools = check_int(num_pools, "num_pools")
        self.pool = MaxPool2D(self.pool_size, name="pool", dtype=self.dtype_policy)

    @property
    def num_maps(self):
        return 1 + self.num_pools

    def pooled(self, x):
        maps = [x]
        for _ in range(self.num_pools):
            maps.append(self.pool(maps[-1]))
        return maps

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size, "num_pools": self.num_pools}


@keras.saving.register_keras_serializable(package="keras_detblocks")
class SPPCSP(ContextBlock):
    """SPP inside a cross-stage partial block: 1x1, 3x3, 1x1, SPP, 1x1, 3x3 on one path, a 1x1 on
    the other, joined by a 1x1.

    Papers: https://arxiv.org/abs/2011.08036 (Scaled-YOLOv4), https://arxiv.org/abs/2207.02696
    (YOLOv7, whose form this is, there called SPPCSPC). The pools are a chain, as in `SPPF`: the
    same numbers as windows of 5, 9 and 13.

    Args:
        filters: output width. hidden_filters: of both paths; `filters` by default, as published.
        pool_size, num_pools: as in `SPPF`.
        activation: of every convolution.
        epsilon: of the batch normalization. The YOLO models set 1e-3.
        largest_first: as in `SPP`: the order of the concatenation in Darknet's configurations of
            this block.

    Input shape `(B, H, W, C)`, output shape `(B, H, W, filters)`.

    >>> tuple(SPPCSP(16)(keras.ops.ones((1, 10, 7, 8))).shape)
    (1, 10, 7, 16)
    """

    def __init__(
        self,
        filters,
        hidden_filters=None,
        pool_size=5,
        num_pools=3,
        activation="silu",
        epsilon=1e-5,
        largest_first=False,
        **kwargs,
    ):
        super().__init__(epsilon=epsilon, **kwargs)
        self.filters = check_int(filters, "filters")
        self.hidden_filters = check_int(hidden_filters, "hidden_filters", optional=True)
        self.activation = check_activation(activation)
        self.largest_first = check_flag(largest_first, "largest_first")
        width = self.hidden_filters or self.filters
        self.deep = [self._unit(f"deep{i}", width, kernel) for i, kernel in enumerate((1, 3, 1))]
        self.spp = SPPF(
            None,
            pool_size,
            num_pools,
            largest_first=largest_first,
            name="spp",
            dtype=self.dtype_policy,
        )
        self.pool_size, self.num_pools = self.spp.pool_size, self.spp.num_pools
        self.after = [self._unit(f"after{i}", width, kernel) for i, kernel in enumerate((1, 3))]
        self.short = self._unit("short", width, 1)
        self.project = self._unit("project", self.filters, 1)

    def _unit(self, name, filters, kernel_size):
        return self.unit(name, filters, kernel_size, activation=self.activation)

    def call(self, x, training=None):
        check_map(x.shape, self)
        deep = self.spp(in_turn(self.deep, x, training))
        both = [in_turn(self.after, deep, training), self.short(x, training=training)]
        return self.project(ops.concatenate(both, axis=-1), training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "hidden_filters": self.hidden_filters,
            "pool_size": self.pool_size,
            "num_pools": self.num_pools,
            "activation": self.activation,
            "largest_first": self.largest_first,
        }


@keras.saving.register_keras_serializable(package="keras_detblocks")
class SpatialPyramidPooling(keras.layers.Layer):
    """SPP-net's pooling: a vector of fixed length from a map of any size, one value per channel and
    bin of each pyramid level.

    Paper: https://arxiv.org/abs/1406.4729

    Args:
        bins: per pyramid level, the number of bins along each side. The paper: (1, 2, 3, 6) or (1,
            2, 3, 4).
        mode: `"max"` (the paper's) or `"average"`.
        form: `"adaptive"`: bin j of n spans floor(j * a / n) to ceil((j + 1) * a / n), the paper's
            rule for whole images and that of PyTorch's adaptive pooling. `"window"`: windows of
            ceil(a / n) at every floor(a / n) pixels, the paper's rule for training at one size; it
            may miss the last rows, and if it gives more than n windows only the first n count, so
            that the length is fixed. A dynamic side that turns out to be below n has no such
            windows and is binned by the other rule.
        flatten: `False` for the output `(B, number of bins, C)`.

    Input shape `(B, H, W, C)`, `H` and `W` dynamic or not. Output shape `(B, sum(n * n for n in
    bins) * C)`: levels in the given order, within a level the bins row by row, within a bin the
    channels. (PyTorch and Caffe flatten each level channels first: permute the rows of a dense
    layer's kernel that was trained there.)

    Raises:
        ValueError: if a static side is smaller than the number of bins. (A dynamic one cannot be
            checked: its bins overlap.)

    >>> tuple(SpatialPyramidPooling((1, 2, 4))(keras.ops.ones((2, 13, 10, 8))).shape)
    (2, 168)
    """

    def __init__(self, bins=(1, 2, 4), mode="max", form="adaptive", flatten=True, **kwargs):
        super().__init__(**kwargs)
        self.bins = check_ints(bins, "bins")
        self.mode = check_choice(mode, "mode", ("max", "average"))
        self.form = check_choice(form, "form", ("adaptive", "window"))
        self.flatten = check_flag(flatten, "flatten")

    def build(self, input_shape):
        self._check(input_shape)

    def _check(self, input_shape):
        shape = check_map(input_shape, self)
        if any(side is not None and side < max(self.bins) for side in shape[1:3]):
            raise ValueError(
                f"{who(self)} with bins={self.bins} expects a map of at least {max(self.bins)} by "
                f"{max(self.bins)}; use larger images, an earlier level or fewer bins. Received: "
                f"height and width {shape[1:3]}"
            )

    def call(self, x):
        self._check(x.shape)
        channels = x.shape[-1]
        levels = [ops.reshape(self._pool(x, n), (-1, n * n, channels)) for n in self.bins]
        y = ops.concatenate(levels, axis=1) if len(levels) > 1 else levels[0]
        return ops.reshape(y, (-1, sum(n * n for n in self.bins) * channels)) if self.flatten else y

    def _pool(self, x, n):
        height, width = x.shape[1:3]
        if self.mode == "average":
            # Not AVERAGE_POOL_2D, even where it fits: int8 TFLite ties its output to the scale of
            # its input, which is coarse for averages, and the converter then gets the ranges of a
            # concatenation wrong (errors above one deviation).
            return (
                ops.mean(x, axis=(1, 2), keepdims=True)
                if n == 1
                else self._reduce(self._reduce(x, 1, n), 2, n)
            )
        if height is not None and width is not None and not (height % n or width % n):
            window = (height // n, width // n)  # one operator
            return ops.max_pool(x, window, window, data_format="channels_last")
        return self._reduce(self._reduce(x, 1, n), 2, n)

    def _reduce(self, x, axis, n):
        """Reduces the bins along one axis: a maximum or mean over a rectangle is one over rows,
        then over columns."""
        reduce = ops.max if self.mode == "max" else ops.mean
        if n == 1:
            return reduce(x, axis=axis, keepdims=True)
        side = ops.shape(x)[axis]
        parts = []
        for j in range(n):
            start, stop = self._edges(j, n, side)
            part = x[:, start:stop] if axis == 1 else x[:, :, start:stop]
            parts.append(reduce(part, axis=axis, keepdims=True))
        return ops.concatenate(parts, axis=axis)

    def _edges(self, j, n, side):
        """The start and end of bin j of n on a side, which is an int, or a scalar in a dynamic
        graph."""
        adaptive = j * side // n, ((j + 1) * side + n - 1) // n
        if self.form == "adaptive":
            return adaptive
        window = j * (side // n), j * (side // n) + (side + n - 1) // n
        if isinstance(side, int):  # was checked to be at least n
            return window
        return tuple(ops.where(side < n, *each) for each in zip(adaptive, window))

    def get_config(self):
        return {
            **super().get_config(),
            "bins": self.bins,
            "mode": self.mode,
            "form": self.form,
            "flatten": self.flatten,
        }
