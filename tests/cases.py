"""One row per layer of the package: what `test_contract.py`, `test_distribute.py` and the export
tests run over.

Add a row for every public layer, with values other than the defaults and sizes that are odd and not
square.
"""

import importlib.util
import inspect
from dataclasses import dataclass

import keras
import numpy as np
import pytest

import keras_detblocks as kdb

# torch is no dependency of the tests: where somebody has installed it, they run on Keras' PyTorch
# backend too.
NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)


@dataclass(frozen=True)
class Case:
    """How to build a layer, and what to feed it.

    Attributes:
        name: unique.
        layer: its name in `keras_detblocks`.
        arguments: of the constructor; a layer in them is a dict with key `layer`.
        channels: an int for a layer that takes one map, a dict by level number for one that takes a
            dict of levels, a list of ints for one that takes a list of maps of one size.
        size: height and width of the map, or of the image whose levels are taken.
        other_size: another size that the same layer must take.
        dynamic: whether height and width may be unknown when the layer is built into a model.
        replicas: whether it is trained on two replicas: one case per kind of layer, each costs
            seconds.
        random: whether training is random (dropout), which replicas cannot reproduce.
    """

    name: str
    layer: str
    arguments: dict
    channels: int | dict | list
    size: tuple = (13, 10)
    other_size: tuple = (16, 19)
    dynamic: bool = True
    replicas: bool = False
    random: bool = False

    def build(self, **kwargs):
        return getattr(kdb, self.layer)(**{**self.made_arguments(), **kwargs})

    def built(self, **kwargs):
        """The layer with its weights."""
        layer = self.build(**kwargs)
        layer.build(self.build_shape())
        return layer

    def build_shape(self):
        """What `build` takes: shapes with the batch."""
        return _map(lambda shape, name=None: (2, *shape), self.shapes())

    def int_arguments(self):
        """The constructor's arguments that are ints or tuples of ints, as passed or by default."""
        signature = inspect.signature(getattr(kdb, self.layer).__init__).parameters
        known = {name: each.default for name, each in signature.items()}
        known = {**known, **self.arguments}
        return {name: value for name, value in known.items() if _ints(value)}

    def made_arguments(self):
        """The arguments with new layers in the places of configs."""
        return {key: _made(value) for key, value in self.arguments.items()}

    def shapes(self, size=None):
        """Shapes without the batch, in the structure that the layer takes."""
        height, width = size or self.size
        if isinstance(self.channels, dict):
            return {
                f"P{l}": (-(-height // 2**l), -(-width // 2**l), c)
                for l, c in self.channels.items()
            }
        if isinstance(self.channels, list):
            return [(height, width, c) for c in self.channels]
        return (height, width, self.channels)

    def inputs(self, size=None, batch=2, seed=0):
        """Random arrays of `shapes(size)`."""
        rng = np.random.default_rng(seed)
        return _map(
            lambda shape, name=None: rng.normal(size=(batch, *shape)).astype("float32"),
            self.shapes(size),
        )

    def model(self, dynamic=None, **kwargs):
        """The layer as a functional model with one input per map; dynamic in height and width where
        the case allows it."""
        dynamic = self.dynamic if dynamic is None else dynamic
        inputs = _map(
            lambda shape, name=None: keras.Input(
                (None, None, shape[-1]) if dynamic else shape, name=name
            ),
            self.shapes(),
        )
        return keras.Model(inputs, self.build(**kwargs)(inputs), name=self.name)


def _ints(value):
    if isinstance(value, (tuple, list)):
        return bool(value) and all(map(_ints, value)) and not isinstance(value[0], (tuple, list))
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def freeze_some(model):
    """Freezes every third layer with weights of its own, the same ones in every model like it."""
    layers = [layer for layer in model._flatten_layers() if layer._trainable_variables]
    for layer in layers[::3]:
        layer.trainable = False


def _made(value):
    """A new layer for a dict of `layer`, its name, and its arguments; anything else as it is."""
    if not (isinstance(value, dict) and "layer" in value):
        return value
    return getattr(kdb, value["layer"])(
        **{key: each for key, each in value.items() if key != "layer"}
    )


def _map(function, shapes):
    if isinstance(shapes, dict):
        return {key: function(shape, name=key) for key, shape in shapes.items()}
    return [function(shape) for shape in shapes] if isinstance(shapes, list) else function(shapes)


def randomize(model, seed=0):
    """Gives every variable, statistics included, values that show an error: none stays 0 or 1."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.rpartition("/")[2] in ("beta", "bias", "moving_mean"):
            variable.assign(rng.normal(size=variable.shape) * 0.1)
        elif variable.path.rpartition("/")[2] in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def fit_statistics(model, x, momentum=0.9**20):
    """Moves the statistics of every batch normalization toward those of these inputs, in one pass.

    By default as far as 20 passes at momentum 0.9 would. Nearer, where a map has few positions, the
    variance over a handful of random inputs comes close to zero, and dividing by it magnifies every
    rounding.
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = momentum
    model(x, training=True)
    for layer, value in zip(layers, kept):
        layer.momentum = value
    return model


NARROW = {3: 6, 4: 8, 5: 10}
PYRAMID = dict(size=(104, 77), other_size=(128, 96))  # odd levels, not square

LAYERS = [
    Case(
        "conv_grouped",
        "Conv2D",
        dict(filters=12, kernel_size=(3, 3), strides=(2, 2), groups=4, padding="symmetric"),
        8,
        replicas=True,
    ),
    Case("conv_dilated", "Conv2D", dict(filters=6, kernel_size=(3, 3), dilation_rate=(2, 2)), 8),
    Case(
        "conv_depthwise", "Conv2D", dict(filters=8, kernel_size=(5, 5), groups=8, strides=(2, 2)), 8
    ),
    Case(
        "conv_norm_act",
        "ConvNormAct",
        dict(filters=12, kernel_size=3, activation="silu", momentum=0.8),
        8,
        replicas=True,
    ),
    Case(
        "image_normalization",
        "ImageNormalization",
        dict(mean=(120.0, 110.0, 100.0), std=(60.0, 50.0, 40.0)),
        3,
    ),
    Case("max_pool", "MaxPool2D", dict(pool_size=3, strides=2), 4),
    Case(
        "squeeze_excite",
        "SqueezeExcite",
        dict(filters=3, activation="silu", gate_activation="hard_sigmoid"),
        8,
        replicas=True,
    ),
    Case("stochastic_depth", "StochasticDepth", dict(rate=0.4, seed=1), 4, random=True),
    Case("batch_normalization", "BatchNormalization", dict(momentum=0.8, epsilon=1e-3), 6),
]

BLOCK = dict(layer="DenseBlock", num_layers=1, growth_rate=4, bottleneck=2, name="block")
CROSS_STAGES = [
    Case(
        "dense_block",
        "DenseBlock",
        dict(num_layers=2, growth_rate=4, bottleneck=2, activation="relu6", dilation_rate=2),
        8,
    ),
    Case(
        "two_way_dense_block",
        "TwoWayDenseBlock",
        dict(num_layers=2, growth_rate=6, filters=5, dilation_rate=2),
        8,
    ),
    Case("transition", "Transition", dict(filters=6, activation="leaky_relu"), 8),
    Case(
        "cross_stage",
        "CrossStage",
        dict(
            block=BLOCK,
            filters=10,
            part_ratio=0.25,
            part_filters=6,
            activation="leaky_relu",
            pre_activation=True,
        ),
        8,
        replicas=True,
    ),
    Case(
        "cross_stage_first",
        "CrossStage",
        dict(block=BLOCK, fusion="first", processed_part="first", activation="relu6"),
        8,
    ),
    Case("cross_stage_last", "CrossStage", dict(block=BLOCK, fusion="last", part_ratio=0.75), 8),
]

NECKS = [
    Case("fpn", "FPN", dict(filters=8, levels=(3, 4, 5, 6)), NARROW, **PYRAMID),
    Case(
        "fpn_options",
        "FPN",
        dict(
            filters=8,
            levels=(4, 5, 6, 7),
            extra_levels="conv_lateral",
            extra_activation="relu6",
            normalization="batch",
            activation="hard_silu",
            upsampling="bilinear",
        ),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "fpn_group",
        "FPN",
        dict(filters=32, levels=(3, 5), extra_levels="max_pool", normalization="group"),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "fpn_retinaface",
        "FPN",
        dict(
            filters=8,
            levels=(3, 4, 5, 6),
            form="retinaface",
            extra_levels="conv_lateral",
            normalization="batch",
            activation="darknet_leaky_relu",
        ),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "csp_panet_yolox",
        "CSPPANet",
        dict(
            filters=(4, 6, 8),
            levels=(3, 4, 5, 6),
            extra_levels="conv_lateral_p5",
            form="yolox",
            kernel_size=5,
            depthwise=True,
            out_filters=6,
            activation="hard_silu",
        ),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "panet",
        "PANet",
        dict(filters=8, levels=(3, 4, 5, 6), form="mmdetection", upsampling="bilinear"),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "panet_group",
        "PANet",
        dict(filters=32, levels=(3, 4), normalization="group", activation="relu6"),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "csp_panet",
        "CSPPANet",
        dict(filters=8, levels=(3, 5, 6), depth=2, activation="hard_silu"),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "bifpn",
        "BiFPN",
        dict(filters=8, levels=(3, 4, 5, 6), num_repeats=2, fusion="softmax"),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "bifpn_options",
        "BiFPN",
        dict(
            filters=8,
            levels=(3, 5),
            num_repeats=1,
            fusion="fast",
            separable=False,
            padding="symmetric",
            use_bias=False,
            normalization="batch",
            activation="relu6",
            upsampling="bilinear",
        ),
        NARROW,
        **PYRAMID,
        replicas=True,
    ),
    Case(
        "efm",
        "EFM",
        dict(filters=8, levels=(3, 4), grouping="contiguous", activation="relu6"),
        {2: 4, **NARROW},
        **PYRAMID,
    ),
    Case(
        "asff",
        "ASFF",
        dict(filters=8, levels=(3, 4, 5), compress_channels=4, activation="relu6"),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "asff_same",
        "ASFF",
        dict(filters=8, levels=(3,), expand=False, upsampling="bilinear"),
        {3: 6, 5: 6},
        **PYRAMID,
        replicas=True,
    ),
    Case(
        "mlfpn",
        "MLFPN",
        dict(filters=4, levels=(3, 4, 5), num_tums=3, reduction=2),
        NARROW,
        **PYRAMID,
    ),
    Case(
        "mlfpn_options",
        "MLFPN",
        dict(
            filters=4,
            levels=(3, 4, 5),
            num_tums=2,
            base_levels=(3, 5),
            reduction=None,
            shared=True,
            final_norm=True,
            normalization="batch",
            activation="relu6",
            upsampling="bilinear",
        ),
        NARROW,
        **PYRAMID,
    ),
    Case("ffmv1", "FFMv1", dict(shallow_filters=4, deep_filters=6, activation="relu6"), [6, 8]),
    Case("ffmv2", "FFMv2", dict(filters=4, activation="relu6"), [6, 8]),
    Case("tum", "TUM", dict(filters=6, num_scales=4, activation="relu6", upsampling="bilinear"), 8),
    Case("sfam", "SFAM", dict(reduction=2, shared=True), [6, 6]),
    Case("weighted_fusion", "WeightedFusion", dict(method="softmax", epsilon=0.01), [6, 6, 6]),
    Case(
        "cross_channel_pooling", "CrossChannelPooling", dict(pool_size=3, grouping="contiguous"), 12
    ),
]

HAND_MADE = (
    ((1, (1, 1), (0, 1), False, True, False), (3, (2, 1), (1, 1), True, False, False)),
    ((3, (1, 2), (0, 3), True),),
)

CONTEXT = [
    Case("spp", "SPP", dict(pool_sizes=(3, 7), largest_first=True), 4),
    Case(
        "spp_bottleneck",
        "SPP",
        dict(filters=6, hidden_filters=5, activation="relu6", hidden_activation=None, epsilon=1e-3),
        8,
    ),
    Case("sppf", "SPPF", dict(filters=6, pool_size=3, num_pools=4, activation="hard_silu"), 8),
    Case(
        "spp_csp",
        "SPPCSP",
        dict(filters=6, hidden_filters=4, num_pools=2, activation="leaky_relu"),
        8,
        replicas=True,
    ),
    Case("sppnet", "SpatialPyramidPooling", dict(bins=(1, 2, 3, 6)), 4),
    Case(
        "sppnet_window",
        "SpatialPyramidPooling",
        dict(bins=(2, 4), mode="average", form="window", flatten=False),
        4,
    ),
    Case(
        "aspp",
        "ASPP",
        dict(filters=6, rates=(2, 5), separable=True, dropout=0.0, activation="relu6"),
        8,
        replicas=True,
    ),
    Case("aspp_sum", "ASPP", dict(filters=6, rates=(2, 3, 4, 6), merge="sum"), 8),
    Case(
        "aspp_bias", "ASPP", dict(filters=6, rates=(3, 6), dropout=0.4, pool_normalization=None), 8
    ),
    Case("rfb", "RFB", dict(filters=12, strides=2, scale=0.5, visual=1, reduction=4), 16),
    Case("rfb_s", "RFBs", dict(filters=12, activation="silu"), 16),
    Case("rfb_e", "RFB", dict(filters=12, branches="rfb_e"), 16),
    Case(
        "rfb_mobile",
        "RFB",
        dict(filters=16, branches="rfb_mobile", activation="relu6"),
        16,
        replicas=True,
    ),
    Case("rfb_light", "RFB", dict(filters=12, branches="rfb_light", groups=2), 32),
    Case("rfb_asff", "RFB", dict(filters=16, branches="asff"), 16),
    Case("rfb_by_hand", "RFB", dict(filters=12, branches=HAND_MADE, strides=2, reduction=4), 16),
]

CASES = LAYERS + CROSS_STAGES + NECKS + CONTEXT


def everything(cases=CASES):
    """A model with one input per map of every case, and one output per tensor that they return."""
    keras.utils.set_random_seed(0)
    inputs, outputs = {}, {}
    for case in cases:
        arrays = case.inputs()
        taken = {k: keras.Input(x.shape[1:], name=k) for k, x in named(case.name, arrays).items()}
        packed = keras.tree.pack_sequence_as(arrays, list(taken.values()))
        inputs |= taken
        outputs |= named(f"{case.name}_out", case.build(name=f"{case.name}_layer")(packed))
    return randomize(keras.Model(inputs, outputs, name="everything"))


def inputs_of(cases, **kwargs):
    """Random arrays for all inputs of `everything(cases)`; batch, seed as in `Case.inputs`."""
    inputs = {}
    for case in cases:
        inputs |= named(case.name, case.inputs(**kwargs))
    return inputs


def named(stem, structure):
    """A structure as one flat dict."""
    paths = keras.tree.flatten_with_path(structure)
    return {"_".join([stem, *map(str, path)]): value for path, value in paths}
