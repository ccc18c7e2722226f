"""The optimizer for convolution kernels against Keras' own for matrices, and which variables take
which step."""

import keras
import numpy as np
import pytest
from toy import toy_detector

from keras_detblocks import Conv2D, ConvMuon, conv_groups, training

RATE, DECAY = 0.1, 0.02


def _steps(optimizer, kernel, gradients):
    """The kernel after one step per gradient."""
    variable = keras.Variable(kernel, name="kernel")
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return variable.numpy()


def _random(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (1, 1, 6, 24)])
def test_a_kernel_is_updated_as_keras_updates_the_same_matrix(shape, nesterov):
    kernel, gradients = _random(*shape), _random(3, *shape)
    rows = int(np.prod(shape[:-1]))
    options = {"weight_decay": DECAY, "nesterov": nesterov}
    ours = _steps(ConvMuon(RATE, **options), kernel, gradients)
    keras_ = _steps(
        keras.optimizers.Muon(RATE, **options),
        kernel.reshape(rows, -1),
        gradients.reshape(3, rows, -1),
    )
    np.testing.assert_allclose(ours.reshape(rows, -1), keras_, atol=1e-5)
    assert np.abs(ours - kernel).max() > 0.01


def test_each_group_is_a_matrix_of_its_own():
    kernel, gradients = _random(3, 3, 4, 12), _random(2, 3, 3, 4, 12)
    grouped = _steps(ConvMuon(RATE, groups={"kernel": 3}), kernel, gradients)
    parts = [
        _steps(ConvMuon(RATE), part, list(each))
        for part, each in zip(np.split(kernel, 3, axis=-1), np.split(gradients, 3, axis=-1))
    ]
    np.testing.assert_allclose(grouped, np.concatenate(parts, axis=-1), atol=1e-5)
    assert np.abs(grouped - _steps(ConvMuon(RATE), kernel, gradients)).max() > 1e-3


@pytest.mark.parametrize("shape", [(1, 30, 8), (2, 5, 40)])
def test_singular_values_come_near_one(shape):
    result = keras.ops.convert_to_numpy(
        ConvMuon().orthogonalized(keras.ops.convert_to_tensor(_random(*shape)))
    )
    values = np.linalg.svd(result, compute_uv=False)
    assert 0.6 < values.min() and values.max() < 1.3  # the band of the quintic's five steps


def test_groups_are_read_off_the_model():
    image = keras.Input((8, 8, 8))
    model = keras.Model(
        image, Conv2D(16, 3, name="plain")(Conv2D(8, 3, groups=4, name="grouped")(image))
    )
    assert conv_groups(model) == {"grouped/kernel": 4}


def test_predictors_biases_and_normalisation_take_adamw_steps_in_a_loaded_model_too(tmp_path):
    model = toy_detector()
    training.compile_detector(model)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        assert isinstance(each.optimizer, ConvMuon)
        for variable, velocity in zip(each.trainable_variables, each.optimizer.adam_velocities):
            predictor = variable.path.startswith(("head/logits_out", "head/distances_out"))
            assert (velocity is None) == (len(variable.shape) == 4 and not predictor), variable.path


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="must be one of muon, adamw. Received: optimizer='sgd'"):
        training.compile_detector(toy_detector(), optimizer="sgd")
