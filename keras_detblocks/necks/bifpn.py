"""BiFPN (EfficientDet, https://arxiv.org/abs/1911.09070), equal to google/automl and effdet.

As in the authors' code, but not in the paper: the activation precedes the separable convolution; in
the first cell each use of an input has its own projection; P6 is made from C5 by a projection and a
max-pool.
"""

import keras

from ..checks import check_choice, check_flag, check_int, level_name, level_number, look_up
from ..layers import (
    Conv2D,
    ConvNormAct,
    MaxPool2D,
    WeightedFusion,
    activation_layer,
    normalization_layer,
    upsample_to,
)
from ..layers.block import Block
from ..layers.folding import normalized
from ..layers.fusion import FUSION_METHODS
from ..layers.normalization import norm_options
from .base import Neck

EPSILON = 1e-3  # epsilon of batch normalization in all published EfficientDets

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
        separable: whether nodes use depthwise-separable convolutions, as published, or plain ones.
        padding: of the max-pools: `"same"` (google/automl and effdet's `tf_` models) or
            `"symmetric"` (effdet's others).
        use_bias: whether convolutions before a normalization have a bias (as in google/automl's and
            effdet's `tf_` models).
        normalization: `"batch"`, `"group"` or `None`. Batch normalization has EfficientDet's
            epsilon of 1e-3.
        activation: before each node's convolution.
        upsampling: `"nearest"` (the paper's) or `"bilinear"`.
        epsilon: of the normalization; EfficientDet has 1e-3. **kwargs: as in `FPN`.

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
        epsilon=EPSILON,
        **kwargs,
    ):
        super().__init__(
            filters, levels, normalization, activation, upsampling, epsilon=epsilon, **kwargs
        )
        if len(self.levels) < 2:
            raise ValueError(f"A BiFPN fuses at least two levels. Received: levels={levels}")
        self.num_repeats = check_int(num_repeats, "num_repeats")
        self.fusion = check_choice(fusion, "fusion", FUSION_METHODS)
        self.separable = check_flag(separable, "separable")
        self.padding = check_choice(padding, "padding", ("same", "symmetric"))
        self.use_bias = check_flag(use_bias, "use_bias")
        self.extras, self.pools, self.cells = {}, {}, []

    @classmethod
    def from_variant(cls, variant, **kwargs):
        """A BiFPN of EfficientDet.

        Args:
            variant: `"d0"` to `"d7x"`, or `"lite0"` to `"lite4"`.
            **kwargs: arguments that override the variant's.
        """
        return cls(**{**look_up(VARIANTS, variant, "variant"), **kwargs})

    def make_levels(self, shapes):
        top = max(level for level in shapes if level <= max(self.levels))
        for level in [level for level in self.levels if level > top]:
            name = level_name(level)
            if not self.extras and shapes[top][-1] != self.filters:
                self.extras[name] = ConvNormAct(name=f"{name}_in", **self._projection())
            below = max(map(level_number, self.pools), default=top)
            self.pools[name] = _pool(level - below, self.padding, f"{name}_pool", self.dtype_policy)
        self.cells = [
            BiFPNCell(self._node_options(), self.levels, name=str(repeat + 1))
            for repeat in range(self.num_repeats)
        ]

    def _projection(self):
        """The arguments of a 1x1 convolution with normalization and without activation."""
        return {
            "filters": self.filters,
            "normalization": self.normalization,
            "activation": None,
            "use_bias": self.use_bias or self.normalization is None,
            "kernel_initializer": "lecun_uniform",
            "dtype": self.dtype_policy,
            **norm_options(self),
        }

    def _node_options(self):
        keys = ("filters", "fusion", "separable", "padding", "normalization", "activation")
        return {
            **{key: getattr(self, key) for key in keys},
            "upsampling": self.upsampling,
            "projection": self._projection(),
        }

    def call(self, features, training=None):
        features = self.inputs(features)
        maps = {level_name(level): features[level] for level in self.levels if level in features}
        x = features[max(level for level in features if level <= max(self.levels))]
        for name, pool in self.pools.items():
            if name in self.extras:
                x = self.extras[name](x, training=training)
            x = maps[name] = pool(x)
        for cell in self.cells:
            maps = cell(maps, training=training)
        return {level_name(level): maps[level_name(level)] for level in self.levels}

    def get_config(self):
        return {
            **super().get_config(),
            "num_repeats": self.num_repeats,
            "fusion": self.fusion,
            "separable": self.separable,
            "padding": self.padding,
            "use_bias": self.use_bias,
        }


class BiFPNCell(Block):
    """One cell, from maps by level name to maps by level name. Not public: it is configured by its
    `BiFPN`.

    Args:
        options: of every node.
        levels: level numbers.
    """

    def __init__(self, options, levels, name):
        super().__init__(name=name, dtype=options["projection"]["dtype"])
        self.nodes = {
            node: BiFPNNode(options, level, sources, name=node)
            for node, level, sources in wiring(levels)
        }

    def call(self, maps, training=None):
        known = {f"{name}_in": x for name, x in maps.items()}
        for name, node in self.nodes.items():
            # A node has the size of its own level's input, its first source.
            known[name] = node([known[source] for source, _ in node.sources], training=training)
        return {name: known[f"{name}_out"] for name in maps}

    def compute_output_shape(self, input_shape):
        filters = next(iter(self.nodes.values())).filters
        return {name: (*shape[:3], filters) for name, shape in input_shape.items()}


class BiFPNNode(Block):
    """A node: resamples every source to its level, fuses, activates, convolves, normalizes. Not
    public: it is configured by its `BiFPN`.

    Args:
        options: of the neck.
        level: the node's.
        sources: (name, level) of each input.
    """

    def __init__(self, options, level, sources, name):
        dtype = options["projection"]["dtype"]
        super().__init__(name=name, dtype=dtype)
        self._projection = options["projection"]
        self.filters, self.upsampling = options["filters"], options["upsampling"]
        self.level, self.sources = level, sources
        self.projections = {}
        self.pools = {
            source: _pool(level - other, options["padding"], f"{source}_pool", dtype)
            for source, other in sources
            if other < level
        }
        self.fusion = WeightedFusion(options["fusion"], name="fusion", dtype=dtype)
        self.act = activation_layer(options["activation"] or "linear", name="act", dtype=dtype)
        bias = self._projection["use_bias"]
        self.convolutions = _convolutions(self.filters, options["separable"], bias, dtype)
        self.norm = _normalization(options["normalization"], self._projection)

    def make_parts(self, input_shape):
        for (source, _), shape in zip(self.sources, input_shape):
            if shape[-1] != self.filters:
                self.projections[source] = ConvNormAct(name=source, **self._projection)

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
        *first, last = self.convolutions
        for convolution in first:
            x = convolution(x)
        return normalized(last, self.norm, x, training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:3], self.filters)


def _normalization(kind, options):
    """The normalization of a node, the same as in its projections, or `None`."""
    if kind is None:
        return None
    return normalization_layer(
        kind,
        epsilon=options["epsilon"],
        momentum=options["momentum"],
        groups=options["norm_groups"],
        name="norm",
        dtype=options["dtype"],
    )


def _pool(steps, padding, name, dtype):
    """A max-pool by `2 ** steps` with EfficientDet's window, one more than the stride."""
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
