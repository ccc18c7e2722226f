"""Parts from which necks are assembled: the top-down path, the bottom-up path, extra levels.

They are not layers: the layers that they use belong to the neck, under the names of their levels.
"""

from ..checks import check_choice, level_name
from ..layers import MaxPool2D, activation_layer, upsample_to

# The maps from which the first level above the coarsest input is made.
SOURCES = {
    "max_pool": ("output",),
    "conv_c5": ("input",),
    "conv_p5": ("output",),
    "conv_lateral": ("lateral",),
    "conv_lateral_p5": ("lateral", "output"),
}


def top_down(features, laterals, upsampling, inside=None, training=None):
    """The merged maps by level, finest first: each lateral map plus the next coarser merged map,
    upsampled to its size.

    Args:
        features: maps by level number.
        laterals: convolutions by level name.
        upsampling: `"nearest"` or `"bilinear"`.
        inside: convolutions by level name through which a merged map passes before it goes on, or
            `None`.
    """
    merged, above = {}, None
    for level in sorted(features, reverse=True):
        x = laterals[level_name(level)](features[level], training=training)
        if above is not None:
            x = x + upsample_to(merged[above], x, upsampling, 2 ** (above - level))
        if inside is not None and level_name(level) in inside:
            x = inside[level_name(level)](x, training=training)
        merged[level], above = x, level
    return dict(sorted(merged.items()))


def bottom_up(maps, downs, fuses, join, fused_goes_on=True, training=None):
    """The path back up: every level's map is joined with the finer result, brought down to its
    size, and fused.

    Args:
        maps: by level number, finest first.
        downs, fuses: convolutions by level name, for every level but the finest.
        join: function (the finer result, the level's own map) -> map.
        fused_goes_on: whether the next level gets the fused map or the one before the fusion.
    """
    finest, *path = maps
    outputs, below = {finest: maps[finest]}, maps[finest]
    for level in path:
        name = level_name(level)
        joined = join(downs[name](below, training=training), maps[level])
        outputs[level] = fuses[name](joined, training=training)
        below = outputs[level] if fused_goes_on else joined
    return outputs


class ExtraLevels:
    """The levels above the coarsest input.

    Args:
        method: a key of `SOURCES`. The first extra level is every second pixel of the last output
            ("max_pool"), or a stride-2 convolution of the map that the method names, or the sum of
            two if it names two; further levels are made from the level before in the same way.
        activation: a name, between two extra convolutions, or `None`.
        dtype: of the layers.
    """

    def __init__(self, method, activation, dtype):
        self.method = check_choice(method, "extra_levels", tuple(SOURCES))
        self.sources = SOURCES[method]
        self.dtype = dtype
        self.activation = activation_layer(activation or "linear", name="extra_act", dtype=dtype)

    @property
    def go_on_from_output(self):
        """Whether the coarsest output is needed, returned or not."""
        return "output" in self.sources

    def layers(self, top, last, unit):
        """The layers that make the levels above `top` up to `last`, by name; `unit` is a function
        from a name to a stride-2 convolution."""
        layers = {}
        for level in range(top + 1, last + 1):
            name = level_name(level)
            if self.method == "max_pool":
                layers[name] = MaxPool2D(1, strides=2, name=name, dtype=self.dtype)
                continue
            if level == top + 1 and len(self.sources) == 2:
                layers[f"{name}_lateral"] = unit(f"{name}_lateral")
            layers[name] = unit(name)
        return layers

    def complete(self, outputs, layers, feature, lateral, training=None):
        """The outputs by level name, with the extra maps.

        Args:
            outputs: by level number, finest first.
            layers: those that `layers` made.
            feature, lateral: the coarsest level's input and lateral map.
        """
        *_, last = outputs.values()
        maps = {"input": feature, "lateral": lateral, "output": last}
        extra = self._extra_maps(layers, maps, training)
        return {**{level_name(level): x for level, x in outputs.items()}, **extra}

    def _extra_maps(self, layers, maps, training):
        outputs, x = {}, maps[self.sources[-1]]
        for name in [name for name in layers if not name.endswith("_lateral")]:
            if self.method == "max_pool":
                x = outputs[name] = layers[name](x)
                continue
            x = layers[name](self.activation(x) if outputs else x, training=training)
            if f"{name}_lateral" in layers:
                x = x + layers[f"{name}_lateral"](maps["lateral"], training=training)
            outputs[name] = x
        return outputs
