"""Analysis of built layers and models: wrapping a layer, counting, receptive fields, and tables of
what there is."""

from .as_model import as_model
from .complexity import complexity, parameters
from .figures import plot_receptive_fields
from .receptive_field import (
    ReceptiveField,
    effective_receptive_field,
    theoretical_receptive_field,
)
from .table import model_table, print_model_table, print_part_table

__all__ = [
    "ReceptiveField",
    "as_model",
    "complexity",
    "effective_receptive_field",
    "model_table",
    "parameters",
    "plot_receptive_fields",
    "print_model_table",
    "print_part_table",
    "theoretical_receptive_field",
]
