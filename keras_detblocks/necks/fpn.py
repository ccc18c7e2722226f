"""Feature Pyramid Network (https://arxiv.org/abs/1612.03144), with the extra levels of RetinaNet
and FCOS.

Numbers agree with torchvision, mmdetection and detectron2. As in all of them, the coarsest level,
which is not merged with anything, also has its 3x3 convolution.
"""

import keras

from ..checks import check_choice, level_name, level_number
from ..layers.activation import check_activation
from .base import Neck
from .parts import ExtraLevels, top_down

FORMS = ("paper", "retinaface")


@keras.saving.register_keras_serializable(package="keras_detblocks")
class FPN(Neck):
    """Feature Pyramid Network: lateral 1x1 convolutions, top-down sums, an output 3x3 convolution
    per level.

    Paper: https://arxiv.org/abs/1612.03144

    Args:
        filters: width of every output level.
        levels: the output levels. Those above the coarsest input are made from it (`extra_levels`);
            finer inputs are not used; an input that is not in `levels` takes part in the top-down
            path and is not returned.
        extra_levels: how levels above the coarsest input, here called 5, are made. `"max_pool"`:
            every second pixel of the last output (Faster R-CNN). `"conv_c5"`: 3x3 stride-2
            convolution of the input (RetinaNet's paper, detectron2, torchvision's RetinaNet v2).
            `"conv_p5"`: the same of the output (FCOS, torchvision's RetinaNet v1).
            `"conv_lateral"`: the same of the lateral map. `"conv_lateral_p5"`: the sum of one of
            the lateral map and one of the output (PicoDet). Further levels are convolutions of the
            level before.
        extra_activation: between two extra convolutions; `None` for mmdetection's default.
        normalization: `None`, `"batch"` or `"group"`, after each convolution (which then has no
            bias).
        activation: after each convolution; none in the paper.
        upsampling: `"nearest"` (the paper's) or `"bilinear"` (keeps the pyramid in one XNNPACK
            partition on phones).
        form: `"paper"`: an output convolution per level, after the path. `"retinaface"`: the 3x3
            convolutions are inside the top-down path, and the coarsest level has none
            (https://arxiv.org/abs/1905.00641; `normalization="batch"`, and
            `activation="darknet_leaky_relu"` up to 64 filters, `"relu"` above).
        **kwargs: `epsilon`, `momentum` and `norm_groups` of the normalization (1e-5, 0.9, 32), and
            the arguments of `keras.layers.Layer`.

    Input: dict of `(B, H, W, C)` by level, `{"P3": ..., "P4": ..., "P5": ...}`, each half the size
    of the finer one, rounded up. Any image size works; padding images to a multiple of the coarsest
    stride keeps the levels aligned.

    Output: dict of `(B, H, W, filters)` by level.

    Raises:
        ValueError: on arguments out of range, missing levels, or sizes that do not form a pyramid.

    Example:

    >>> features = {"P3": keras.ops.ones((1, 25, 21, 8)), "P4": keras.ops.ones((1, 13, 11, 16))}
    >>> outputs = FPN(32, levels=(3, 4, 5))(features)
    >>> {level: tuple(x.shape) for level, x in outputs.items()}
    {'P3': (1, 25, 21, 32), 'P4': (1, 13, 11, 32), 'P5': (1, 7, 6, 32)}
    """

    def __init__(
        self,
        filters=256,
        levels=(3, 4, 5, 6, 7),
        extra_levels="conv_p5",
        extra_activation="relu",
        normalization=None,
        activation=None,
        upsampling="nearest",
        form="paper",
        **kwargs,
    ):
        super().__init__(filters, levels, normalization, activation, upsampling, **kwargs)
        self.form = check_choice(form, "form", FORMS)
        self.extra_levels = extra_levels
        self.extra_activation = check_activation(extra_activation, "extra_activation")
        self._extra = ExtraLevels(extra_levels, extra_activation, self.dtype_policy)
        self.laterals, self.outs, self.extras = {}, {}, {}

    def make_levels(self, shapes):
        used = [level for level in shapes if level >= min(self.levels)]
        for level in used:
            name = level_name(level)
            self.laterals[name] = self.unit(f"{name}_lateral")
            if self._has_convolution(level, max(used)):
                self.outs[name] = self.unit(f"{name}_out", 3)
        self.extras.update(
            self._extra.layers(
                max(used), max(self.levels), lambda name: self.unit(name, 3, strides=2)
            )
        )

    def _has_convolution(self, level, top):
        if self.form == "retinaface":
            return level < top
        goes_on = level == top < max(self.levels) and self._extra.go_on_from_output
        return level in self.levels or goes_on

    def call(self, features, training=None):
        features = self.inputs(features)
        top = max(features)
        inside = self.outs if self.form == "retinaface" else None
        merged = top_down(features, self.laterals, self.upsampling, inside, training)
        if inside is not None:
            outputs = merged
        else:
            outputs = {
                level_number(name): out(merged[level_number(name)], training=training)
                for name, out in self.outs.items()
            }
        outputs = self._extra.complete(outputs, self.extras, features[top], merged[top], training)
        return {level_name(level): outputs[level_name(level)] for level in self.levels}

    def get_config(self):
        return {
            **super().get_config(),
            "extra_levels": self.extra_levels,
            "extra_activation": self.extra_activation,
            "form": self.form,
        }
