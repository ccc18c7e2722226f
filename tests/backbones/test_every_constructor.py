"""Every constructor: its name, size, signature, levels and strides. Nothing is allocated: variables
stay without values."""

import inspect
import math
import pickle
import textwrap

import keras
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
def test_signature_and_help(name):
    """Those of keras.applications and ours, each argument documented."""
    function = getattr(kdb, name)
    wanted = dict(inspect.signature(kdb.RegNetY).parameters)
    del wanted["variant"]
    found = inspect.signature(function).parameters
    assert [(k, v.kind, v.default) for k, v in found.items()] == [
        (k, v.kind, v.default) for k, v in wanted.items()
    ]
    assert (function.__name__, pickle.loads(pickle.dumps(function))) == (name, function)
    text = inspect.getdoc(function)
    assert [each for each in found if f"\n    {each}: " not in text] == []
    assert (
        "https://arxiv.org" in text.partition("Args:")[0] and max(map(len, text.split("\n"))) < 101
    )
    other = inspect.getdoc(kdb.RegNetX002).partition("Example:\n")[2]
    assert other and text.partition("Example:\n")[2] == other.replace("RegNetX002", name)


@pytest.mark.parametrize("name", ["RegNetY002", "CS3DarknetS", "CSPPeleeNet"])
def test_the_example_of_the_help_runs(name):
    scope = {"keras_detblocks": kdb}
    with StatelessScope(initialize_variables=False):
        exec(textwrap.dedent(getattr(kdb, name).__doc__.partition("Example:\n")[2]), scope)
    assert set(scope["backbone"].output) == {"P3", "P4", "P5"}


def test_builders_of_free_nets_have_the_same_arguments():
    for name, first in {"RegNetX": "variant", "RegNetY": "variant", "AnyNet": "spec"}.items():
        found = list(inspect.signature(getattr(kdb, name)).parameters)
        assert found == [first, *inspect.signature(kdb.RegNetX002).parameters]
        assert [each for each in found if f"\n    {each}: " not in getattr(kdb, name).__doc__] == []


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: kdb.RegNetX002(depth=3), r"RegNetX002\(\) got an unexpected.*'depth'"),
        (lambda: kdb.AnyNet(), r"AnyNet\(\) missing a required argument: 'spec'"),
    ],
)
def test_wrong_calls_name_the_constructor(call, words):
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(input_shape=224), r"\(height, width, channels\).*Received: input_shape=224"),
        (dict(input_shape=(224, 224)), r"tuple of three integers.*Received"),
        (dict(input_shape="224"), r"tuple of three integers.*Received"),
        (dict(input_shape=(224.0, 224, 3)), r"tuple of three integers.*Received"),
        (
            dict(input_tensor=keras.KerasTensor((None, 64, 64, 3)), input_shape=(32, 32, 3)),
            r"the shape of `input_tensor`.*\(32, 32, 3\).*\(64, 64, 3\)",
        ),
    ],
)
def test_wrong_inputs(arguments, words):
    with pytest.raises(ValueError, match=words):
        kdb.RegNetY002(**arguments)
