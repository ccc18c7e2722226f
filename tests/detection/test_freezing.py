"""What is frozen stays frozen: in files, copies and runs, part by part, with the optimizer's
state."""

import copy

import keras
import numpy as np
import pytest
from toy import PerLevel, toy_backbone, toy_batch, toy_detector

import keras_detblocks as kdb
from keras_detblocks.layers.normalization import batch_norms


def _single_layers(detector):
    """One convolution deep in the neck, one normalization of the head, half of the backbone."""
    detector.neck.laterals["P4"].conv.trainable = False
    detector.head.norms["logits_P4_0"].trainable = False
    for layer in detector.backbone.layers[:5]:
        layer.trainable = False


def _one_trains(detector):
    detector.neck.trainable = False
    detector.neck.outs["P4"].trainable = True


WAYS = {
    "nothing": lambda detector: None,
    "backbone and neck": lambda detector: detector.freeze("backbone", "neck"),
    "head": lambda detector: setattr(detector.head, "trainable", False),
    "batch normalizations": lambda detector: detector.freeze("batch_norm"),
    "those of the neck": lambda detector: detector.freeze("neck.batch_norm"),
    "single layers": _single_layers,
    "all of the neck but one": _one_trains,
    "everything": lambda detector: setattr(detector, "trainable", False),
}


def paths(detector):
    return [variable.path for variable in detector.trainable_variables]


def detector_of(**options):
    neck = kdb.FPN(16, levels=(4,), normalization="batch")
    context = kdb.SPPF(16, name="sppf")
    return kdb.Detector(
        toy_backbone(levels=(4,)),
        neck,
        context=context,
        head=kdb.AnchorFreeHead(3, num_convs=1),
        class_names=["circle", "square", "star"],
        **options,
    )


@pytest.mark.parametrize(
    "way",
    # A second each: one for whoever wants to know at once.
    [pytest.param(way, marks=() if way == "single layers" else pytest.mark.slow) for way in WAYS],
)
def test_frozen_layers_survive(way, tmp_path):
    detector = detector_of()
    count = len(detector.trainable_variables)
    WAYS[way](detector)
    frozen = paths(detector)
    assert (len(frozen) == count) == (way == "nothing")
    detector.save(tmp_path / "detector.keras")
    others = {
        "file": keras.models.load_model(tmp_path / "detector.keras"),
        "copy": copy.deepcopy(detector),
        "config": kdb.Detector.from_config(detector.get_config()),
        "classes": detector.with_classes(["star", "cube"]),
    }
    for name, other in others.items():
        assert paths(other) == frozen, name


@pytest.mark.slow
def test_frozen_parts_that_nobody_named(tmp_path):
    """Keras names them, and otherwise in every copy: within a user's neck, and within a block."""
    block = kdb.CrossStage(keras.Sequential([PerMap(), keras.layers.BatchNormalization()]), 8)
    context = {"P4": block}
    detector = kdb.Detector(toy_backbone(), PerLevel(), num_classes=3, context=context)
    detector.neck.parts["P4_conv"].trainable = False
    block.block.layers[0].second.trainable = False
    detector.save(tmp_path / "detector.keras")
    frozen = [weight.trainable for weight in detector.weights]
    for other in (
        keras.models.load_model(tmp_path / "detector.keras"),
        copy.deepcopy(detector),
        detector.with_classes(["star"]),
    ):
        assert [weight.trainable for weight in other.weights] == frozen


@keras.saving.register_keras_serializable("toy")
class PerMap(keras.layers.Layer):
    """Two convolutions without names."""

    def build(self, shape):
        self.first, self.second = kdb.Conv2D(8, 1), kdb.Conv2D(shape[-1], 1)
        self.first.build(shape)
        self.second.build((*shape[:-1], 8))

    def call(self, x):
        return self.second(self.first(x))


def test_a_copy_in_float32_is_as_frozen():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        detector = detector_of()
    finally:
        keras.config.set_dtype_policy("float32")
    _single_layers(detector)
    assert paths(kdb.Detector.from_config(detector.get_config())) == paths(detector)


def test_parts_by_name_and_constructor():
    detector = detector_of(trainable=False)
    assert not detector.trainable_variables and not detector.neck.laterals["P4"].conv.trainable
    detector.freeze("context")
    assert not any("sppf" in path for path in paths(detector))
    assert any("fpn" in path for path in paths(detector))
    detector.freeze("backbone.batch_norm", "head.batch_norm")
    norms = [path for path in paths(detector) if path.endswith(("/gamma", "/beta"))]
    assert norms and all("fpn" in path or "sppf" in path for path in norms)
    detector.freeze()
    assert len(paths(detector)) == len(paths(detector_of()))
    with pytest.raises(ValueError, match="Unknown part of a detector 'bone'. Did you mean 'backb"):
        detector.freeze("bone")
    detector = kdb.Detector(toy_backbone(), None, num_classes=2)
    detector.freeze("neck")  # has none
    assert len(paths(detector)) == len(detector.trainable_weights)


def test_frozen_normalizations_are_computed_within_convolutions(monkeypatch, eager):
    """In training alone; they stand still, everything else moves."""
    names, inner = [], kdb.Conv2D.folded_call
    monkeypatch.setattr(
        kdb.Conv2D, "folded_call", lambda self, *a: names.append(self.name) or inner(self, *a)
    )
    detector = detector_of()
    images, targets = toy_batch()
    detector(images, training=True)
    detector.freeze("batch_norm")
    detector(images)
    assert not names
    theirs, ours = detector(images), detector(images, training=True)
    norms = batch_norms(detector)
    assert len(names) == len(norms) > 9
    for key, value in theirs.items():
        np.testing.assert_allclose(value, ours[key], atol=1e-4)
    before = [variable.numpy() for variable in detector.weights]
    frozen = {id(variable) for norm in norms for variable in norm.weights}
    detector.compile(keras.optimizers.Adam(1e-2))
    detector.train_on_batch(images, targets)
    for variable, value in zip(detector.weights, before):
        assert np.array_equal(variable.numpy(), value) == (id(variable) in frozen), variable.path


@pytest.mark.slow
def test_two_stages_of_a_fit_and_the_optimizer_in_between(tmp_path, eager):
    """Frozen parts stand still, statistics included; the file in between goes on with the state of
    the optimizer; then all of it trains."""
    keras.utils.set_random_seed(0)
    detector = toy_detector(levels=(4,))
    detector.freeze("backbone")
    detector.compile(keras.optimizers.Adam(1e-2))
    images, truth = toy_batch(8)
    before = [np.array(weight) for weight in detector.backbone.weights]
    detector.fit(images, truth, batch_size=4, epochs=1, verbose=0)
    for old, new in zip(before, detector.backbone.weights):
        np.testing.assert_array_equal(old, new, err_msg=new.path)

    detector.save(tmp_path / "stage1.keras")
    loaded = keras.models.load_model(tmp_path / "stage1.keras")
    for ours, theirs in zip(detector.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    loaded.fit(images, truth, batch_size=4, epochs=1, verbose=0)
    for old, new in zip(before, loaded.backbone.weights):
        np.testing.assert_array_equal(old, new, err_msg=new.path)

    loaded.freeze()
    loaded.compile(keras.optimizers.Adam(1e-2))
    loaded.fit(images, truth, batch_size=4, epochs=1, verbose=0)
    for old, new in zip(before, loaded.backbone.weights):
        assert not np.array_equal(old, new), new.path


@pytest.mark.slow
def test_frozen_after_it_was_compiled(tmp_path, eager):
    """The optimizer keeps a state for all that it was compiled with."""
    detector = toy_detector(levels=(4,))
    detector.compile(keras.optimizers.Adam(1e-2))
    images, truth = toy_batch(4)
    detector.fit(images, truth, batch_size=4, epochs=1, verbose=0)
    detector.backbone.trainable = False
    detector.save(tmp_path / "detector.keras")
    loaded = keras.models.load_model(tmp_path / "detector.keras")
    assert paths(loaded) == paths(detector)
    for ours, theirs in zip(detector.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


@pytest.mark.slow
def test_a_loaded_detector_where_channels_come_first_by_default(tmp_path):
    detector = detector_of()
    detector.save(tmp_path / "detector.keras")
    images = toy_batch(2)[0]
    expected = detector(images)
    keras.config.set_image_data_format("channels_first")
    try:
        loaded = keras.models.load_model(tmp_path / "detector.keras")
        outputs, found = loaded(images), loaded.predict(images, verbose=0)
    finally:
        keras.config.set_image_data_format("channels_last")
    for key, x in expected.items():
        np.testing.assert_allclose(outputs[key], x, atol=1e-4)
    assert found["boxes"].shape == (2, 100, 4)


@pytest.mark.slow
def test_states_of_older_optimizers_fit(tmp_path, eager):
    """Files without averaged statistics, and files that have the statistics themselves beside their
    averages: what a file has not is not asked for."""
    detector = toy_detector(levels=(4,))
    kdb.training.compile_detector(detector)
    config = detector.get_compile_config()
    assert config.pop("averaged_statistics") == "once"
    count, twice = {}, {"averaged_statistics": True}
    for name, flag in ("never", {}), ("once", {"averaged_statistics": "once"}), ("twice", twice):
        detector = toy_detector(levels=(4,))
        detector.compile_from_config({**config, **flag})
        count[name] = len(detector.optimizer.variables)
    statistics = [w for w in detector.weights if "/moving_" in w.path]
    assert count["twice"] - count["once"] == count["once"] - count["never"] == len(statistics) > 0
    detector.train_on_batch(*toy_batch(2))
    detector.save(tmp_path / "twice.keras")
    loaded = keras.models.load_model(tmp_path / "twice.keras")
    for ours, theirs in zip(detector.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
    assert len(loaded.optimizer.averages()) == len(detector.weights)
