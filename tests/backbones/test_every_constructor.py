"""Every constructor: its name, cost, signature, levels and strides. Nothing is allocated: variables
stay without values."""

import inspect
import json
import math
import pickle
import textwrap

import keras
import pytest
from backbone_golden import GOLDENS
from published_regnets import PUBLISHED
from without_values import without_values

import keras_detblocks as kdb
from keras_detblocks.backbones.catalog import constructor, row

NAMES = kdb.list_models()
ROWS = [row["name"] for row in kdb.model_table()]  # these, and nets such as RegNetX("400mf_tv")
# Trainable parameters and batch-norm statistics of timm 1.0.31; darknet and the authors' form: the
# cfg files. The dense nets are our own definition.
COUNTS = {
    "CSPResNet50": (21_616_168, 40_320),
    "CSPResNet50D": (21_635_400, 40_448),
    "CSPResNet50W": (28_118_216, 40_320),
    "CSPResNeXt50": (20_569_896, 57_472),
    "CSPDarknet53": (27_642_184, 35_328),
    "CSPDarknet53Cfg": (27_642_184, 35_328),
    "Darknet53": (41_609_928, 35_712),
    "CS3DarknetS": (3_276_344, 8_864),
    "CS3DarknetM": (9_310_240, 16_944),
    "CS3DarknetL": (21_164_168, 28_992),
    "CS3DarknetX": (35_046_320, 39_440),
}
# One of each kind of stage; the other names are its rows of numbers.
KINDS = ["RegNetX002", "RegNetY002", "CSPResNet50", "CSPResNet50D", "CSPResNeXt50"]
KINDS += ["CSPDarknet53", "Darknet53", "CS3DarknetS", "CSPDenseNet121", "CSPPeleeNet"]
FAST = ["RegNetX002", "RegNetY002", "CS3DarknetS"]


def each(names):
    return pytest.mark.parametrize(
        "name",
        [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names],
    )


def build(name, **arguments):
    with without_values():
        return constructor(name)(**arguments)


REGNETS = {net.key: (net.macs, net.params, net.activations) for net in PUBLISHED}


def counted(model):
    """Multiply-adds, parameters without statistics, and activations of a functional net of
    convolutions and dense layers, by the shapes in its graph."""
    macs = activations = 0
    for layer in model.layers:
        for part in layer._flatten_layers():
            if isinstance(part, (keras.layers.Conv2D, keras.layers.Dense)):
                gate = isinstance(layer, kdb.SqueezeExcite)
                # Inside other layers nothing strides, so that all places are the output's.
                whole = part is layer or gate or isinstance(layer, kdb.ConvNormAct)
                assert whole or part.strides == (1, 1)
                width = part.kernel.shape[-1]
                places = 1 if gate else math.prod(layer.output.shape[1:-1])
                macs += places * (math.prod(part.kernel.shape) + width * part.use_bias)
                activations += places * width
    return macs, sum(math.prod(v.shape) for v in model.trainable_weights), activations


@each(ROWS)
def test_name_and_complexity(name):
    """To the integer, counted on the built net: pycls' numbers for RegNets, ours for the others,
    whose parameters are timm's too."""
    table = tuple(row(name)[key] for key in ("macs", "params", "activations"))
    model = build(name, input_shape=(224, 224, 3))
    if "(" not in name:
        assert model.name.replace("_", "") == name.lower().replace("_", "")
    assert model.output_shape == (None, 1000)
    assert counted(model) == table == REGNETS.get(model.name, table)
    assert name.startswith("RegNet") == (model.name in REGNETS)
    trainable = sum(math.prod(v.shape) for v in model.trainable_weights)
    rest = sum(math.prod(v.shape) for v in model.weights) - trainable
    assert (trainable, rest) == COUNTS.get(name, (table[1], rest))


@each(KINDS)
def test_a_trace_counts_the_same(name):
    with without_values():
        counts = kdb.complexity(constructor(name)(input_shape=(224, 224, 3)))
    assert counts == tuple(row(name)[key] for key in ("macs", "params", "activations"))


def test_counts_file_agrees():
    counts = json.loads((GOLDENS / "param_counts.json").read_text())["models"]
    for name in ("CSPResNet50", "CSPResNeXt50", "CSPDarknet53"):
        assert counts[name.lower()]["trainable"] == COUNTS[name][0]


@each(NAMES)
def test_levels(name):
    model = build(name, include_top=False, input_shape=(96, 160, 3), levels=(5, 2, 4, 3))
    channels = dict(zip((2, 3, 4, 5), row(name)["channels"]))
    assert {key: tuple(x.shape[1:]) for key, x in model.output.items()} == {
        f"P{level}": (96 // 2**level, 160 // 2**level, channels[level]) for level in (5, 2, 4, 3)
    }
    assert list(model.output) == ["P5", "P2", "P4", "P3"]


@each(KINDS)
def test_output_stride(name):
    held = build(name, include_top=False, input_shape=(96, 160, 3), output_stride=8)
    assert held.output_shape == (None, 12, 20, row(name)["channels"][3])


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
    with without_values():
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
