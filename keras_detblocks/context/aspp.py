"""Atrous spatial pyramid pooling: DeepLabv2's sum (https://arxiv.org/abs/1606.00915), DeepLabv3's
concatenation with image pooling (https://arxiv.org/abs/1706.05587).

Numbers agree with torchvision's and kazuto1011/deeplab-pytorch's. DeepLabv2 has its ResNet form
here, with one convolution per rate.
"""

import keras
from keras import ops

from ..checks import check_choice, check_flag, check_int, check_ints, check_number
from ..layers.activation import check_activation
from ..layers.normalization import NORMALIZATIONS
from .base import ContextBlock, check_map, in_turn

# DeepLabv3's rates by the backbone's output stride: the same distances in pixels of the image.
RATES = {8: (12, 24, 36), 16: (6, 12, 18)}


@keras.saving.register_keras_serializable(package="keras_detblocks")
class ASPP(ContextBlock):
    """Atrous spatial pyramid pooling: parallel dilated convolutions, and the global average as a
    further branch.

    Papers: https://arxiv.org/abs/1706.05587 (DeepLabv3), https://arxiv.org/abs/1606.00915
    (DeepLabv2)

    Args:
        filters: width of each branch and of the output (with `merge="sum"` usually the number of
            classes).
        rates: dilation of the 3x3 convolutions; `None` for DeepLabv3's at `output_stride`; `()` for
            none, only the 1x1 convolution and the image pooling, as in DeepLab on mobile backbones.
            On the small maps of a detector's coarsest level scale them down, (3, 6, 9) for 20 x 20:
            a rate beyond the map sees its center only. DeepLabv2: (6, 12, 18, 24), its small form
            (2, 4, 8, 12).
        merge: `"concat"` (DeepLabv3): a 1x1 convolution, the rates and the image pooling,
            concatenated and projected, each with batch normalization and activation. `"sum"`
            (DeepLabv2): only the rates, with a bias and without normalization and activation, added
            up; `separable` and `output_stride` are refused, and the other arguments below do not
            apply.
        image_pooling: whether the global average, after a 1x1 convolution, is concatenated too.
        separable: whether the dilated convolutions are depthwise and pointwise, both with
            normalization and activation. A dilated depthwise convolution is exported as a grouped
            CONV_2D: as fast as DEPTHWISE_CONV_2D in TFLite with XNNPACK, but 12 to 18 times slower
            with TFLite's builtin kernels (20 x 20 x 256).
        dropout: rate of the dropout after the projection (torchvision: 0.5).
        pool_normalization: `"batch"`, or `None` for a bias in the image pooling (detectron2): over
            a batch of one image, training-mode statistics of a 1x1 map are that image itself, and
            the branch collapses to the shift.
        activation: a name.
        output_stride: of the backbone, 8 or 16, which decides the rates: (12, 24, 36) or (6, 12,
            18); `rates=None` without it means the latter.

    Input shape `(B, H, W, C)`, any size, output shape `(B, H, W, filters)`.

    Raises:
        ValueError: on rates below 1, an unknown merge, arguments that this merge does not have,
            both `output_stride` and `rates`, or an input that is not one feature map.

    >>> tuple(ASPP(16, rates=(3, 6, 9))(keras.ops.ones((1, 20, 13, 8))).shape)
    (1, 20, 13, 16)
    """

    def __init__(
        self,
        filters=256,
        rates=None,
        merge="concat",
        image_pooling=True,
        separable=False,
        dropout=0.1,
        pool_normalization="batch",
        activation="relu",
        output_stride=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = check_int(filters, "filters")
        self.merge = check_choice(merge, "merge", ("concat", "sum"))
        self.rates = None if rates is None else check_ints(rates, "rates", empty=merge == "concat")
        self.output_stride = check_choice(output_stride, "output_stride", (*RATES, None))
        self.dilations = self._dilations()
        self.image_pooling = check_flag(image_pooling, "image_pooling")
        self.separable = check_flag(separable, "separable")
        if merge == "sum" and separable:
            raise ValueError(
                "DeepLabv2's sum has plain convolutions: use separable=False or merge='concat'. "
                "Received: separable=True"
            )
        self.dropout = check_number(dropout, "dropout", least=0, below=1)
        self.pool_normalization = check_choice(
            pool_normalization, "pool_normalization", NORMALIZATIONS
        )
        self.activation = check_activation(activation)
        self.dropout_layer = keras.layers.Dropout(
            self.dropout, name="dropout", dtype=self.dtype_policy
        )
        self.branches, self.image_pool, self.project = [], None, None

    def _dilations(self):
        if self.output_stride is None:
            return RATES[16] if self.rates is None else self.rates
        if self.rates is not None or self.merge == "sum":
            raise ValueError(
                "`output_stride` stands for DeepLabv3's rates, so `rates` must be None and `merge` "
                f"'concat'. Received: output_stride={self.output_stride}, rates={self.rates}, "
                f"merge={self.merge!r}"
            )
        return RATES[self.output_stride]

    def make_parts(self, input_shape):
        channels = input_shape[-1]
        if self.merge == "sum":
            self.branches = [
                [self._summand(f"rate{i}", rate)] for i, rate in enumerate(self.dilations)
            ]
            return
        rated = [self._rated(f"rate{i}", r, channels) for i, r in enumerate(self.dilations)]
        self.branches = [[self._unit("conv1x1")], *rated]
        if self.image_pooling:
            self.image_pool = self._unit("image_pool", normalization=self.pool_normalization)
        self.project = self._unit("project")

    def _unit(self, name, kernel_size=1, filters=None, **options):
        options = {"activation": self.activation, **options}
        return self.unit(name, filters or self.filters, kernel_size, **options)

    def _summand(self, name, rate):
        # One initializer for each, since an initializer always draws the same values.
        normal = keras.initializers.RandomNormal(stddev=0.01)
        options = {"normalization": None, "activation": None, "kernel_initializer": normal}
        return self._unit(name, 3, dilation_rate=rate, **options)

    def _rated(self, name, rate, channels):
        if not self.separable:
            return [self._unit(name, 3, dilation_rate=rate)]
        depthwise = self._unit(
            f"{name}_depthwise", 3, channels, groups=channels, dilation_rate=rate
        )
        return [depthwise, self._unit(f"{name}_pointwise")]

    def call(self, x, training=None):
        check_map(x.shape, self)
        maps = [in_turn(branch, x, training) for branch in self.branches]
        if self.merge == "sum":
            return sum(maps[1:], start=maps[0])
        if self.image_pooling:
            pooled = self.image_pool(ops.mean(x, axis=(1, 2), keepdims=True), training=training)
            # A bilinear resize from 1x1 is a constant: broadcasting is exact, at any size.
            maps.append(ops.broadcast_to(pooled, ops.shape(maps[0])))
        y = self.project(ops.concatenate(maps, axis=-1), training=training)
        return self.dropout_layer(y, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "rates": self.rates,
            "merge": self.merge,
            "image_pooling": self.image_pooling,
            "separable": self.separable,
            "dropout": self.dropout,
            "pool_normalization": self.pool_normalization,
            "activation": self.activation,
            "output_stride": self.output_stride,
        }
