"""Counts multiply-adds, parameters and activations of many AnyNets at once, in closed form: no
model is built.

Conventions of pycls (https://github.com/facebookresearch/pycls, MIT) and of "Designing Network
Design Spaces" (https://arxiv.org/abs/2003.13678, section 3 and figure 12): one multiply-add counts
as 1; batch normalization counts only its scale and offset as parameters; activations are the sizes
of all convolution outputs, and of the classifier's.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from ..checks import check_int, check_number


@dataclass(frozen=True)
class Architectures:
    """A population of AnyNets.

    Attributes:
        depths, widths, bottleneck_ratios, group_widths: integer arrays `(n, stages)`; ratios are
            the paper's b (inner width = width / b).
    """

    depths: np.ndarray
    widths: np.ndarray
    bottleneck_ratios: np.ndarray
    group_widths: np.ndarray

    def __len__(self):
        return len(self.depths)

    def take(self, index):
        """The nets that `index`, a mask or an array of indices, selects."""
        return Architectures(*(getattr(self, field.name)[index] for field in fields(self)))

    def rows(self):
        """All settings of a net in one row, `(n, 4 * stages)`: equal rows are equal nets."""
        return np.concatenate([getattr(self, field.name) for field in fields(self)], axis=1)

    @classmethod
    def of(cls, specs):
        """Stacks `specs`, `AnyNetSpec`s or `RegNetSpec`s with the same number of stages."""
        specs = [to_anynet(spec) for spec in specs]
        return cls(
            *(np.array([getattr(spec, field.name) for spec in specs]) for field in fields(cls))
        )


class Complexity(NamedTuple):
    """The costs of a population: integer arrays `(n,)`, or three integers for one net."""

    macs: np.ndarray
    params: np.ndarray
    activations: np.ndarray


def to_anynet(spec):
    """The per-stage form of a spec."""
    return spec.to_anynet() if hasattr(spec, "to_anynet") else spec


def complexity(spec, image_size=224, classes=1000):
    """Counts one net without building it.

    Args:
        spec: an `AnyNetSpec` or a `RegNetSpec`.
        image_size: side of the square input in pixels.
        classes: width of the classifier.

    Returns:
        `Complexity(macs, params, activations)` of integers.

    Example:

    >>> from keras_detblocks.backbones.regnet import VARIANTS
    >>> complexity(VARIANTS["regnetx_002"]).macs
    199040872
    """
    spec = to_anynet(spec)
    counted = population_complexity(
        Architectures.of([spec]), spec.se_ratio, spec.stem_width, image_size, classes
    )
    return Complexity(*(int(array[0]) for array in counted))


def population_complexity(population, se_ratio=0.0, stem_width=32, image_size=224, classes=1000):
    """Counts a population of nets that all have the same stem, squeeze-and-excitation ratio and
    classifier.

    Args:
        population: `Architectures` whose widths fit their groups.
        se_ratio: squeezed width over a block's input width; 0 for none.
        stem_width, image_size, classes: as in `complexity`.

    Returns:
        `Complexity` of `int64` arrays `(n,)`.
    """
    se_ratio = check_number(se_ratio, "se_ratio", least=0, most=1)
    stem_width, classes = check_int(stem_width, "stem_width"), check_int(classes, "classes")
    image_size = check_int(image_size, "image_size")
    depths, widths, groups = (
        a.astype(np.int64) for a in (population.depths, population.widths, population.group_widths)
    )
    inner = np.rint(widths / population.bottleneck_ratios).astype(np.int64)
    counter = _Counter(len(depths))
    side = counter.conv(3, stem_width, image_size, 3, 2)
    width_in = np.full(len(depths), stem_width, np.int64)
    for stage in range(depths.shape[1]):
        shape = widths[:, stage], inner[:, stage], groups[:, stage]
        counter.conv(width_in, shape[0], side, 1, 2)
        side = _block(counter, width_in, *shape, side, 2, se_ratio, 1)
        _block(counter, shape[0], *shape, side, 1, se_ratio, depths[:, stage] - 1)
        width_in = shape[0]
    counter.linear(width_in, classes, 1)
    return Complexity(counter.macs, counter.params, counter.activations)


def _block(counter, width_in, width, inner, group_width, side, stride, se_ratio, times):
    """Counts the main path of a residual bottleneck block, `times` times; returns the side of its
    output."""
    counter.conv(width_in, inner, side, 1, 1, times=times)
    side = counter.conv(inner, inner, side, 3, stride, inner // group_width, times)
    if se_ratio:
        squeezed = np.rint(np.asarray(width_in) * se_ratio).astype(np.int64)
        # A model has no gate if its squeezed width rounds to nothing.
        gated = times * (squeezed > 0)
        counter.linear(inner, squeezed, gated)
        counter.linear(squeezed, inner, gated)
    counter.conv(inner, width, side, 1, 1, times=times)
    return side


class _Counter:
    """Running sums over a population."""

    def __init__(self, size):
        self.macs, self.params, self.activations = (np.zeros(size, np.int64) for _ in range(3))

    def conv(self, width_in, width, side, kernel, stride, groups=1, times=1):
        """Adds a convolution with batch normalization; returns the output's side."""
        side = (side - 1) // stride + 1
        weights = kernel**2 * width_in * width
        self.macs += times * (weights * side**2 // groups)
        self.params += times * (weights // groups + 2 * width)
        self.activations += times * (width * side**2)
        return side

    def linear(self, width_in, width, times):
        """Adds a dense layer, or a 1x1 convolution on a 1x1 map, with bias."""
        self.macs += times * (width_in * width + width)
        self.params += times * (width_in * width + width)
        self.activations += times * np.asarray(width)
