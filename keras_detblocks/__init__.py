"""Detection building blocks for Keras 3 (https://keras.io): backbones, necks, receptive-field blocks and a detector of them.

`import keras_detblocks as kdb`; every public name is here, and `data`, `design`, `training` and `export` load on first use.
"""

import importlib
import os
import sys

from .streams import hidden_stderr

if "tensorflow" not in sys.modules:
    # On processors for which TensorFlow leaves oneDNN off, its CPU kernels cannot differentiate grouped convolutions, and the
    # fallback is slower. A user's own choice stays.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # The command line has its own messages. TensorFlow reads the level of its log when it is imported, and says some things before.
    if os.path.basename(sys.argv[0] if sys.argv else "") in ("detblocks", "-m"):
        if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
            with hidden_stderr():
                import keras  # noqa: F401

from . import analysis, assemble, backbones, context, detection, layers, necks, optimizers, plots, receptive_field, weights
from .analysis import *
from .assemble import *
from .backbones import *
from .context import *
from .detection import *
from .layers import *
from .necks import *
from .optimizers import *
from .receptive_field import *
from .version import __version__

_LAZY_ROOMS = ("data", "design", "export", "training")

# Every room states its public names in its own `__all__`.
__all__ = ["__version__", "plots", "weights"]
for _room in (analysis, assemble, backbones, context, detection, layers, necks, optimizers, receptive_field):
    __all__ += _room.__all__


def __getattr__(name):
    if name in _LAZY_ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *_LAZY_ROOMS])
