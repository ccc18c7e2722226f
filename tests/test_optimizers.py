"""The optimizer for convolution kernels against Keras' own for matrices, and which variables take
which step."""

import keras
import numpy as np
import pytest
from toy import tiny_detector, toy_batch

from keras_detblocks import AdamW, Conv2D, ConvMuon, conv_groups, training
from keras_detblocks.training import ema

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


def test_predictors_biases_and_normalization_take_adamw_steps_in_a_loaded_model_too(tmp_path):
    model = tiny_detector()
    training.compile_detector(model)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        assert isinstance(each.optimizer, ConvMuon)
        for variable, velocity in zip(each.trainable_variables, each.optimizer.adam_velocities):
            predictor = variable.path.startswith(("head/logits_out", "head/distances_out"))
            assert (velocity is None) == (len(variable.shape) == 4 and not predictor), variable.path


def test_an_unknown_optimizer_and_wrong_rates_are_refused_and_schedules_taken():
    model = tiny_detector()
    with pytest.raises(ValueError, match="must be 'muon' or 'adamw'. Received: optimizer='sgd'"):
        training.compile_detector(model, optimizer="sgd")
    with pytest.raises(ValueError, match="`learning_rate` must be a finite number"):
        training.compile_detector(model, float("inf"))
    training.compile_detector(model, keras.optimizers.schedules.CosineDecay(0.5, 10))
    assert float(model.optimizer.learning_rate) == 0.5


@pytest.mark.parametrize("make", [AdamW, ConvMuon])
def test_the_momentum_of_the_average_rises(make):
    """Step n counts `d * (1 - exp(-n / tau))` of the average before it; tau is 1 / (1 - d)."""
    optimizer = make(0.1, use_ema=True, ema_momentum=0.8)
    variable, expected = keras.Variable([1.0, -2.0]), None
    for n, gradient in enumerate(_random(6, 2)):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        share = 0.8 * (1 - np.exp(-n / 5))
        before = 0.0 if expected is None else expected
        expected = share * before + (1 - share) * variable.numpy()
    ((averaged, average),) = optimizer.averages()
    assert averaged is variable
    np.testing.assert_allclose(average.numpy(), expected, rtol=1e-5)
    assert np.abs(expected - variable.numpy()).max() > 1e-3


@pytest.fixture(scope="module")
def trained():
    """A detector after three steps, with an average of ten steps."""
    model = tiny_detector((64, 96, 3))
    training.compile_detector(model, ema=0.9, run_eagerly=True)
    x, y = toy_batch(4)
    for _ in range(3):
        model.train_on_batch(x, y)
    return model


def test_statistics_are_averaged_with_the_weights_and_travel(trained, tmp_path):
    model = trained
    statistics = [v for v in model.non_trainable_variables if v.path.endswith("moving_mean")]
    raw = [v.numpy() for v in statistics]
    with training.averaged(model):
        inside = [v.numpy() for v in statistics]
    assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(raw, inside))
    assert all(np.array_equal(a, v.numpy()) for a, v in zip(raw, statistics))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    pairs = zip(model.optimizer.averages(), loaded.optimizer.averages(), strict=True)
    assert all(np.array_equal(a.numpy(), b.numpy()) for (_, a), (_, b) in pairs)


def test_what_was_saved_with_statistics_loads_where_statistics_are_not_averaged(
    trained, tmp_path, monkeypatch
):
    """As on JAX; Keras would leave all of the optimizer's state out."""
    trained.save(tmp_path / "model.keras")
    monkeypatch.setattr(type(trained.optimizer), "_sees_statistics", lambda optimizer: False)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations.numpy()) == 3
    here, there = loaded.optimizer.averages(), trained.optimizer.averages()
    assert len(here) == len(trained.trainable_variables) < len(there)
    assert all(np.array_equal(a.numpy(), b.numpy()) for (_, a), (_, b) in zip(here, there))


def test_the_better_weights_are_judged_while_the_average_is_young(trained):
    class Result:
        def __init__(self, ap):
            self.ap = ap

    model, variable = trained, trained.trainable_variables[0]
    raw = variable.numpy()
    averages = {v.path: average.numpy() for v, average in model.optimizer.averages()}

    def prefer(wanted):
        return lambda m: Result(float(np.array_equal(variable.numpy(), raw) == wanted))

    assert [ema.judged(model, prefer(wanted))[1] for wanted in (True, False)] == [False, True]
    model.optimizer.iterations.assign(51)  # over five time constants of 1 / (1 - 0.9) steps
    assert ema.judged(model, prefer(True))[1] is True
    kept = ema.RawWeights()
    kept.pairs = [(variable, raw)]
    model.optimizer.finalize_variable_values(model.trainable_variables)  # as at the end of `fit`
    mean = next(v for v in model.non_trainable_variables if v.path in averages)
    np.testing.assert_array_equal(mean.numpy(), averages[mean.path])
    assert ema.keep_better(model, prefer(True), kept)[1] is False
    np.testing.assert_array_equal(variable.numpy(), raw)
