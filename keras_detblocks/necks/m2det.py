"""The parts of M2Det's multi-level pyramid (https://arxiv.org/abs/1811.04533): FFMv1, FFMv2, TUM,
SFAM.

The authors' code is followed where it differs from the paper: upsampling is nearest where figure 4
shows bilinear; in a TUM the 3x3 convolution is on the skip connection, and a 1x1 convolution
smooths each output; its last encoder convolution is unpadded with stride 1.
"""

import keras
from keras import ops

from ..checks import check_flag, check_int
from ..layers import SqueezeExcite, resize_to, upsample_to
from ..layers.block import Block, with_sides
from .base import NeckPart


@keras.saving.register_keras_serializable(package="keras_detblocks")
class FFMv1(NeckPart):
    """Base feature: a shallow map (3x3 convolution) and a deep one (1x1 convolution, upsampled),
    concatenated.

    Paper: https://arxiv.org/abs/1811.04533

    Args:
        shallow_filters, deep_filters: widths of the two convolutions.
        normalization, activation, upsampling: as in `MLFPN`.

    Input: list of two maps, `(B, H, W, C)` and the deep one of half that size or less, rounded up.
    Output: `(B, H, W, shallow_filters + deep_filters)`.

    >>> shallow, deep = keras.ops.ones((1, 9, 6, 8)), keras.ops.ones((1, 5, 3, 16))
    >>> tuple(FFMv1(4, 6)([shallow, deep]).shape)
    (1, 9, 6, 10)
    """

    def __init__(
        self,
        shallow_filters=256,
        deep_filters=512,
        normalization="batch",
        activation="relu",
        upsampling="nearest",
        **kwargs,
    ):
        super().__init__(normalization, activation, upsampling, **kwargs)
        self.shallow_filters = check_int(shallow_filters, "shallow_filters")
        self.deep_filters = check_int(deep_filters, "deep_filters")
        # how much coarser the deep map is, for graphs of unknown size; None for twice
        self.factor = None
        self.shallow = self.unit("shallow", shallow_filters, 3)
        self.deep = self.unit("deep", deep_filters)

    def build_parts(self, input_shape):
        shallow, deep = _two_maps(self, input_shape)
        self.shallow.build(shallow)
        self.deep.build(deep)

    def call(self, maps, training=None):
        shallow = self.shallow(maps[0], training=training)
        deep = upsample_to(
            self.deep(maps[1], training=training), shallow, self.upsampling, self.factor
        )
        return ops.concatenate([shallow, deep], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:3], self.shallow_filters + self.deep_filters)

    def get_config(self):
        return {
            **super().get_config(),
            "shallow_filters": self.shallow_filters,
            "deep_filters": self.deep_filters,
        }


@keras.saving.register_keras_serializable(package="keras_detblocks")
class FFMv2(NeckPart):
    """The base feature, thinned by a 1x1 convolution, concatenated with the largest output of the
    previous TUM.

    Paper: https://arxiv.org/abs/1811.04533

    Args:
        filters: width of the thinned base feature.
        normalization, activation: as in `MLFPN`.

    Input: list of two maps of one size, `(B, H, W, C)` and `(B, H, W, C')`. Output: `(B, H, W,
    filters + C')`.

    >>> tuple(FFMv2(4)([keras.ops.ones((1, 9, 6, 8)), keras.ops.ones((1, 9, 6, 16))]).shape)
    (1, 9, 6, 20)
    """

    def __init__(self, filters=128, normalization="batch", activation="relu", **kwargs):
        super().__init__(normalization, activation, "nearest", **kwargs)
        self.filters = check_int(filters, "filters")
        self.leach = self.unit("leach", filters)

    def build_parts(self, input_shape):
        base, _ = _two_maps(self, input_shape)
        self.leach.build(base)

    def call(self, maps, training=None):
        return ops.concatenate([self.leach(maps[0], training=training), maps[1]], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:3], self.filters + input_shape[1][-1])

    def get_config(self):
        config = {**super().get_config(), "filters": self.filters}
        del config["upsampling"]  # nothing is resized here
        return config


@keras.saving.register_keras_serializable(package="keras_detblocks")
class TUM(NeckPart):
    """Thinned U-shape module: an encoder of stride-2 convolutions and a decoder of sums, one output
    per scale.

    Paper: https://arxiv.org/abs/1811.04533

    Args:
        filters: width of every scale.
        num_scales: number of outputs, at least 2. The map that enters the last (unpadded) encoder
            convolution must be at least 3 x 3: with 6 scales the input must be at least 33 x 33.
        normalization, activation, upsampling: as in `MLFPN`.
        smooth: whether a 1x1 convolution smooths each output but the smallest.

    Input: `(B, H, W, C)`. Output: list of `num_scales` maps, largest first: `(B, H, W, filters)`,
    then halved, rounded up; the last is two rows and two columns smaller than the one before.

    Raises:
        ValueError: on too few scales, or a map too small for them.

    >>> [tuple(x.shape[1:3]) for x in TUM(4, num_scales=4)(keras.ops.ones((1, 25, 21, 8)))]
    [(25, 21), (13, 11), (7, 6), (5, 4)]
    """

    def __init__(
        self,
        filters=256,
        num_scales=6,
        normalization="batch",
        activation="relu",
        upsampling="nearest",
        smooth=True,
        **kwargs,
    ):
        super().__init__(normalization, activation, upsampling, **kwargs)
        self.filters = filters = check_int(filters, "filters")
        self.num_scales = num_scales = check_int(num_scales, "num_scales", least=2)
        self.smooth = check_flag(smooth, "smooth")
        scales = range(1, num_scales)  # for all maps but the smallest; scale 1 is the input's
        self.encoders = [
            self.unit(f"encoder_{scale + 1}", filters, 3, strides=2) for scale in scales[:-1]
        ]
        self.encoders.append(self.unit(f"encoder_{num_scales}", filters, 3, padding="valid"))
        self.top = self.unit("top", filters)
        self.laterals = [self.unit(f"lateral_{scale}", filters, 3) for scale in scales]
        self.smooths = [self.unit(f"smooth_{scale}", filters) for scale in scales if self.smooth]

    def build_parts(self, input_shape):
        self.compute_output_shape(input_shape)
        super().build_parts(with_sides(input_shape, 2**self.num_scales))

    def call(self, x, training=None):
        self.compute_output_shape(x.shape)
        encoded = [x]
        for encoder in self.encoders:
            encoded.append(encoder(encoded[-1], training=training))
        decoded = self.top(encoded.pop(), training=training)
        outputs = [decoded]
        for i in reversed(range(len(encoded))):
            skip = self.laterals[i](encoded[i], training=training)
            decoded = resize_to(decoded, skip, self.upsampling) + skip
            smoothed = self.smooths[i](decoded, training=training) if self.smooth else decoded
            outputs.insert(0, smoothed)
        return outputs

    def compute_output_shape(self, input_shape):
        sizes = scale_sizes(input_shape[1:3], self.num_scales)
        if any(n is not None and n < 1 for n in sizes[-1]):
            raise ValueError(
                f"TUM {self.name!r}: {self.num_scales} scales need a map of at least "
                f"{2 ** (self.num_scales - 1) + 1} pixels a side; use a larger image or fewer "
                f"scales. Received: {tuple(input_shape)}"
            )
        return [(input_shape[0], *size, self.filters) for size in sizes]

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_scales": self.num_scales,
            "smooth": self.smooth,
        }


def scale_sizes(size, num_scales):
    """The height and width of every scale of a TUM, largest first: halved and rounded up, except
    the last, which is two pixels less than the one before."""
    sizes = [tuple(size)]
    for _ in range(num_scales - 2):
        sizes.append(tuple(None if n is None else -(-n // 2) for n in sizes[-1]))
    return [*sizes, tuple(None if n is None else n - 2 for n in sizes[-1])]


@keras.saving.register_keras_serializable(package="keras_detblocks")
class SFAM(Block):
    """Scale-wise feature aggregation: squeeze-and-excitation of each scale's concatenated levels.

    Paper: https://arxiv.org/abs/1811.04533. The concatenation itself is `MLFPN`'s.

    Args:
        reduction: channels over width of the squeezed vector.
        shared: whether one pair of fully connected layers serves all scales (the authors' code)
            instead of one per scale (the paper).

    Input: list of maps `(B, H_i, W_i, C)`. Output: the same. In int8 the gate has steps of 1/256.

    Raises:
        ValueError: if `shared` and the scales have different widths.

    >>> maps = [keras.ops.ones((1, 8, 6, 16)), keras.ops.ones((1, 4, 3, 16))]
    >>> [tuple(x.shape) for x in SFAM(4)(maps)]
    [(1, 8, 6, 16), (1, 4, 3, 16)]
    """

    def __init__(self, reduction=16, shared=False, **kwargs):
        super().__init__(**kwargs)
        self.reduction = check_int(reduction, "reduction")
        self.shared = check_flag(shared, "shared")
        self.gates = []

    def make_parts(self, input_shape):
        widths = [shape[-1] for shape in input_shape]
        if self.shared and len(set(widths)) > 1:
            raise ValueError(
                f"SFAM {self.name!r}: shared layers need scales of one width. Received: widths "
                f"{widths}"
            )
        for i, width in enumerate(widths[:1] if self.shared else widths):
            filters = max(width // self.reduction, 1)
            gate = SqueezeExcite(filters, name=f"scale_{i + 1}", dtype=self.dtype_policy)
            self.gates.append(gate)

    def call(self, maps):
        gates = self.gates * len(maps) if self.shared else self.gates
        return [gate(x) for gate, x in zip(gates, maps)]

    def compute_output_shape(self, input_shape):
        return [tuple(shape) for shape in input_shape]

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction, "shared": self.shared}


def _two_maps(layer, input_shape):
    if len(input_shape) != 2 or any(len(shape) != 4 for shape in input_shape):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} expects a list of two maps (batch, height, "
            f"width, channels). Received: {input_shape}"
        )
    return input_shape
