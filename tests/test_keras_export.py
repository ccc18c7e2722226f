"""What Keras and TensorFlow themselves do with a model: `export`, `tf.saved_model`, checkpoints."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import small_detector
from toy import PerLevel, toy_backbone

import keras_detblocks as kdb

each_kind = pytest.mark.parametrize(
    "make", [toy_backbone, pytest.param(small_detector, marks=pytest.mark.slow)]
)
ONE_EACH = {case.layer: case for case in cases.CASES}.values()


def image():
    return np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype("float32")


def assert_equal(got, want):
    """Of outputs in the order of a flattened structure, by their largest value."""
    for have, expected in zip(got, map(np.asarray, keras.tree.flatten(want)), strict=True):
        np.testing.assert_allclose(have, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


# Checkpoints --------------------------------------------------------------------------------------


def restored(model, variables, path):
    """The values of variables after `tf.train.Checkpoint` has put zeros in the place of them and
    read them again."""
    prefix = tf.train.Checkpoint(model=model).save(str(path / "checkpoint"))
    for variable in variables:
        variable.assign(keras.ops.zeros_like(variable))
    tf.train.Checkpoint(model=model).restore(prefix).expect_partial()
    return [np.asarray(variable) for variable in variables]


def test_a_checkpoint_of_a_detector(tmp_path):
    """With the seeds of its backbone, parts that a user's neck keeps in a dict, and the states of
    our optimizer."""
    image = keras.Input((64, 96, 3))
    x = kdb.StochasticDepth(0.2)(kdb.ConvNormAct(8, 3, 2)(image))
    pyramid = {"P3": kdb.MaxPool2D(3, strides=4)(x)}
    detector = kdb.Detector(keras.Model(image, pyramid), PerLevel(), num_classes=3)
    kdb.training.compile_detector(detector)
    detector.optimizer.build(detector.trainable_variables)
    for variable in detector.optimizer.variables:
        variable.assign(keras.ops.ones_like(variable))
    variables = [*cases.randomize(detector).variables, *detector.optimizer.variables]
    assert sum("seed" in variable.path for variable in variables) == 2
    before = [np.asarray(variable).copy() for variable in variables]
    for variable, old, new in zip(variables, before, restored(detector, variables, tmp_path)):
        np.testing.assert_array_equal(old, new, err_msg=variable.path)


# Export -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_layer_by_keras(tmp_path):
    """As a SavedModel. (Dicts of dicts are no outputs there: TensorFlow's signatures do not take
    them.)"""
    model = cases.everything(ONE_EACH)
    model.export(str(tmp_path / "m"), format="tf_saved_model", verbose=False)
    inputs = cases.inputs_of(ONE_EACH, batch=1)
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    served = loaded.serve({name: tf.constant(x) for name, x in inputs.items()})
    assert_equal(keras.tree.flatten(served), model(inputs))


@each_kind
def test_onnx_by_keras(make, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = make()
    if make is toy_backbone:  # Keras writes ONNX of models alone that have run, of its own ones too
        model(image())
    model.export(str(tmp_path / "m.onnx"), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (taken,) = session.get_inputs()
    assert_equal(session.run(None, {taken.name: image()}), model(image()))


@pytest.mark.slow
@each_kind
def test_litert_by_keras(make, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    model = make()
    model.export(str(tmp_path / "m.tflite"), format="litert", verbose=False)
    runner = litert.Interpreter(str(tmp_path / "m.tflite")).get_signature_runner()
    (name,) = runner.get_input_details()
    got = runner(**{name: image()})
    assert_equal([got[key] for key in sorted(got)], model(image()))


@pytest.mark.slow
@each_kind
def test_saved_model_by_keras_and_tensorflow(make, tmp_path):
    model = make()
    model.export(str(tmp_path / "keras"), verbose=False)
    tf.saved_model.save(model, str(tmp_path / "tensorflow"))
    for folder in ("keras", "tensorflow"):
        loaded = tf.saved_model.load(str(tmp_path / folder))
        serve = loaded.signatures["serving_default"]
        (name,) = serve.structured_input_signature[1]
        got = serve(**{name: tf.constant(image())})
        assert_equal(keras.tree.flatten(got), model(image()))
