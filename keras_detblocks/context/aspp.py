"""Atrous spatial pyramid pooling: DeepLabv2's sum (https://arxiv.org/abs/1606.00915), DeepLabv3's
concatenation with image pooling (https://arxiv.org/abs/1706.05587).

Numbers agree with torchvision's and kazuto1011/deeplab-pytorch's. DeepLabv2 here is its ResNet
form, one convolution per rate.
"""

import keras
import numpy as np
from keras import ops

from ..layers import ConvNormAct
from ..weights import Layout, torch_key
from .checks import check_count, check_map, positive_ints

# DeepLabv3's, by the output stride of the backbone: as far in pixels of the image at each.
RATES = {8: (12, 24, 36), 16: (6, 12, 18)}


@keras.saving.register_keras_serializable(package="keras_detblocks")
class ASPP(keras.layers.Layer):
    """Atrous spatial pyramid pooling: parallel dilated convolutions, and the global average as a
    further branch.

    Papers: https://arxiv.org/abs/1706.05587 (DeepLabv3), https://arxiv.org/abs/1606.00915
    (DeepLabv2)

    Args:
        filters: width of each branch and of the output (with `merge="sum"` usually the number of
            classes).
        rates: dilation of the 3x3 convolutions; `None` for DeepLabv3's at `output_stride`; `()` for
            no such convolution, only the 1x1 and the image pooling, as DeepLab on mobile backbones.
            On the small maps of a detector's coarsest level scale them down, (3, 6, 9) for 20 x 20:
            a rate beyond the map sees its centre only. DeepLabv2: (6, 12, 18, 24), its small form
            (2, 4, 8, 12).
        merge: `"concat"`: DeepLabv3: a 1x1 convolution, the rates and the image pooling,
            concatenated and projected, each with batch normalisation and activation. `"sum"`:
            DeepLabv2: the rates alone, with bias and nothing else, added up; `separable` and
            `output_stride` are refused, and the other arguments below do not apply.
        image_pooling: whether the global average, after a 1x1 convolution, is concatenated too.
        separable: whether the dilated convolutions are depthwise and pointwise, both with
            normalisation and activation. A dilated depthwise convolution is exported as a grouped
            CONV_2D: as fast as DEPTHWISE_CONV_2D in TFLite with XNNPACK, but 12 to 18 times slower
            with TFLite's builtin kernels (20 x 20 x 256).
        dropout: rate, after the projection (torchvision: 0.5).
        pool_normalization: `"batch"`, or `None` for a bias in the image pooling (detectron2): over
            a batch of one image, training-mode statistics of a 1x1 map are that image itself, and
            the branch collapses to the shift.
        activation: a name.
        output_stride: of the backbone, 8 or 16, where it gives the rates: (12, 24, 36) or (6, 12,
            18), which `rates=None` alone means too.

    Input shape `(B, H, W, C)`, any size, output shape `(B, H, W, filters)`.

    Raises:
        ValueError: on rates below 1, an unknown merge, arguments that this merge does not have,
            `output_stride` beside `rates`, or an input that is not one feature map.

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
        if merge not in ("concat", "sum"):
            raise ValueError(
                f"`merge` must be 'concat' (DeepLabv3) or 'sum' (DeepLabv2). Received: "
                f"merge={merge!r}"
            )
        if pool_normalization not in ("batch", None):
            raise ValueError(
                f"`pool_normalization` must be 'batch' or None. Received: "
                f"pool_normalization={pool_normalization!r}"
            )
        if merge == "sum" and separable:
            raise ValueError(
                "DeepLabv2's sum has plain convolutions: use separable=False or merge='concat'. "
                "Received: separable=True"
            )
        self.filters = check_count(filters, "filters")
        self.rates = (
            None if rates is None else positive_ints(rates, "rates", empty=merge == "concat")
        )
        self.output_stride = output_stride
        self.merge = merge
        self.dilations = self._dilations()
        self.image_pooling = image_pooling
        self.separable = separable
        self.dropout = dropout
        self.pool_normalization = pool_normalization
        self.activation = activation
        self.dropout_layer = keras.layers.Dropout(dropout, name="dropout", dtype=self.dtype_policy)
        self.branches, self.image_pool, self.project = [], None, None

    def _dilations(self):
        if self.output_stride is None:
            return RATES[16] if self.rates is None else self.rates
        if self.output_stride not in list(RATES) or self.rates is not None or self.merge == "sum":
            raise ValueError(
                f"`output_stride` must be {' or '.join(map(str, RATES))}, or None, and stands for "
                f"DeepLabv3's rates, so `rates` "
                "must be None and `merge` 'concat'; for other strides give the rates alone. "
                "Received: "
                f"output_stride={self.output_stride!r}, rates={self.rates}, merge={self.merge!r}"
            )
        return RATES[self.output_stride]

    def build(self, input_shape):
        shape = check_map(input_shape, self)
        if self.merge == "sum":
            normal = keras.initializers.RandomNormal(stddev=0.01)
            options = {"normalization": None, "activation": None, "kernel_initializer": normal}
            self.branches = [
                [self._unit(f"rate{i}", 3, dilation_rate=r, **options)]
                for i, r in enumerate(self.dilations)
            ]
        else:
            rated = [self._rated(f"rate{i}", r, shape[-1]) for i, r in enumerate(self.dilations)]
            self.branches = [[self._unit("conv1x1")], *rated]
            if self.image_pooling:
                self.image_pool = self._unit("image_pool", normalization=self.pool_normalization)
                self.image_pool.build((shape[0], 1, 1, shape[-1]))
            self.project = self._unit("project")
            self.project.build(
                (*shape[:3], (len(self.branches) + bool(self.image_pooling)) * self.filters)
            )
        for branch in self.branches:
            for unit in branch:  # only the last one changes the width
                unit.build(shape)

    def _unit(self, name, kernel_size=1, filters=None, **options):
        options = {"activation": self.activation, **options}
        return ConvNormAct(
            filters or self.filters, kernel_size, name=name, dtype=self.dtype_policy, **options
        )

    def _rated(self, name, rate, channels):
        if not self.separable:
            return [self._unit(name, 3, dilation_rate=rate)]
        depthwise = self._unit(
            f"{name}_depthwise", 3, channels, groups=channels, dilation_rate=rate
        )
        return [depthwise, self._unit(f"{name}_pointwise")]

    def call(self, x, training=None):
        check_map(x.shape, self)
        maps = [_in_turn(branch, x, training) for branch in self.branches]
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

    def weight_layouts(self):
        if self.merge == "sum":
            # The keys of the whole model, of its core within the multi-scale wrapper, and of the
            # block alone.
            spellings = ("", "aspp.", "base.aspp.")
            return [
                Layout("kazuto1011 v2", torch_key((r"^rate(\d+)/conv/", rf"{start}c\1/")))
                for start in spellings
            ]
        branches = ["conv1x1", *(f"rate{i}" for i in range(len(self.dilations)))]
        separable = [
            (rf"^rate{i}_(\w+)/(?:conv/)?", rf"convs.{i + 1}.\1/")
            for i in range(len(self.dilations))
        ]
        return [
            Layout("torchvision", torch_key(*_rules(branches, ".0/", ".1/", ".1/", ".2/"))),
            Layout(
                "detectron2",
                torch_key(*separable, *_rules(branches, "/", "/norm/", ".1/", ".1.norm/")),
            ),
            Layout("kazuto1011 v3", torch_key(*_KAZUTO_V3)),
            Layout("TensorFlow DeepLab", _tensorflow_key, self._from_tensorflow),
            Layout("bonlime", _bonlime_key, self._from_tensorflow),
            Layout(
                "bonlime", lambda path: f"{_bonlime_key(path)}:0", self._from_tensorflow
            ),  # as TF 1 names variables
        ]

    def _from_tensorflow(self, key, array):
        """Into PyTorch's order, with the image pooling's rows of the projection, which TensorFlow
        has first, last."""
        if array.ndim != 4:
            return array
        if key.startswith("concat_projection/") and self.image_pooling:
            array = np.roll(array, -self.filters, axis=2)
        return array.transpose(2, 3, 0, 1) if "/depthwise_" in key else array.transpose(3, 2, 0, 1)


def _in_turn(units, x, training):
    for unit in units:
        x = unit(x, training=training)
    return x


def _rules(branches, conv, norm, pool_conv, pool_norm):
    """PyTorch's names where branch i is `convs.i`, the image pooling the last one; the parts'
    endings are given."""
    names = [
        *((name, f"convs.{i}", conv, norm) for i, name in enumerate(branches)),
        ("project", "project", conv, norm),
    ]
    names.append(("image_pool", f"convs.{len(branches)}", pool_conv, pool_norm))
    rules = [(f"^{ours}/conv/", theirs + conv_end) for ours, theirs, conv_end, _ in names]
    return rules + [(f"^{ours}/norm/", theirs + norm_end) for ours, theirs, _, norm_end in names]


_KAZUTO_V3 = (
    (r"/norm/", "/bn/"),
    (r"^conv1x1/", "aspp.stages.c0/"),
    *((f"^rate{i}/", f"aspp.stages.c{i + 1}/") for i in range(8)),
    (r"^image_pool/", "aspp.stages.imagepool.conv/"),
    (r"^project/", "fc1/"),
)


def _tensorflow_key(path):
    unit, part, variable = path.split("/")
    unit = _tensorflow_unit(unit)
    if part == "norm":
        return f"{unit}/BatchNorm/{variable}"
    kernel = "depthwise_weights" if unit.endswith("_depthwise") else "weights"
    return f"{unit}/{kernel if variable == 'kernel' else 'biases'}"


def _bonlime_key(path):
    """Keras' variables of layers with TensorFlow's names."""
    unit, part, variable = path.split("/")
    unit = _tensorflow_unit(unit)
    if part == "norm":
        return f"{unit}_BN/{variable}"
    return (
        f"{unit}/{'depthwise_' * (unit.endswith('_depthwise') and variable == 'kernel')}{variable}"
    )


def _tensorflow_unit(unit):
    stem, _, kind = unit.partition("_")
    if stem.startswith("rate"):
        return f"aspp{int(stem[4:]) + 1}" + (f"_{kind}" if kind else "")
    return {"conv1x1": "aspp0", "image_pool": "image_pooling", "project": "concat_projection"}[unit]
