"""Counting: every published RegNet to the integer, by spec and by its built model; layers by hand; the table of models."""

import keras
import pytest
from published_regnets import PUBLISHED

import keras_detblocks as kdb
from keras_detblocks.backbones import catalogue, regnet
from keras_detblocks.backbones.regnet import VARIANTS

SMALL = {"X-200MF", "Y-200MF", "Y-800MF"}


def variant(net):
    """Our key of a published name such as "Y-1.6GF"."""
    family, size = net.name.lower().replace(" ", "_").split("-")
    return regnet._trunk(family, size, 32, 0.0).name


@pytest.mark.parametrize("net", PUBLISHED, ids=lambda net: net.name)
def test_specs_equal_the_published_numbers(net):
    assert kdb.complexity(VARIANTS[variant(net)]) == (net.macs, net.params, net.activations)


@pytest.mark.parametrize(
    "net",
    [pytest.param(n, marks=() if n.name in SMALL else pytest.mark.slow) for n in PUBLISHED if n.macs < 40e9],
    ids=lambda net: net.name,
)
def test_built_models_equal_the_published_numbers(net):
    build = kdb.RegNetX if net.name[0] == "X" else kdb.RegNetY
    assert kdb.complexity(build(VARIANTS[variant(net)])) == (net.macs, net.params, net.activations)


def test_published_names_are_all_there():
    assert {variant(net) for net in PUBLISHED} == set(VARIANTS)


def test_layers_by_hand():
    """Dense, transposed, depthwise and separable convolutions, nested in a layer that calls one of them twice."""

    class Twice(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)

        def build(self, shape):
            self.conv.build(shape)

        def call(self, x):
            return self.conv(self.conv(x))

    image = keras.Input((8, 6, 4))
    x = Twice()(image)
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = keras.layers.Conv2DTranspose(2, 2, strides=2, use_bias=False)(x)
    x = keras.layers.SeparableConv2D(5, 3, padding="same", use_bias=False)(x)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    counted = kdb.complexity(keras.Model(image, x))
    twice, depthwise, transposed = 2 * 9 * 4 * 4 * 48, 9 * 4 * 12, 4 * 4 * 2 * 12
    assert counted.macs == twice + depthwise + transposed + (9 * 2 + 2 * 5) * 48 + 18
    assert counted.params == 9 * 4 * 4 + 9 * 4 + 4 * 4 * 2 + (18 + 10) + 18
    assert counted.activations == 2 * 4 * 48 + 4 * 12 + 2 * 48 + 5 * 48 + 3


def test_counting_leaves_the_model_as_it_was():
    model = kdb.AnyNet(kdb.AnyNetSpec((1,), (16,), (1,), (8,), stem_width=8), include_top=False)
    before = kdb.complexity(model, image_size=32)
    assert kdb.complexity(model, image_size=32) == before
    assert "call" not in model.get_layer("stem_conv").__dict__


@pytest.mark.parametrize("name", [n if n == "CS3DarknetS" else pytest.param(n, marks=pytest.mark.slow) for n in catalogue._OTHERS])
def test_catalogue_is_counted(name):
    row = catalogue.row(name)
    model = getattr(kdb, name)()
    assert kdb.complexity(model, 224)[1] == row["params"]
    assert kdb.complexity(getattr(kdb, name)(input_shape=(224, 224, 3))) == (row["macs"], row["params"], row["activations"])


def test_table(capsys):
    kdb.print_model_table("regnety_0".replace("_", ""))
    printed = capsys.readouterr().out
    assert "RegNetY008" in printed and "76.33" in printed and "timm/regnety_008.pycls_in1k, MIT" in printed
    names = [row["name"] for row in kdb.model_table()]
    assert names == kdb.list_models() and all(callable(getattr(kdb, name)) for name in names)
    assert "CS3DarknetS" not in kdb.list_models(pretrained=True)
    kdb.print_model_table("nothing")
    assert "No model" in capsys.readouterr().out
