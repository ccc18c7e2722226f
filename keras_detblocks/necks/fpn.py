"""Feature Pyramid Network (https://arxiv.org/abs/1612.03144), with the extra levels of RetinaNet
and FCOS.

Numbers agree with torchvision, mmdetection and detectron2. As in all of them, the 3x3 convolution
also follows the coarsest level, which the paper does not merge with anything.
"""

import keras

from ..layers import MaxPool2D, activation_layer, upsample_to
from ..weights import Layout, torch_key
from .levels import Neck, level_name

EXTRA_LEVELS = ("max_pool", "conv_c5", "conv_p5", "conv_lateral")


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
            `"conv_p5"`: of the output (FCOS, torchvision's RetinaNet v1). `"conv_lateral"`: of the
            lateral map. Further levels are convolutions of the one before.
        extra_activation: between two extra convolutions; `None` for mmdetection's default.
        normalization: `None`, `"batch"` or `"group"`, after each convolution (which then has no
            bias).
        activation: after each convolution; none in the paper.
        upsampling: `"nearest"` (the paper's) or `"bilinear"` (keeps the pyramid in one XNNPACK
            partition on phones).

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
        **kwargs,
    ):
        super().__init__(filters, levels, normalization, activation, upsampling, **kwargs)
        if extra_levels not in EXTRA_LEVELS:
            raise ValueError(
                f"`extra_levels` must be one of {EXTRA_LEVELS}. Received: "
                f"extra_levels={extra_levels!r}"
            )
        self.extra_levels = extra_levels
        self.extra_activation = extra_activation
        self.extra_act = activation_layer(
            extra_activation or "linear", name="extra_act", dtype=self.dtype_policy
        )
        self.laterals, self.outs, self.extras = {}, {}, {}

    def build_levels(self, shapes):
        used = {level: shape for level, shape in shapes.items() if level >= min(self.levels)}
        batch = used[max(used)][0]
        for level, shape in used.items():
            self.laterals[level] = self.unit(f"P{level}_lateral")
            self.laterals[level].build(shape)
            if self.has_output(level, used):
                self.outs[level] = self.unit(f"P{level}_out", 3)
                self.outs[level].build((*shape[:3], self.filters))
        channels = used[max(used)][-1] if self.extra_levels == "conv_c5" else self.filters
        for level in range(max(used) + 1, max(self.levels) + 1):
            if self.extra_levels == "max_pool":
                self.extras[level] = MaxPool2D(
                    1, strides=2, name=f"P{level}", dtype=self.dtype_policy
                )
            else:
                self.extras[level] = self.unit(f"P{level}", 3, strides=2)
                self.extras[level].build((batch, None, None, channels))
            channels = self.filters

    def has_output(self, level, used):
        """P5's output is also what conv_p5 and max_pool go on from, whether it is returned or
        not."""
        return level in self.levels or (
            level == max(used) < max(self.levels) and self.extra_levels in ("max_pool", "conv_p5")
        )

    def call(self, features, training=None):
        features = self.inputs(features)
        merged = top_down(features, self.laterals, self.upsampling, training)
        outputs = {
            level: self.outs[level](x, training=training)
            for level, x in merged.items()
            if level in self.outs
        }
        return self.with_extra_levels(features, merged, outputs, training)

    def with_extra_levels(self, features, merged, outputs, training=None):
        """The neck's dict: `outputs`, those above the coarsest input made, those not asked for left
        out."""
        top = max(features)
        x = {"conv_c5": features, "conv_lateral": merged}.get(self.extra_levels, outputs).get(top)
        for level, extra in self.extras.items():
            if level > top + 1 and self.extra_levels != "max_pool":
                x = self.extra_act(x)
            x = outputs[level] = (
                extra(x) if self.extra_levels == "max_pool" else extra(x, training=training)
            )
        return {level_name(level): outputs[level] for level in self.levels}

    def get_config(self):
        return {
            **super().get_config(),
            "extra_levels": self.extra_levels,
            "extra_activation": self.extra_activation,
        }

    def weight_layouts(self):
        rules = {
            "torchvision": self._rules(
                "inner_blocks.{i}.", "layer_blocks.{i}.", "extra_blocks.p{l}", ("0", "1")
            ),
            "torchvision before 0.13": self._rules(
                "inner_blocks.{i}", "layer_blocks.{i}", "extra_blocks.p{l}"
            ),
            "detectron2": self._rules(
                "fpn_lateral{l}", "fpn_output{l}", "top_block.p{l}", ("", ".norm")
            ),
            "mmdetection": self._rules(
                "lateral_convs.{i}.", "fpn_convs.{j}.", None, ("conv", "bn")
            ),
            "mmdetection, gn": self._rules(
                "lateral_convs.{i}.", "fpn_convs.{j}.", None, ("conv", "gn")
            ),
        }
        return [Layout(name, torch_key(*each)) for name, each in rules.items()]

    def _rules(self, lateral, out, extra, parts=("", "")):
        """Rules for `torch_key`: i counts the levels from the finest input, j the outputs from the
        finest, l is the level."""
        rules = []
        counted = [(f"P{l}_lateral", lateral, l, i) for i, l in enumerate(self.laterals)]
        counted += [(f"P{l}_out", out, l, i) for i, l in enumerate(self.outs)]
        counted += [(f"P{l}", extra, l, len(self.outs) + i) for i, l in enumerate(self.extras)]
        for name, pattern, level, i in counted:
            for ours, theirs in zip(("conv", "norm"), parts):
                # Extra levels of torchvision and detectron2 are plain convolutions.
                part = "" if pattern is extra and extra is not None and ours == "conv" else theirs
                rules.append(
                    (f"^{name}/{ours}/", (pattern or out).format(i=i, j=i, l=level) + part + "/")
                )
        return rules


def top_down(features, laterals, upsampling, training=None):
    """The merged maps by level, finest first: each lateral map plus the next coarser merged map,
    upsampled to its size."""
    merged, above = {}, None
    for level in sorted(features, reverse=True):
        x = laterals[level](features[level], training=training)
        if above is not None:
            x = x + upsample_to(merged[above], x, upsampling, 2 ** (above - level))
        merged[level], above = x, level
    return dict(sorted(merged.items()))
