"""Shows what a detector learned: numbers with their intervals, curves, kinds of errors, a page of
all this, and comparisons of several detectors."""

from .compare import Comparison, compare
from .measure import evaluate, measure
from .report import write_report
from .result import Evaluation
from .store import store_threshold

__all__ = [
    "Comparison",
    "Evaluation",
    "compare",
    "evaluate",
    "measure",
    "store_threshold",
    "write_report",
]
