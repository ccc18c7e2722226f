"""Detection building blocks for Keras 3 (https://keras.io): backbones, necks, receptive-field
blocks and a detector of them.

`import keras_detblocks as kdb`; every public name is here, and `data`, `design`, `evaluation`,
`export` and `training` load on first use. Importing registers every class that a `.keras` file of
the package can hold.
"""

import importlib

from . import startup  # settings that must precede the import of Keras
from .version import __version__

# isort: split
__all__ = ["__version__"]
if not startup.names_verbs_only():  # `detblocks --help` answers at once
    from . import (
        analysis,
        backbones,
        context,
        detection,
        images,
        layers,
        necks,
        optimizers,
        weights,
    )
    from .analysis import *
    from .backbones import *
    from .context import *
    from .detection import *
    from .layers import *
    from .necks import *
    from .optimizers import *

    # Every folder states its public names in its own `__all__`.
    __all__ += ["images", "weights"]
    for _part in (analysis, backbones, context, detection, layers, necks, optimizers):
        __all__ += _part.__all__

_LAZY = ("data", "design", "evaluation", "export", "training")


def __getattr__(name):
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *_LAZY])
