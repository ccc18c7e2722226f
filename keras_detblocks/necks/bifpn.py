"""BiFPN (EfficientDet, https://arxiv.org/abs/1911.09070), equal to google/automl and effdet.

Not in the paper but in the authors' code, and here: the activation stands before the separable
convolution; in the first cell each use of an input has its own projection; P6 is made of C5 by a
projection and a max-pool.
"""

import keras

from ..layers import (
    Conv2D,
    MaxPool2D,
    WeightedFusion,
    activation_layer,
    normalization_layer,
    upsample_to,
)
from ..layers.fusion import FUSION_METHODS
from ..weights import Layout, torch_key
from .levels import Neck, level_name

EPSILON = 1e-3  # of batch normalisation, in all published EfficientDets

# google/automl, hparams_config.py: width, cells, levels, fusion, activation.
_FULL = (3, 4, 5, 6, 7)
VARIANTS = {
    name: dict(
        filters=filters, num_repeats=repeats, levels=levels, fusion=fusion, activation=activation
    )
    for name, filters, repeats, levels, fusion, activation in [
        ("d0", 64, 3, _FULL, "fast", "silu"),
        ("d1", 88, 4, _FULL, "fast", "silu"),
        ("d2", 112, 5, _FULL, "fast", "silu"),
        ("d3", 160, 6, _FULL, "fast", "silu"),
        ("d4", 224, 7, _FULL, "fast", "silu"),
        ("d5", 288, 7, _FULL, "fast", "silu"),
        ("d6", 384, 8, _FULL, "sum", "silu"),
        ("d7", 384, 8, _FULL, "sum", "silu"),
        ("d7x", 384, 8, (*_FULL, 8), "sum", "silu"),
        ("lite0", 64, 3, _FULL, "sum", "relu6"),
        ("lite1", 88, 4, _FULL, "sum", "relu6"),
        ("lite2", 112, 5, _FULL, "sum", "relu6"),
        ("lite3", 160, 6, _FULL, "sum", "relu6"),
        ("lite3x", 200, 6, _FULL, "sum", "relu6"),
        ("lite4", 224, 7, _FULL, "sum", "relu6"),
    ]
}


def wiring(levels):
    """The nodes of one cell: a list of `(name, level, inputs)`, inputs as `(name, level)`.

    Cell inputs are called "P3_in", top-down nodes "P4_td", outputs "P3_out". The coarsest level has
    no top-down node and the finest no second one, because a node with one input adds nothing.

    >>> wiring((3, 4))
    [('P3_out', 3, [('P3_in', 3), ('P4_in', 4)]), ('P4_out', 4, [('P4_in', 4), ('P3_out', 3)])]
    """
    last = {level: (f"P{level}_in", level) for level in levels}
    entry = dict(last)
    nodes = []
    for fine, coarse in reversed(list(zip(levels, levels[1:]))):
        name = f"P{fine}_out" if fine == levels[0] else f"P{fine}_td"
        nodes.append((name, fine, [entry[fine], last[coarse]]))
        last[fine] = (name, fine)
    for fine, coarse in zip(levels, levels[1:]):
        own = [entry[coarse]] if last[coarse] == entry[coarse] else [entry[coarse], last[coarse]]
        nodes.append((f"P{coarse}_out", coarse, [*own, last[fine]]))
        last[coarse] = (f"P{coarse}_out", coarse)
    return nodes


@keras.saving.register_keras_serializable(package="keras_detblocks")
class BiFPN(Neck):
    """Weighted bi-directional feature pyramid: repeated cells of a top-down and a bottom-up pass
    with learned fusion weights.

    Paper: https://arxiv.org/abs/1911.09070. `BiFPN.from_variant("d0")` to `"d7x"` and `"lite0"` to
    `"lite4"` give EfficientDet's scaled settings.

    Args:
        filters: width of every level.
        levels: the output levels, at least two. Those above the coarsest input are made from it
            (1x1 convolution, max-pool).
        num_repeats: number of cells.
        fusion: `"fast"`, `"softmax"` or `"sum"` (`WeightedFusion`). `"sum"` with
            `activation="relu6"` is EfficientDet-lite's choice for int8.
        separable: whether nodes convolve depthwise-separably, as published, or plainly.
        padding: of the max-pools: `"same"` (google/automl and effdet's `tf_` models) or
            `"symmetric"` (effdet's others).
        use_bias: whether convolutions before a normalisation have a bias (as google/automl's and
            effdet's `tf_` models).
        normalization: `"batch"`, `"group"` or `None`. Batch normalisation has EfficientDet's
            epsilon of 1e-3.
        activation: before each node's convolution.
        upsampling: `"nearest"` (the paper's) or `"bilinear"`.

    Input: dict of `(B, H, W, C)` by level, each half the size of the finer one, rounded up. Any
    image size works.

    Output: dict of `(B, H, W, filters)` by level.

    Raises:
        ValueError: on arguments out of range, missing levels, or sizes that do not form a pyramid.

    Example:

    >>> features = {"P3": keras.ops.ones((1, 25, 21, 8)), "P4": keras.ops.ones((1, 13, 11, 16))}
    >>> outputs = BiFPN(16, levels=(3, 4, 5), num_repeats=2)(features)
    >>> {level: tuple(x.shape) for level, x in outputs.items()}
    {'P3': (1, 25, 21, 16), 'P4': (1, 13, 11, 16), 'P5': (1, 7, 6, 16)}
    """

    def __init__(
        self,
        filters=64,
        levels=(3, 4, 5, 6, 7),
        num_repeats=3,
        fusion="fast",
        separable=True,
        padding="same",
        use_bias=True,
        normalization="batch",
        activation="silu",
        upsampling="nearest",
        **kwargs,
    ):
        super().__init__(filters, levels, normalization, activation, upsampling, **kwargs)
        if len(self.levels) < 2:
            raise ValueError(f"A BiFPN fuses at least two levels. Received: levels={levels}")
        if not isinstance(num_repeats, int) or num_repeats < 1:
            raise ValueError(
                f"`num_repeats` must be an int of at least 1. Received: num_repeats={num_repeats!r}"
            )
        if fusion not in FUSION_METHODS:
            raise ValueError(
                f"`fusion` must be one of {FUSION_METHODS}. Received: fusion={fusion!r}"
            )
        if padding not in ("same", "symmetric"):
            raise ValueError(
                f"`padding` must be 'same' or 'symmetric'. Received: padding={padding!r}"
            )
        self.num_repeats = num_repeats
        self.fusion = fusion
        self.separable = separable
        self.padding = padding
        self.use_bias = use_bias
        self.extras, self.pools, self.cells = {}, {}, []

    @classmethod
    def from_variant(cls, variant, **kwargs):
        """A BiFPN of EfficientDet D0 to D7x ("d0" ... "d7x") or lite0 to lite4; `kwargs` override
        its arguments."""
        if variant not in VARIANTS:
            raise ValueError(
                f"`variant` must be one of {sorted(VARIANTS)}. Received: variant={variant!r}"
            )
        return cls(**{**VARIANTS[variant], **kwargs})

    def build_levels(self, shapes):
        top = max(level for level in shapes if level <= max(self.levels))
        widths = {level: shapes[level][-1] for level in self.levels if level <= top}
        for level in [level for level in self.levels if level > top]:
            if not self.extras and shapes[top][-1] != self.filters:
                self.extras[level] = self.projection(f"P{level}_in", shapes[top])
            below = max(self.pools, default=top)
            self.pools[level] = _pool(
                level - below, self.padding, f"P{level}_pool", self.dtype_policy
            )
            widths[level] = self.filters
        for repeat in range(self.num_repeats):
            cell = BiFPNCell(self, name=str(repeat + 1), dtype=self.dtype_policy)
            cell.build(
                {
                    f"P{level}_in": (*shapes[top][:1], None, None, width)
                    for level, width in widths.items()
                }
            )
            self.cells.append(cell)
            widths = dict.fromkeys(widths, self.filters)

    def call(self, features, training=None):
        features = self.inputs(features)
        maps = {level: features[level] for level in self.levels if level in features}
        x = features[max(level for level in features if level <= max(self.levels))]
        for level, pool in self.pools.items():
            if level in self.extras:
                x = self.extras[level](x, training=training)
            x = maps[level] = pool(x)
        for cell in self.cells:
            maps = cell(maps, training=training)
        return {level_name(level): maps[level] for level in self.levels}

    def projection(self, name, input_shape):
        """A built 1x1 convolution with normalisation and without activation."""
        options = {
            "activation": None,
            "use_bias": self.use_bias or self.normalization is None,
            "epsilon": EPSILON,
        }
        unit = self.unit(name, **options)
        unit.build(input_shape)
        return unit

    def get_config(self):
        return {
            **super().get_config(),
            "num_repeats": self.num_repeats,
            "fusion": self.fusion,
            "separable": self.separable,
            "padding": self.padding,
            "use_bias": self.use_bias,
        }

    def weight_layouts(self):
        """Names of rwightman/efficientdet-pytorch (below `fpn.`); it counts levels from P3 and cell
        inputs before nodes."""
        rules = [
            (f"^P{level}_in/{ours}/", f"resample.{self.levels.index(level)}.conv.{theirs}/")
            for level in self.extras
            for ours, theirs in (("conv", "conv"), ("norm", "bn"))
        ]
        nodes = wiring(self.levels)
        order = [f"P{level}_in" for level in self.levels] + [name for name, _, _ in nodes]
        for cell in range(self.num_repeats):
            for k, (name, _, inputs) in enumerate(nodes):
                ours, theirs = f"^{cell + 1}/{name}/", f"cell.{cell}.fnode.{k}."
                for source, _ in inputs:
                    offset = order.index(source)
                    rules.append(
                        (f"{ours}{source}/conv/", f"{theirs}combine.resample.{offset}.conv.conv/")
                    )
                    rules.append(
                        (f"{ours}{source}/norm/", f"{theirs}combine.resample.{offset}.conv.bn/")
                    )
                rules.append((f"{ours}fusion/", f"{theirs}combine/"))
                rules.append((f"{ours}depthwise/", f"{theirs}after_combine.conv.conv_dw/"))
                rules.append((f"{ours}pointwise/", f"{theirs}after_combine.conv.conv_pw/"))
                rules.append((f"{ours}norm/", f"{theirs}after_combine.conv.bn/"))
        return [Layout("effdet", torch_key(*rules))]


class BiFPNCell(keras.layers.Layer):
    """One cell: maps by level in and out. Not public: it is configured by its `BiFPN`."""

    def __init__(self, neck, **kwargs):
        super().__init__(**kwargs)
        self.nodes = {
            name: BiFPNNode(neck, level, inputs, name=name, dtype=self.dtype_policy)
            for name, level, inputs in wiring(neck.levels)
        }

    def build(self, input_shape):
        widths = {name: shape[-1] for name, shape in input_shape.items()}
        batch = next(iter(input_shape.values()))[0]
        for name, node in self.nodes.items():
            node.build([(batch, None, None, widths[source]) for source, _ in node.sources])
            widths[name] = node.filters

    def call(self, maps, training=None):
        known = {f"P{level}_in": x for level, x in maps.items()}
        for name, node in self.nodes.items():
            # A node stands at the size of its own level's input, its first source.
            known[name] = node([known[source] for source, _ in node.sources], training=training)
        return {level: known[f"P{level}_out"] for level in maps}


class BiFPNNode(keras.layers.Layer):
    """Resample every source to this level, fuse, activate, convolve, normalise. Not public: it is
    configured by its `BiFPN`."""

    def __init__(self, neck, level, sources, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.upsampling = neck.filters, neck.upsampling
        self.level, self.sources = level, sources
        self.project = neck.projection  # a method: the children it makes belong to this node
        self.projections = {}
        self.pools = {
            source: _pool(level - other, neck.padding, f"{source}_pool", self.dtype_policy)
            for source, other in sources
            if other < level
        }
        self.fusion = WeightedFusion(neck.fusion, name="fusion", dtype=self.dtype_policy)
        self.act = activation_layer(
            neck.activation or "linear", name="act", dtype=self.dtype_policy
        )
        bias = neck.use_bias or neck.normalization is None
        self.convolutions = _convolutions(neck.filters, neck.separable, bias, self.dtype_policy)
        self.norm = None
        if neck.normalization is not None:
            self.norm = normalization_layer(
                neck.normalization, epsilon=EPSILON, name="norm", dtype=self.dtype_policy
            )

    def build(self, input_shape):
        for (source, _), shape in zip(self.sources, input_shape):
            if shape[-1] != self.filters:
                self.projections[source] = self.project(source, shape)
        shape = (input_shape[0][0], None, None, self.filters)
        self.fusion.build([shape] * len(input_shape))
        for layer in (*self.convolutions, *([] if self.norm is None else [self.norm])):
            layer.build(shape)

    def call(self, maps, training=None):
        own, resampled = maps[0], []
        for (source, other), x in zip(self.sources, maps):
            if source in self.projections:
                x = self.projections[source](x, training=training)
            if other < self.level:
                x = self.pools[source](x)
            elif other > self.level:
                x = upsample_to(x, own, self.upsampling, 2 ** (other - self.level))
            resampled.append(x)
        x = self.act(self.fusion(resampled))
        for convolution in self.convolutions:
            x = convolution(x)
        return x if self.norm is None else self.norm(x, training=training)


def _pool(steps, padding, name, dtype):
    """Max-pool by `2 ** steps` with EfficientDet's window of one more than the stride."""
    return MaxPool2D(2**steps + 1, strides=2**steps, padding=padding, name=name, dtype=dtype)


def _convolutions(filters, separable, use_bias, dtype):
    if not separable:
        return [
            Conv2D(
                filters,
                3,
                use_bias=use_bias,
                kernel_initializer="he_normal",
                name="conv",
                dtype=dtype,
            )
        ]
    depthwise = Conv2D(
        filters,
        3,
        groups=filters,
        use_bias=False,
        kernel_initializer="he_normal",
        name="depthwise",
        dtype=dtype,
    )
    pointwise = Conv2D(
        filters,
        1,
        use_bias=use_bias,
        kernel_initializer="lecun_uniform",
        name="pointwise",
        dtype=dtype,
    )
    return [depthwise, pointwise]
