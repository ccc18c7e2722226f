"""Anchor-free detection head: class and box branches shared by all levels (FCOS,
https://arxiv.org/abs/1904.01355)."""

import math

import keras
from keras import ops

from ..checks import check_choice, check_int, check_number, finest_first
from ..layers import Conv2D, activation_layer, normalization_layer
from ..layers.activation import check_activation
from ..layers.block import Block
from ..layers.folding import normalized
from ..layers.normalization import NORMALIZATIONS
from .decode import DISTANCES, LOGITS


@keras.saving.register_keras_serializable(package="keras_detblocks")
class AnchorFreeHead(Block):
    """Predicts, at every cell of every level, class logits and the distances to the four sides of
    the box around it.

    The levels share the convolutions; each level has its own batch normalizations, which keep its
    statistics and fold away in an exported file, and its own learned scale of distances.

    Args:
        num_classes: number of classes.
        filters: width of the branches; `None` for that of the features.
        num_convs: 3x3 convolutions per branch.
        normalization: `"batch"` (per level), `"group"` or `None`.
        activation: name of an activation.
        prior: the probability that every class starts with (https://arxiv.org/abs/1708.02002,
            section 4.1).
        momentum: of the batch normalizations.
        output_kernel_size: of the last convolutions. FCOS uses 3; with 1 each training step changes
            the outputs less, which allows a higher learning rate.

    Input: dict of levels `{"P3": (B, h, w, C), ...}`, equally wide. Output: `{"P3_logits": (B, h,
    w, num_classes), "P3_distances": (B, h, w, 4), ...}` in float32: left, top, right, bottom, in
    units of the level's stride.

    Example:

    >>> maps = {"P4": keras.ops.ones((1, 5, 7, 8)), "P5": keras.ops.ones((1, 3, 4, 8))}
    >>> outputs = AnchorFreeHead(3)(maps)
    >>> tuple(outputs["P5_distances"].shape)
    (1, 3, 4, 4)
    """

    def __init__(
        self,
        num_classes,
        filters=None,
        num_convs=2,
        normalization="batch",
        activation="relu",
        prior=0.01,
        momentum=0.97,
        output_kernel_size=1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = check_int(num_classes, "num_classes")
        self.filters = check_int(filters, "filters", optional=True)
        self.num_convs = check_int(num_convs, "num_convs", least=0)
        self.normalization = check_choice(normalization, "normalization", NORMALIZATIONS)
        self.activation = check_activation(activation)
        self.prior = check_number(prior, "prior", above=0, below=1)
        self.momentum = check_number(momentum, "momentum", least=0, most=1)
        self.output_kernel_size = check_int(output_kernel_size, "output_kernel_size", odd=True)
        self.act = activation_layer(activation, name="act", dtype=self.dtype_policy)
        # Flat dicts, because Keras saves the layers of a list or dict, but not those of a list
        # inside a dict.
        self.convs, self.norms, self.scales = {}, {}, {}

    def build_parts(self, input_shape):
        widths = {shape[-1] for shape in input_shape.values()}
        if len(widths) != 1:
            raise ValueError(
                f"The head's convolutions are shared, so all levels need one width; put a neck "
                f"before it. Received: {input_shape}"
            )
        width = widths.pop()
        filters = self.filters or width
        levels = finest_first(input_shape)
        for branch in (LOGITS, DISTANCES):
            for i in range(self.num_convs):
                conv = self.convs[f"{branch}_{i}"] = self._conv(branch, i, filters)
                conv.build((None, None, None, width if i == 0 else filters))
                for level in levels if self.normalization else ():
                    self.norms[f"{branch}_{level}_{i}"] = self._norm(branch, level, i, filters)
            self.convs[branch] = self._predictor(branch)
            self.convs[branch].build((None, None, None, filters if self.num_convs else width))
        for level in levels:
            self.scales[level] = self.add_weight(
                shape=(), initializer="ones", name=f"{level}_scale", dtype="float32"
            )

    def _conv(self, branch, i, filters):
        return Conv2D(
            filters,
            3,
            use_bias=not self.normalization,
            kernel_initializer="he_normal",
            name=f"{branch}_conv{i + 1}",
            dtype=self.dtype_policy,
        )

    def _norm(self, branch, level, i, filters):
        norm = normalization_layer(
            self.normalization,
            momentum=self.momentum,
            name=f"{branch}_{level}_norm{i + 1}",
            dtype=self.dtype_policy,
        )
        norm.build((None, None, None, filters))
        return norm

    def _predictor(self, branch):
        # Every class starts at the prior's probability, every box three strides wide.
        bias = math.log(self.prior / (1.0 - self.prior)) if branch == LOGITS else 1.5
        return Conv2D(
            self.num_classes if branch == LOGITS else 4,
            self.output_kernel_size,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            bias_initializer=keras.initializers.Constant(bias),
            name=f"{branch}_out",
            dtype="float32",
        )

    def call(self, features, training=None):
        outputs = {}
        for level in finest_first(features):
            for branch in (LOGITS, DISTANCES):
                x = features[level]
                for i in range(self.num_convs):
                    conv = self.convs[f"{branch}_{i}"]
                    norm = self.norms[f"{branch}_{level}_{i}"] if self.normalization else None
                    x = self.act(normalized(conv, norm, x, training))
                outputs[f"{level}_{branch}"] = self.convs[branch](ops.cast(x, "float32"))
            outputs[f"{level}_{DISTANCES}"] = outputs[f"{level}_{DISTANCES}"] * self.scales[level]
        return outputs

    @property
    def classifier(self):
        """The convolution of the class logits, one filter per class."""
        return self.convs[LOGITS]

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "filters": self.filters,
            "num_convs": self.num_convs,
            "normalization": self.normalization,
            "activation": self.activation,
            "prior": self.prior,
            "momentum": self.momentum,
            "output_kernel_size": self.output_kernel_size,
        }
