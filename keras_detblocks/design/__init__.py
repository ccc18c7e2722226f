"""The design-space toolkit: sample a family of nets, train the samples, compare families, choose a
net.

The method of "Designing Network Design Spaces" (https://arxiv.org/abs/2003.13678).
"""

import warnings

from ..backbones.complexity import Architectures, Complexity, population_complexity
from ..backbones.complexity import complexity as spec_complexity
from . import plots
from .quantized_linear import Fit, fit_quantized_linear
from .ranges import Choice, Range
from .report import report
from .results import SweepResult, load_sweep
from .sampling import Sample, acceptance_rate, sample
from .spaces import (
    SPACES,
    AnyNetSpace,
    AnyNetX_A,
    AnyNetX_B,
    AnyNetX_C,
    AnyNetX_D,
    AnyNetX_E,
    AnyNetY_A,
    AnyNetY_B,
    AnyNetY_C,
    AnyNetY_D,
    AnyNetY_E,
    RegNetSpace,
    RegNetX_constrained,
    RegNetX_depthwise,
    RegNetX_inverted,
    RegNetXSpace,
    RegNetY_constrained,
    RegNetYSpace,
    complexity_bounds,
)
from .statistics import (
    EDF,
    Band,
    PermutationTest,
    SearchEfficiency,
    bootstrap,
    complexity_weights,
    edf,
    permutation_test,
    random_search_efficiency,
)
from .sweep import sweep
from .tasks import Classification

__all__ = [
    "EDF",
    "SPACES",
    "AnyNetSpace",
    "AnyNetX_A",
    "AnyNetX_B",
    "AnyNetX_C",
    "AnyNetX_D",
    "AnyNetX_E",
    "AnyNetY_A",
    "AnyNetY_B",
    "AnyNetY_C",
    "AnyNetY_D",
    "AnyNetY_E",
    "Architectures",
    "Band",
    "Choice",
    "Classification",
    "Complexity",
    "Fit",
    "PermutationTest",
    "Range",
    "RegNetSpace",
    "RegNetXSpace",
    "RegNetX_constrained",
    "RegNetX_depthwise",
    "RegNetX_inverted",
    "RegNetYSpace",
    "RegNetY_constrained",
    "Sample",
    "SearchEfficiency",
    "SweepResult",
    "acceptance_rate",
    "bootstrap",
    "complexity_bounds",
    "complexity_weights",
    "edf",
    "fit_quantized_linear",
    "load_sweep",
    "permutation_test",
    "plots",
    "population_complexity",
    "random_search_efficiency",
    "report",
    "sample",
    "spec_complexity",
    "sweep",
]

# Names that something else has too: `kdb.RegNetX` builds a net, `kdb.complexity` also counts
# models, and `kdb.evaluation.compare` compares detectors.
_RENAMED = {
    "Comparison": "PermutationTest",
    "RegNetX": "RegNetXSpace",
    "RegNetY": "RegNetYSpace",
    "compare": "permutation_test",
    "complexity": "spec_complexity",
}


def __getattr__(name):
    if name in _RENAMED:
        warnings.warn(
            f"`design.{name}` is called `design.{_RENAMED[name]}`.",
            DeprecationWarning,
            stacklevel=2,
        )
        return globals()[_RENAMED[name]]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
