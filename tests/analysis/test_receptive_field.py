import math

import keras
import numpy as np
import pytest
from without_values import without_values

import keras_detblocks as kdb
from keras_detblocks.analysis.receptive_field import ReceptiveField


def chain(*layers, channels=4):
    inputs = x = keras.Input((None, None, channels))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "layers, expected",
    [
        ([kdb.Conv2D(4, 1)], 1),
        ([kdb.Conv2D(4, 3), kdb.Conv2D(4, 3)], 5),
        ([kdb.Conv2D(4, 3, 2), kdb.Conv2D(4, 3)], 7),
        ([kdb.Conv2D(4, 3, 2), kdb.Conv2D(4, 3, 2), kdb.Conv2D(4, 3)], 3 + 4 + 8),
        ([kdb.Conv2D(4, (1, 7))], 7),
        ([kdb.Conv2D(4, 3, dilation_rate=24)], 49),
        ([kdb.MaxPool2D(3, 2), kdb.SqueezeExcite(2)], 3),  # a gate does not count
        ([kdb.SPP()], 13),
        ([kdb.SPPF(4)], 13),
        ([kdb.SPPCSP(4)], 3 + 12 + 2),
        ([kdb.ASPP(4, image_pooling=False)], 37),
        ([kdb.ASPP(4, rates=(6, 12, 18, 24), merge="sum")], 49),
        ([kdb.ASPP(4)], math.inf),
        ([kdb.Conv2D(16, 1), kdb.RFB(4)], 3 + 2 + 10),
        ([kdb.Conv2D(16, 1), kdb.RFB(4, "rfb_paper")], 5 + 10),
        ([kdb.Conv2D(16, 1), kdb.RFBs(4)], 3 + 10),
    ],
)
def test_theory_by_arithmetic(layers, expected):
    assert kdb.theoretical_receptive_field(chain(*layers)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, expected",
    [
        (
            lambda: keras.applications.MobileNet((None, None, 3), include_top=False, weights=None),
            315,
        ),
        (lambda: keras.applications.ResNet50(False, None, input_shape=(None, None, 3)), 483),
    ],
)
def test_published_numbers(model, expected):
    """Araujo, Norris, Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill
    2019. Widths do not matter, so the nets are narrowed."""
    with without_values():
        wide = model()
    narrow = keras.models.clone_model(wide, clone_function=_narrowed)
    assert kdb.theoretical_receptive_field(narrow) == expected


def _narrowed(layer):
    config = layer.get_config()
    if "filters" in config:
        config["filters"] //= 16
    return type(layer).from_config(config)


def test_the_model_stays_and_outputs_are_named():
    x = keras.Input((None, None, 3))
    p3 = kdb.ConvNormAct(4, 3, strides=2)(x)
    model = keras.Model(x, {"P3": p3, "P4": kdb.ConvNormAct(4, 3, strides=2)(p3)})
    before = [np.asarray(w) for w in model.weights]
    assert kdb.theoretical_receptive_field(model) == {"P3": 3, "P4": 7}
    for old, new in zip(before, model.weights):
        np.testing.assert_array_equal(old, new)


def test_effective_field_of_a_convolution_is_its_kernel():
    layer = kdb.Conv2D(1, 5, dilation_rate=2)
    field = kdb.effective_receptive_field(layer, (31, 31, 1), samples=2)
    kernel = np.abs(np.asarray(layer.kernel)[:, :, 0, 0])
    np.testing.assert_allclose(field.map[11:20:2, 11:20:2], kernel / kernel.max(), rtol=1e-5)
    assert field.extent == (9, 9) and field.map[:, ::2].sum() == 0


def test_effective_field_of_uniform_layers_is_gaussian():
    """n layers of a uniform 3x3: each side's standard deviation is sqrt(2n / 3)
    (https://arxiv.org/abs/1701.04128)."""
    layers = [
        keras.layers.DepthwiseConv2D(
            3, padding="same", depthwise_initializer="ones", use_bias=False
        )
        for _ in range(8)
    ]
    field = kdb.effective_receptive_field(chain(*layers, channels=1), (33, 33, 1), samples=1)
    profile = field.map.sum(axis=0) / field.map.sum()
    assert math.sqrt((profile * (np.arange(33) - 16) ** 2).sum()) == pytest.approx(
        math.sqrt(16 / 3), rel=1e-4
    )
    assert field.extent == (17, 17)
    assert field.size < 17 and field.side(1.0) == 17
    # Two standard deviations of a Gaussian in the plane: pixels above exp(-2 * 1.545...) = 4.55 %
    # lie in a disc.
    assert field.size == pytest.approx(
        math.sqrt(math.pi * 2 * (16 / 3) * -math.log(0.0455)), rel=0.06
    )


def test_numbers_of_a_map():
    field = np.zeros((9, 11))
    field[4, 5], field[3, 5], field[4, 8] = 1.0, 0.5, 0.04
    field = ReceptiveField(field)
    assert field.size == pytest.approx(math.sqrt(2))
    assert field.extent == (2, 4)
    assert [field.side(share) for share in (0.6, 0.95, 1.0)] == [1, 3, 7]


def test_output_and_inputs_can_be_chosen():
    x = keras.Input((16, 16, 2))
    model = keras.Model(x, {"P3": kdb.Conv2D(2, 3)(x), "P4": kdb.Conv2D(2, 5)(x)})
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 2))
    assert kdb.effective_receptive_field(model, output="P4", inputs=images).extent == (5, 5)
    assert kdb.effective_receptive_field(model, samples=1).extent == (3, 3)


def test_outputs_in_any_order():
    x = keras.Input((None, None, 2))
    p3 = kdb.Conv2D(2, 3, 2)(x)
    model = keras.Model(x, {"P4": kdb.Conv2D(2, 3, 2)(p3), "P3": p3})
    assert kdb.theoretical_receptive_field(model) == {"P4": 7, "P3": 3}
    assert kdb.effective_receptive_field(model, (32, 32, 2), output="P3", samples=1).extent == (
        3,
        3,
    )
    assert kdb.effective_receptive_field(model, (32, 32, 2), samples=1).extent == (7, 7)


def test_sequential_and_subclassed_models():
    layers = [kdb.Conv2D(4, 3), kdb.SPP()]
    sequential = keras.Sequential([keras.Input((None, None, 4)), *layers])
    assert kdb.theoretical_receptive_field(sequential) == 15
    assert kdb.effective_receptive_field(sequential, (21, 21, 4), samples=2).extent <= (15, 15)

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = kdb.Conv2D(4, 5)

        def call(self, x):
            return self.conv(x)

    assert kdb.theoretical_receptive_field(Subclassed(), channels=4) == 5
    assert kdb.effective_receptive_field(Subclassed(), (9, 9, 4), samples=1).extent == (5, 5)


def test_wide_fields_are_finite():
    for rate in (36, 1500):  # nothing between the taps tells a short probe that there are more
        assert (
            kdb.theoretical_receptive_field(chain(kdb.Conv2D(1, 3, dilation_rate=rate), channels=1))
            == 2 * rate + 1
        )
    strided = chain(
        kdb.Conv2D(1, 3, 2), kdb.Conv2D(1, 3, 2), kdb.Conv2D(1, 3, dilation_rate=60), channels=1
    )
    assert kdb.theoretical_receptive_field(strided) == 3 + 4 + 4 * 120


def test_every_input_counts():
    images = np.zeros((2, 9, 9, 1))
    images[1] = 1.0
    model = chain(keras.layers.ReLU(), keras.layers.MaxPooling2D(3, 1, padding="same"), channels=1)
    assert kdb.effective_receptive_field(model, inputs=images[:1]).map.sum() == 0
    assert kdb.effective_receptive_field(model, inputs=images).map.sum() > 0


def test_plot(tmp_path):
    fields = {f"field {i}": ReceptiveField(np.eye(8)) for i in range(3)}
    kdb.plot_receptive_fields(fields, tmp_path / "fields.png")
    assert (tmp_path / "fields.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.theoretical_receptive_field(kdb.SPPF()), "channels"),
        (
            lambda: kdb.theoretical_receptive_field(kdb.as_model(kdb.SPPF(), (8, 8, 4))),
            "dynamic height and width",
        ),
        (
            lambda: kdb.theoretical_receptive_field(chain(keras.layers.GlobalMaxPooling2D())),
            "without its head",
        ),
        (lambda: kdb.effective_receptive_field(kdb.SPPF()), "input_shape"),
        (lambda: kdb.effective_receptive_field(kdb.SPPF(), (8, 8, 4), samples=0), "`samples`"),
        (lambda: kdb.effective_receptive_field(chain(kdb.SPPF()), (None, 8, 4)), "input_shape"),
        (lambda: kdb.effective_receptive_field(chain(kdb.SPPF()), (8, 8, 4), output="P9"), "P9"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
