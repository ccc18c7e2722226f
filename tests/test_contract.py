"""What every layer of the package promises, over the table of `cases.py`. (`fresh/` loads each in a
new process, and on other backends.)"""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import CASES
from without_values import without_values

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
BY_NAME = {case.name: case for case in CASES}


@functools.cache
def _model(name):
    return BY_NAME[name].model()


def model_of(case):
    """The model of a case that all tests of it share: each takes weights and statistics as it finds
    them."""
    return _model(case.name)


def layer_of(case):
    """The layer in `model_of(case)`."""
    layer = model_of(case).layers[-1]
    assert len(layer.weights) == len(model_of(case).weights)
    return layer


def arrays(structure):
    return [np.asarray(keras.ops.cast(x, "float32")) for x in keras.tree.flatten(structure)]


def stable(x):
    """A config as JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(x, sort_keys=True))


def statistics(layer):
    return [(w.path, np.asarray(w)) for w in layer.non_trainable_weights if "seed" not in w.path]


@each_case
def test_config(case):
    """The configuration is what was passed, and survives JSON."""
    layer = case.build(name="thing")
    config = layer.get_config()
    made = case.made_arguments().items()
    expected = {
        key: keras.saving.serialize_keras_object(v) if isinstance(v, keras.Layer) else v
        for key, v in made
    }
    assert {key: config[key] for key in expected} == expected
    loaded = keras.saving.deserialize_keras_object(
        stable(keras.saving.serialize_keras_object(layer))
    )
    assert type(loaded) is type(layer)
    assert stable(loaded.get_config()) == stable(config)


INTS = [
    pytest.param(case, name, id=f"{case.name}-{name}")
    for case in CASES
    for name, value in case.int_arguments().items()
]


@pytest.mark.parametrize("case, name", INTS)
def test_ints(case, name):
    """NumPy's ints are taken and stored as Python's; other things are refused in one sentence."""
    value = case.int_arguments()[name]
    several = isinstance(value, (tuple, list))
    numpy = tuple(np.int64(v) for v in value) if several else np.int32(value)
    stored = case.build(**{name: numpy}).get_config()[name]
    assert stored in (value, (value, value))
    assert {type(v) for v in (stored if isinstance(stored, (tuple, list)) else (stored,))} == {int}
    for wrong in (True, 1.5, "3", np.float64(2.0), (True,), -7):
        with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}="):
            case.build(**{name: wrong})


@each_case
def test_activations(case):
    """One that does not exist is refused at once, in one sentence."""
    layer = case.build()
    if isinstance(layer, keras.layers.Conv2D):
        return  # the argument is Keras' own
    for name in layer.get_config():
        if name.endswith("activation") and name != "pre_activation":
            for wrong in ("nonsense", 3, True):
                with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}="):
                    case.build(**{name: wrong})


@each_case
def test_unequal_kernels(case):
    """No two kernels start with the same values, and a user's initializer is no exception."""
    layer = layer_of(case)
    kernels = [np.asarray(w) for w in layer.weights if w.path.endswith("kernel")]
    for i, one in enumerate(kernels):
        assert not any(one.shape == other.shape and (one == other).all() for other in kernels[:i])


@each_case
def test_tensorflow_finds_every_variable(case):
    """So that `tf.train.Checkpoint` keeps all of them."""
    layer = layer_of(case)
    found = {id(each) for each in tf.train.TrackableView(layer).descendants()}
    lost = [variable.path for variable in layer.variables if id(variable) not in found]
    assert not lost


def flags(layer):
    return [w.trainable for w in layer.weights]


@each_case
@without_values()
def test_frozen_layers_survive(case):
    """Of the whole layer and of single parts, in copies from the config, whenever built."""
    layer = case.built()
    parts = [part for part in layer._flatten_layers(include_self=False) if part.weights]
    for part in (*parts[:1], *parts[-1:]):
        part.trainable = False
    copy = _copy(layer, case)
    assert flags(copy) == flags(layer)
    copy.trainable = False
    for part in [part for part in copy._flatten_layers() if part.weights][1:2]:
        part.trainable = True  # one part trains in a layer that else does not
    assert flags(_copy(copy, case)) == flags(copy)


def _copy(layer, case):
    """A layer of the same config, which says the same before it is built, too."""
    copy = type(layer).from_config(stable(layer.get_config()))
    for key in ("trainable", "trainable_parts"):
        assert copy.get_config().get(key) == layer.get_config().get(key)
    copy.build(case.build_shape())
    return copy


@each_case
@without_values()
def test_frozen_from_the_start(case):
    """`trainable=False` of the constructor, and of the attribute before the layer is built."""
    made, told = case.build(trainable=False), case.build()
    told.trainable = False
    for layer in (made, told):
        layer.build(case.build_shape())
        assert not layer.trainable_weights and not any(flags(layer))


NORMALIZED = [c for c in CASES if "norm_groups" in c.build().get_config()]


@pytest.mark.parametrize("case", NORMALIZED, ids=lambda case: case.name)
@without_values()
def test_options_of_normalization(case):
    """Its epsilon, momentum and groups reach every normalization within."""
    options = {"epsilon": 3e-3, "momentum": 0.7, "norm_groups": 2}
    layer = case.build(**options)
    layer.build(case.build_shape())
    norms = [n for n in layer._flatten_layers() if hasattr(n, "epsilon") and hasattr(n, "gamma")]
    assert {n.epsilon for n in norms} <= {3e-3}
    assert {n.momentum for n in norms if hasattr(n, "momentum")} <= {0.7}
    assert {n.groups for n in norms if hasattr(n, "groups")} <= {2}
    assert {key: layer.get_config()[key] for key in options} == options


@each_case
def test_channels_first_by_default(case):
    """The layers are channels-last whatever Keras' default for images is."""
    reference = layer_of(case)
    keras.config.set_image_data_format("channels_first")
    try:
        layer = case.built()
        for ours, theirs in zip(layer.weights, reference.weights, strict=True):
            ours.assign(theirs)
        outputs = arrays(layer(case.inputs()))
    finally:
        keras.config.set_image_data_format("channels_last")
    for x, y in zip(outputs, arrays(reference(case.inputs()))):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@each_case
def test_sizes(case):
    """Odd, non-square, dynamic, batch 1: the layer, and a model of it for unknown sizes, give the
    same."""
    model, layer = model_of(case), layer_of(case)
    other = case.other_size if case.dynamic else case.size
    for size, batch in ((case.size, 1), (other, 2)):
        inputs = case.inputs(size, batch)
        spec = layer.compute_output_spec(
            keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape), inputs)
        )
        for x, y, s in zip(
            keras.tree.flatten(layer(inputs)),
            keras.tree.flatten(model(inputs)),
            keras.tree.flatten(spec),
        ):
            assert tuple(x.shape) == tuple(y.shape) == tuple(s.shape)
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
            assert np.isfinite(np.asarray(x)).all()


@pytest.mark.slow
@each_case
def test_mixed_precision(case):
    layer, reference = case.built(dtype="mixed_bfloat16"), layer_of(case)
    assert {w.dtype for w in layer.weights} <= {"float32", "uint32"}
    for variable, value in zip(layer.weights, reference.weights, strict=True):
        variable.assign(value)
    outputs = layer(case.inputs())
    assert {keras.backend.standardize_dtype(x.dtype) for x in keras.tree.flatten(outputs)} <= {
        "bfloat16",
        "float32",
    }
    for x, y in zip(arrays(outputs), arrays(reference(case.inputs()))):
        assert np.sqrt(np.mean((x - y) ** 2)) <= 0.05 * y.std() + 1e-3  # bfloat16 has three digits


@each_case
def test_gradients(case):
    """Every trainable weight receives a finite gradient."""
    layer = layer_of(case)
    inputs = keras.tree.map_structure(tf.constant, case.inputs())
    rng = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        outputs = keras.tree.flatten(layer(inputs, training=True))
        loss = sum(tf.reduce_sum(x * rng.normal(size=x.shape).astype("float32")) for x in outputs)
    variables = layer.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables])):
        assert gradient is not None, f"no gradient for {variable.path}"
        assert np.isfinite(np.asarray(gradient)).all(), variable.path


@pytest.mark.slow
@each_case
def test_inference_leaves_the_statistics(case):
    """Calls without `training` change no moving statistic; calls with it do."""
    model = model_of(case)
    inputs = case.inputs()
    before = statistics(model)
    model(inputs)
    model(inputs, training=False)
    model.layers[-1](inputs)
    for (path, old), (_, new) in zip(before, statistics(model)):
        np.testing.assert_array_equal(old, new, err_msg=path)
    model(inputs, training=True)
    for (path, old), (_, new) in zip(before, statistics(model)):
        assert not np.array_equal(old, new), f"{path} is not updated in training"
