"""Models as users have them: Sequential, of other precisions, with layers that no file holds."""

import keras
import numpy as np
import pytest
from export_models import pictures

import keras_detblocks as kdb
from keras_detblocks import export
from keras_detblocks.export.graph import in_float32, signature_of


class Apply(keras.layers.Layer):
    """Not registered, and without a config: its argument is a function."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


def sequential(dtype, size=(16, 24)):
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Rescaling(1 / 255.0, dtype=dtype),
        keras.layers.Lambda(lambda x: keras.ops.relu(x) * 2, dtype=dtype),
        kdb.ConvNormAct(8, 3, groups=1, dtype=dtype),
        Apply(keras.ops.tanh, dtype=dtype),
        keras.layers.Flatten(dtype=dtype),
        keras.layers.Dense(3, dtype=dtype),
    ]
    return keras.Sequential([keras.Input((*size, 3), name="image"), *layers])


FORMATS = {"saved_model": "m", "onnx": "m.onnx", "tflite": "m.tflite"}


@pytest.mark.parametrize("format", [pytest.param("saved_model", marks=pytest.mark.slow), "onnx"])
def test_a_sequential_model_in_mixed_precision(tmp_path, format):
    """The file computes in float32 what the live layers compute; their policies are back after."""
    model = sequential("mixed_float16")
    policies = [layer.dtype_policy for layer in model._flatten_layers()]
    getattr(export, f"to_{format}")(model, tmp_path / FORMATS[format])
    assert [layer.dtype_policy for layer in model._flatten_layers()] == policies
    image = pictures(1, (16, 24))
    with export.Session(tmp_path / FORMATS[format]) as session:
        got = session(image=image)["output"]
    plain = sequential("float32")
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(got, plain(image), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "bfloat16", "float16", "float64"])
def test_every_precision_in_tflite(tmp_path, dtype):
    model = sequential(dtype)
    report = export.to_tflite(model, tmp_path / "m.tflite")
    assert max(report.max_error.values()) < 1e-5 and report.partitions == 1


def test_policies_return_after_an_error():
    model = sequential("mixed_bfloat16")
    with pytest.raises(RuntimeError), in_float32(model):
        assert model.layers[-1].compute_dtype == "float32"
        raise RuntimeError
    assert model.layers[-1].compute_dtype == "bfloat16"


def test_a_sequential_model_that_ends_in_levels():
    image = keras.Input((32, 32, 3))
    trunk = keras.Model(image, {"P3": keras.layers.MaxPool2D(8)(image)})
    signature = signature_of(keras.Sequential([keras.Input((32, 32, 3)), trunk]))
    assert signature.outputs == ("P3",) and list(signature.inputs) == ["image"]


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "model, message",
    [
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "not built. Begin it with"),
        (lambda: Subclassed(), "functional or Sequential.*Received: Subclassed"),
        (lambda: keras.layers.Dense(3, name="d"), "by `keras_detblocks.as_model.*Dense 'd'"),
    ],
)
def test_models_without_inputs(tmp_path, model, message):
    for name, path in FORMATS.items():
        with pytest.raises(ValueError, match=message):
            getattr(export, f"to_{name}")(model(), tmp_path / path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_keras_quantized_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="dense")])
    model.quantize("int8")
    for name, path in FORMATS.items():
        with pytest.raises(ValueError, match="before `quantize`.*'dense' in 'int8'"):
            getattr(export, f"to_{name}")(model, tmp_path / path)
