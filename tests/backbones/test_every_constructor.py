"""Every constructor: its name, size, signature, levels and strides. Nothing is allocated: variables
stay without values."""

import inspect
import math

import pytest
from keras.src.backend.common.stateless_scope import StatelessScope
from published_regnets import PUBLISHED

import keras_detblocks as kdb
from keras_detblocks.backbones.catalogue import row

NAMES = kdb.list_models()


def build(name, **arguments):
    with StatelessScope(initialize_variables=False):
        return getattr(kdb, name)(**arguments)


def published(name):
    """Of pycls' table for RegNets, of ours for the others, whose counts `test_cspnet` knows."""
    if not name.startswith("RegNet"):
        return row(name)["params"]
    size = int(name[7:]) / 10
    size = f"{size * 1000:.0f}MF" if size < 1 else f"{size:.1f}GF" if size < 10 else f"{size:.0f}GF"
    return next(net.params for net in PUBLISHED if net.name == f"{name[6]}-{size}")


@pytest.mark.parametrize("name", NAMES)
def test_name_and_parameters(name):
    model = build(name)
    assert model.name.replace("_", "") == name.lower().replace("_", "")
    assert sum(math.prod(v.shape) for v in model.trainable_weights) == published(name)
    assert model.output_shape == (None, 1000)


@pytest.mark.parametrize("name", NAMES)
def test_levels_and_output_stride(name):
    model = build(name, include_top=False, input_shape=(96, 160, 3), levels=(5, 2, 4, 3))
    channels = dict(zip((2, 3, 4, 5), row(name)["channels"]))
    assert {key: tuple(x.shape[1:]) for key, x in model.output.items()} == {
        f"P{level}": (96 // 2**level, 160 // 2**level, channels[level]) for level in (5, 2, 4, 3)
    }
    assert list(model.output) == ["P5", "P2", "P4", "P3"]
    held = build(name, include_top=False, input_shape=(96, 160, 3), output_stride=8)
    assert held.output_shape == (None, 12, 20, channels[5])


@pytest.mark.parametrize("name", NAMES)
def test_signature(name):
    wanted = dict(inspect.signature(kdb.RegNetY).parameters)
    del wanted["variant"]
    found = inspect.signature(getattr(kdb, name)).parameters
    assert {k: (v.kind, v.default) for k, v in found.items()} == {
        k: (v.kind, v.default) for k, v in wanted.items()
    }
    assert list(found) == list(wanted) and getattr(kdb, name).__doc__
