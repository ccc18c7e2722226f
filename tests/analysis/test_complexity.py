"""Counting: every published RegNet to the integer by its spec (`test_every_constructor` counts the
built ones); layers by hand; the table of models."""

import warnings

import keras
import numpy as np
import pytest
from published_regnets import PUBLISHED

import keras_detblocks as kdb
from keras_detblocks.backbones.regnet import VARIANTS


@pytest.mark.parametrize("net", PUBLISHED, ids=lambda net: net.name)
def test_specs_equal_the_published_numbers(net):
    assert kdb.complexity(VARIANTS[net.key]) == (net.macs, net.params, net.activations)


def test_published_names_are_all_there():
    assert {net.key for net in PUBLISHED} == set(VARIANTS)


def test_layers_by_hand():
    """Dense, transposed, depthwise and separable convolutions, nested in a layer that calls one of
    them twice."""

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


def counted(layer, *shapes):
    """The count of one layer on inputs of these shapes; no warning may come."""
    inputs = [keras.Input(shape) for shape in shapes]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return kdb.complexity(keras.Model(inputs, layer(*inputs)))


@pytest.mark.parametrize(
    "layer, macs, activations",
    [
        (keras.layers.Conv1DTranspose(2, 4, use_bias=False), 4 * 12 * 2 * 7, 10 * 2),
        (keras.layers.DepthwiseConv1D(3, padding="same"), 3 * 12 * 7 + 7 * 12, 7 * 12),
        (
            keras.layers.SeparableConv1D(5, 3, padding="same", use_bias=False),
            (3 * 12 + 12 * 5) * 7,
            7 * 5,
        ),
        (
            keras.layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"),
            7 * 12 * 5 + 7 * 5,
            7 * 5,
        ),
        (keras.layers.EinsumDense("...x,xy->...y", 5), 7 * 12 * 5, 7 * 5),
        (keras.layers.EinsumDense("ab...,bc->ac...", 5), 7 * 12 * 5, 5 * 12),
        # A matrix of its own per position.
        (
            keras.layers.EinsumDense("abc,bcd->abd", (7, 5)),
            7 * 12 * 5,
            7 * 5,
        ),
        (keras.layers.Embedding(50, 3), 0, 0),
        (keras.layers.PReLU(), 0, 0),
        (keras.layers.SpectralNormalization(keras.layers.Dense(4)), 7 * 12 * 4 + 7 * 4, 7 * 4),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_one_layer_on_a_sequence(layer, macs, activations):
    shape = (7,) if isinstance(layer, keras.layers.Embedding) else (7, 12)
    assert counted(layer, shape)[::2] == (macs, activations)


def test_attention_is_its_projections_and_two_products():
    """Two heads of width 4, values of width 3, 7 queries of 12 channels over 5 values of 6."""
    query, value, out = 7 * 12 * 8 + 7 * 8, 5 * 6 * 6 + 5 * 6, 7 * 6 * 12 + 7 * 12
    key = 5 * 6 * 8 + 5 * 8
    found = counted(keras.layers.MultiHeadAttention(2, 4, value_dim=3), (7, 12), (5, 6))
    assert found.macs == query + key + value + out + 2 * 7 * 5 * (4 + 3)
    assert found.activations == 7 * 8 + 5 * 8 + 5 * 6 + 7 * 12
    # Along one axis of a map: the other axis is a batch.
    plain = counted(keras.layers.MultiHeadAttention(2, 4), (5, 6), (5, 6)).macs
    image = keras.Input((3, 5, 6))
    along = keras.Model(
        image, keras.layers.MultiHeadAttention(2, 4, attention_axes=2)(query=image, value=image)
    )
    assert kdb.complexity(along).macs == 3 * plain


def test_what_is_not_counted_is_named_once():
    class Mixer(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 1))
            self.scale = self.add_weight(shape=(1, 1, shape[-1]))

        def call(self, x):
            return x * self.scale + keras.ops.matmul(x, self.kernel)

    inputs = keras.Input((7, 12))
    x = Mixer()(Mixer()(inputs))
    x = keras.layers.GroupQueryAttention(4, 2, 1)(x, x)
    outputs = keras.layers.Dense(3)(keras.layers.LSTM(2)(x))
    with pytest.warns(
        UserWarning, match="not counted: GroupedQueryAttention, LSTMCell, Mixer[.]"
    ) as caught:
        found = kdb.complexity(keras.Model(inputs, outputs))
    assert len(caught) == 1 and found.macs >= 2 * 3 + 3


@pytest.mark.parametrize(
    "layer, shape",
    [(keras.layers.LayerNormalization(axis=(1, 2)), (7, 12)), (kdb.SqueezeExcite(4), (5, 7, 8))],
)
def test_scales_are_no_matrices(layer, shape):
    counted(layer, shape)


@pytest.mark.slow
def test_own_layers_are_all_counted():
    for neck in (
        kdb.BiFPN(16, levels=(3, 4, 5)),
        kdb.ASFF(16),
        kdb.MLFPN(16, (3, 4, 5), num_tums=2),
    ):
        shapes = {f"P{level}": (64 >> level, 64 >> level, 16) for level in (3, 4, 5)}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert kdb.complexity(kdb.as_model(neck, shapes)).macs > 0


def test_sequential_models_count_like_functional_ones():
    layers = [keras.layers.Conv2D(4, 3, strides=2), keras.layers.Flatten(), keras.layers.Dense(2)]
    sequential = keras.Sequential([keras.Input((9, 11, 3)), *layers])
    expected = 27 * 4 * 20 + 4 * 20 + 80 * 2 + 2
    assert kdb.complexity(sequential).macs == expected
    called = keras.Sequential(
        [keras.layers.Conv2D(4, 3, strides=2), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    with pytest.raises(ValueError, match="inputs are defined.*Received: 'sequential.*as_model"):
        kdb.complexity(called)
    called(np.zeros((1, 9, 11, 3)))
    assert kdb.complexity(called).macs == expected
    image = keras.Input((9, 11, 3))
    assert kdb.complexity(keras.Model(image, called(image))).macs == expected


def test_a_subclassed_model_counts_as_a_layer():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            return self.dense(x)

    net = Net()
    net(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="functional.*as_model"):
        kdb.complexity(net)
    assert kdb.complexity(kdb.as_model(net, (4,))).macs == 15


@pytest.mark.parametrize("ratio", [0.01, 0.03])
def test_a_squeezed_width_of_nothing_counts_nothing(ratio):
    """At 0.01 the first two stages have no squeeze-and-excitation, at 0.03 only the stem's block
    has none."""
    spec = kdb.AnyNetSpec(
        (1, 2, 1), (24, 64, 96), (1, 1, 1), (8, 8, 8), se_ratio=ratio, stem_width=16
    )
    model = kdb.AnyNet(spec, input_shape=(64, 64, 3))
    gates = sum(isinstance(layer, kdb.SqueezeExcite) for layer in model.layers)
    assert gates == {0.01: 2, 0.03: 3}[ratio]
    assert kdb.complexity(spec, 64) == kdb.complexity(model)


@pytest.mark.parametrize(
    "name, net",
    [
        ("RegNetY008", "regnety_008"),
        ("regnetx002", "regnetx_002"),
        ("RegNetY('64gf')", "regnety_640"),
    ],
)
def test_a_name_counts_like_its_spec(name, net):
    assert kdb.complexity(name, 96, classes=7) == kdb.complexity(VARIANTS[net], 96, classes=7)


@pytest.mark.slow
def test_a_name_of_another_family_is_built():
    model = kdb.CS3DarknetS(input_shape=(64, 64, 3), classes=7)
    assert kdb.complexity("cs3darknets", 64, classes=7) == kdb.complexity(model)


@pytest.mark.parametrize(
    "argument, words",
    [
        ("regnety8", "Unknown backbone 'regnety8'. Did you mean .*RegNetY0"),
        ("", "Unknown backbone ''"),
        (3, "Expected a keras.Model, .*Received: 3 .int.; "),
        (None, "Received: None"),
        (kdb.RegNetX002, "Received: .*function.*call a constructor first"),
        (keras.layers.Dense(3), "Received: .*Dense.*as_model"),
    ],
)
def test_other_things_are_refused(argument, words):
    with pytest.raises(ValueError, match=words):
        kdb.complexity(argument)


@pytest.mark.parametrize(
    "arguments", [dict(image_size=0), dict(image_size=(64, 64)), dict(classes=1.5)]
)
def test_sizes_are_positive_integers(arguments):
    with pytest.raises(ValueError, match="must be an int of at least 1"):
        kdb.complexity("RegNetX002", **arguments)


def test_table(capsys):
    names = [row["name"] for row in kdb.model_table()]
    assert [name for name in names if "(" not in name] == kdb.list_models()
    assert all(callable(getattr(kdb, name)) for name in kdb.list_models())
    assert {name for name in names if "(" in name} == {
        f'RegNet{family}("{size}")'
        for family, sizes in (
            ("X", ["400mf_tv"]),
            ("Y", ["800mf_tv", "8.0gf_tv", "64gf", "128gf", "256gf"]),
        )
        for size in sizes
    }
    kdb.print_model_table("nothing")
    assert "No model" in capsys.readouterr().out


def test_printed_table(capsys):
    """One line per net and one per checkpoint, readable in a terminal of 120 columns; numbers of
    timm's published results."""
    kdb.print_model_table()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    printed = [" ".join(line.split()) for line in lines]
    for line in (
        "RegNetY160 83.59M 15.91G 23.04M 224, 448, 1232, 3024",
        "* timm/regnety_160.pycls_in1k 80.28 at 224 MIT",
        "timm/regnety_160.lion_in12k_ft_in1k 85.60 at 224, 86.00 at 288 Apache-2.0",
        "timm/regnety_160.sw_in12k 11821 other classes Apache-2.0",
        "timm/regnety_160.swag_ft_in1k 86.02 at 384 CC-BY-NC-4.0",
        'RegNetY("64gf") 281.38M 64.07G 42.50M 328, 984, 1968, 4920',
        "timm/regnety_640.seer_ft_in1k 83.92 at 384 seer-license",
        "timm/regnety_640.seer no classifier seer-license",
        "* timm/regnety_008_tv.tv2_in1k 78.67 at 224 BSD-3-Clause",
        "* timm/darknet53.c2ns_in1k 80.01 at 256, 80.54 at 288 Apache-2.0",
    ):
        assert line in printed, line
    assert (
        printed[printed.index("CSPResNet50D 21.64M 3.70G 9.61M 128, 256, 512, 1024") + 1]
        == "none known"
    )
