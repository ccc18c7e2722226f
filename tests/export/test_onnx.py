import keras
import numpy as np
import pytest
from export_models import grouped_model, neck_model, pictures

from keras_detblocks.export import ExportError, Session, to_onnx


def test_grouped_convolutions_keep_their_groups(tmp_path):
    onnx = pytest.importorskip("onnx")
    report = to_onnx(grouped_model(), tmp_path / "m.onnx", image_size=(32, 40))
    groups = [
        attribute.i
        for node in onnx.load(tmp_path / "m.onnx").graph.node
        for attribute in node.attribute
        if node.op_type == "Conv" and attribute.name == "group"
    ]
    assert report.operators["Conv"] == 5
    assert sorted(groups) == [1, 1, 1, 2, 4]
    assert max(report.max_error.values()) < 1e-4


def test_dict_inputs_and_outputs_keep_their_names(tmp_path):
    model = neck_model()
    to_onnx(model, tmp_path / "neck.onnx")
    rng = np.random.default_rng(0)
    features = {
        k: rng.normal(size=(1, *t.shape[1:])).astype("float32") for k, t in model.input.items()
    }
    with Session(tmp_path / "neck.onnx") as session:
        got = session(**features)
    for key, want in model(features).items():
        np.testing.assert_allclose(got[key if key == "P6" else f"{key}_out"], want, atol=1e-4)


def test_a_mixed_precision_model_is_exported_in_float32(tmp_path):
    to_onnx(grouped_model("mixed_bfloat16"), tmp_path / "m.onnx", image_size=(32, 40))
    with Session(tmp_path / "m.onnx") as session:
        assert session(image=pictures(1))["output"].dtype == "float32"


@keras.saving.register_keras_serializable(package="test")
class LogGamma(keras.layers.Layer):
    def call(self, x):
        import tensorflow as tf

        return tf.math.lgamma(x)


def test_an_operator_without_a_form_is_named_with_its_layer(tmp_path):
    x = keras.Input((8,), name="x")
    with pytest.raises(ExportError, match=r"my_layer.*\(Lgamma\)"):
        to_onnx(keras.Model(x, LogGamma(name="my_layer")(x)), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
