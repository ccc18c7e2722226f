import warnings

import keras
import numpy as np
import pytest
from export_models import grouped_model, neck_model, pictures, small_detector

from keras_detblocks.export import ExportError, Session, to_onnx
from keras_detblocks.export.check.outputs import show_warnings


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


def in_reference(path, inputs):
    """What ONNX's own reference implementation computes, by output name."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    onnx.checker.check_model(str(path), full_check=True)
    names = [output.name for output in onnx.load(path).graph.output]
    return dict(zip(names, ReferenceEvaluator(str(path)).run(None, inputs)))


def test_a_neck_runs_in_the_reference_implementation(tmp_path):
    """Without a resize, which every runtime reads another way; nothing is warned of."""
    model = neck_model()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = to_onnx(model, tmp_path / "neck.onnx")
    assert not [warning for warning in caught if "onnxruntime" in str(warning.message)]
    assert report.operators["DepthToSpace"] == 2 and "Resize" not in report.operators
    x = {k: np.ones((1, *t.shape[1:]), "float32") for k, t in model.input.items()}
    got = in_reference(tmp_path / "neck.onnx", x)
    for key, want in model(x).items():
        np.testing.assert_allclose(got[key if key == "P6" else f"{key}_out"], want, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("opset", "batch_size"), [(13, 1), (18, None), (18, 1), (13, None)])
def test_a_detector_runs_in_the_reference_implementation(tmp_path, opset, batch_size):
    """Suppression included; in a batch one picture has nothing to find, nor has another batch."""
    detector = small_detector()
    to_onnx(detector, tmp_path / "m.onnx", opset=opset, batch_size=batch_size)
    image = pictures(1, (64, 96))
    if batch_size is None:
        image = np.concatenate([image, 0 * image])
    got = in_reference(tmp_path / "m.onnx", {"image": image})
    want = detector.predict(image, verbose=0)
    assert want["count"][0] > 5
    np.testing.assert_array_equal(got["count"], want["count"])
    np.testing.assert_allclose(got["scores"], want["scores"], atol=1e-3)


@pytest.mark.slow
def test_nothing_found_in_a_batch_in_the_reference_implementation(tmp_path):
    detector = small_detector()
    detector.score_threshold = 0.999999
    to_onnx(detector, tmp_path / "m.onnx", batch_size=None)
    got = in_reference(tmp_path / "m.onnx", {"image": pictures(2, (64, 96))})
    np.testing.assert_array_equal(got["count"], [0, 0])


@pytest.mark.parametrize("size", [(16, 24), (13, 9), (3, 4)])
def test_a_nearest_resize_of_the_user_is_in_words_of_the_operator_set(tmp_path, size):
    x = keras.Input((8, 12, 3), name="image")
    model = keras.Model(x, keras.layers.Resizing(*size, interpolation="nearest")(x))
    to_onnx(model, tmp_path / "m.onnx")
    image = pictures(1, (8, 16))[:, :, :12]
    got = in_reference(tmp_path / "m.onnx", {"image": image})["output"]
    np.testing.assert_array_equal(got, model(image))


@pytest.mark.parametrize("opset", [9, 21, "18"])
def test_other_operator_sets_are_refused(tmp_path, opset):
    with pytest.raises(
        ValueError, match=rf"`opset` must be .* least 13 and at most 18.*opset={opset!r}"
    ):
        to_onnx(grouped_model(), tmp_path / "m.onnx", opset=opset)


def test_what_the_runtime_warns_of_is_shown(tmp_path):
    """A weight that no operator reads."""
    onnx = pytest.importorskip("onnx")
    to_onnx(neck_model(), tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(2, "float32"), "spare"))
    onnx.save(proto, tmp_path / "m.onnx")
    with Session(tmp_path / "m.onnx") as session:
        assert any("spare" in text for text in session.warnings)
        with pytest.warns(UserWarning, match="onnxruntime about the exported file.*spare"):
            show_warnings(session)
