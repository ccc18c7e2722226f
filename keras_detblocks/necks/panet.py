"""PANet's bottom-up path augmentation (https://arxiv.org/abs/1803.01534), in the authors' form and
in mmdetection's.

They differ in what goes up: the authors pass on each fused map after its 3x3 convolution (as in the
paper), mmdetection the sum before it.
"""

import keras

from ..weights import Layout, torch_key
from .fpn import FPN, top_down

FORMS = ("authors", "mmdetection")


@keras.saving.register_keras_serializable(package="keras_detblocks")
class PANet(FPN):
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
            `normalization=activation=None` its form without normalisation. `"mmdetection"`: the sum
            before the fusing convolution goes on, and every convolution is activated alike
            (mmdetection's own default is no normalisation and no activation).
        normalization: `"batch"` (the paper's), `"group"` or `None`. Little is gained from the path
            without it.
        activation: see `form`; the paper has ReLU.
        upsampling: `"nearest"` (the paper's) or `"bilinear"`.

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
        super().__init__(
            filters,
            levels,
            extra_levels,
            extra_activation,
            normalization,
            activation,
            upsampling,
            **kwargs,
        )
        if form not in FORMS:
            raise ValueError(f"`form` must be one of {FORMS}. Received: form={form!r}")
        self.form = form
        self.downs, self.fuses = {}, {}

    def build_levels(self, shapes):
        super().build_levels(shapes)
        path = list(self.outs)
        # The authors keep the bias before a group normalisation.
        bias = self.normalization is None or (
            self.form == "authors" and self.normalization == "group"
        )
        for fine, coarse in zip(path, path[1:]):
            self.downs[coarse] = super().unit(
                f"N{coarse}_down", 3, strides=2 ** (coarse - fine), use_bias=bias
            )
            self.downs[coarse].build((*shapes[fine][:3], self.filters))
            self.fuses[coarse] = super().unit(f"N{coarse}", 3, use_bias=bias)
            self.fuses[coarse].build((*shapes[coarse][:3], self.filters))

    def unit(self, name, kernel_size=1, strides=1, filters=None, **kwargs):
        if self.form == "authors":
            kwargs = {"activation": None, **kwargs}  # the FPN's own convolutions have none
        return super().unit(name, kernel_size, strides, filters, **kwargs)

    def has_output(self, level, used):
        return level <= max(self.levels)  # the path goes through every level, returned or not

    def call(self, features, training=None):
        features = self.inputs(features)
        merged = top_down(features, self.laterals, self.upsampling, training)
        outputs = {level: self.outs[level](merged[level], training=training) for level in self.outs}
        below = outputs[min(outputs)]
        for level, fuse in self.fuses.items():
            total = outputs[level] + self.downs[level](below, training=training)
            outputs[level] = fuse(total, training=training)
            below = outputs[level] if self.form == "authors" else total
        return self.with_extra_levels(features, merged, outputs, training)

    def get_config(self):
        return {**super().get_config(), "form": self.form}

    def weight_layouts(self):
        mmdetection = ("downsample_convs.{i}.", "pafpn_convs.{i}.")
        authors = ("panet_buttomup_conv1_modules.{i}", "panet_buttomup_conv2_modules.{i}")
        layouts = []
        for norm in ("bn", "gn"):
            rules = self._rules("lateral_convs.{i}.", "fpn_convs.{j}.", None, ("conv", norm))
            layouts.append(
                Layout(
                    f"mmdetection, {norm}",
                    torch_key(*rules, *self._path_rules(*mmdetection, ("conv", norm))),
                )
            )
        for parts in (("", ""), (".0", ".1")):
            rules = self._top_down_rules(parts) + self._path_rules(*authors, parts)
            layouts.append(Layout("ShuLiu1993/PANet", torch_key(*rules)))
        return layouts

    def _path_rules(self, down, fuse, parts):
        """i counts the steps up from the finest level."""
        return [
            (f"^{name}/{ours}/", pattern.format(i=i) + theirs + "/")
            for i, level in enumerate(self.fuses)
            for name, pattern in ((f"N{level}_down", down), (f"N{level}", fuse))
            for ours, theirs in zip(("conv", "norm"), parts)
        ]

    def _top_down_rules(self, parts):
        """The authors count from the coarsest level down, and name its lateral convolution
        apart."""
        names = [
            (
                "conv_top" if i == 0 else f"topdown_lateral_modules.{i - 1}.conv_lateral",
                f"posthoc_modules.{i}",
                level,
            )
            for i, level in enumerate(sorted(self.laterals, reverse=True))
        ]
        return [
            (f"^P{level}_{kind}/{ours}/", name + theirs + "/")
            for lateral, out, level in names
            for kind, name in (("lateral", lateral), ("out", out))
            for ours, theirs in zip(("conv", "norm"), parts)
        ]
