"""PANet's bottom-up path augmentation (https://arxiv.org/abs/1803.01534), in the authors' form and
in mmdetection's.

They differ in the map that goes up: the authors pass on each fused map after its 3x3 convolution
(as in the paper), mmdetection the sum before it.
"""

import operator

import keras

from ..checks import check_choice, level_name
from ..layers.activation import check_activation
from .base import Neck
from .parts import ExtraLevels, bottom_up, top_down

FORMS = ("authors", "mmdetection")


@keras.saving.register_keras_serializable(package="keras_detblocks")
class PANet(Neck):
    """Path aggregation: a top-down FPN, then a bottom-up path N_{l+1} = conv(down(N_l) + P_{l+1}).

    Paper: https://arxiv.org/abs/1803.01534. `CSPPANet` is the concatenating form of YOLO-type
    detectors.

    Args:
        filters: width of every output level.
        levels: as in `FPN`.
        extra_levels, extra_activation: as in `FPN`; "conv_p5" and "max_pool" start from the
            coarsest N.
        form: `"authors"`: the fused map goes on, and only the bottom-up convolutions are activated;
            with `normalization="group"` this is the published code, with
            `normalization=activation=None` its form without normalization. `"mmdetection"`: the sum
            before the fusing convolution goes on, and every convolution is activated alike
            (mmdetection's own default is no normalization and no activation).
        normalization: `"batch"` (the paper's), `"group"` or `None`. Without it the path gains
            little.
        activation: see `form`; the paper has ReLU.
        upsampling: `"nearest"` (the paper's) or `"bilinear"`.
        **kwargs: as in `FPN`.

    Input, output, errors: as `FPN`.

    Example:

    >>> features = {"P3": keras.ops.ones((1, 25, 21, 8)), "P4": keras.ops.ones((1, 13, 11, 16))}
    >>> outputs = PANet(32, levels=(3, 4, 5))(features)
    >>> {level: tuple(x.shape) for level, x in outputs.items()}
    {'P3': (1, 25, 21, 32), 'P4': (1, 13, 11, 32), 'P5': (1, 7, 6, 32)}
    """

    def __init__(
        self,
        filters=256,
        levels=(3, 4, 5, 6, 7),
        extra_levels="conv_p5",
        extra_activation="relu",
        form="authors",
        normalization="batch",
        activation="relu",
        upsampling="nearest",
        **kwargs,
    ):
        super().__init__(filters, levels, normalization, activation, upsampling, **kwargs)
        self.form = check_choice(form, "form", FORMS)
        self.extra_levels = extra_levels
        self.extra_activation = check_activation(extra_activation, "extra_activation")
        self._extra = ExtraLevels(extra_levels, extra_activation, self.dtype_policy)
        self.laterals, self.outs, self.extras = {}, {}, {}
        self.downs, self.fuses = {}, {}

    def make_levels(self, shapes):
        used = [level for level in shapes if level >= min(self.levels)]
        path = [level for level in used if level <= max(self.levels)]
        for level in used:
            name = level_name(level)
            self.laterals[name] = self._plain(f"{name}_lateral")
            if level in path:
                self.outs[name] = self._plain(f"{name}_out", 3)
        self.extras.update(
            self._extra.layers(
                max(used), max(self.levels), lambda name: self._plain(name, 3, strides=2)
            )
        )
        # The authors keep the bias in front of a group normalization.
        authors_group = self.form == "authors" and self.normalization == "group"
        bias = self.normalization is None or authors_group
        for fine, coarse in zip(path, path[1:]):
            strides = 2 ** (coarse - fine)
            down = self.unit(f"N{coarse}_down", 3, strides=strides, use_bias=bias)
            self.downs[level_name(coarse)] = down
            self.fuses[level_name(coarse)] = self.unit(f"N{coarse}", 3, use_bias=bias)

    def _plain(self, name, kernel_size=1, strides=1):
        """A convolution of the top-down path, which the authors do not activate."""
        activation = None if self.form == "authors" else self.activation
        return self.unit(name, kernel_size, strides, activation=activation)

    def call(self, features, training=None):
        features = self.inputs(features)
        top = max(features)
        merged = top_down(features, self.laterals, self.upsampling, training=training)
        outs = {
            level: self.outs[level_name(level)](x, training=training)
            for level, x in merged.items()
            if level_name(level) in self.outs
        }
        fused_goes_on = self.form == "authors"
        outputs = bottom_up(outs, self.downs, self.fuses, operator.add, fused_goes_on, training)
        outputs = self._extra.complete(outputs, self.extras, features[top], merged[top], training)
        return {level_name(level): outputs[level_name(level)] for level in self.levels}

    def get_config(self):
        return {
            **super().get_config(),
            "extra_levels": self.extra_levels,
            "extra_activation": self.extra_activation,
            "form": self.form,
        }
