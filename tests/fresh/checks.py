"""What must hold in a new process, where nothing is imported that a test has imported before.

`test_fresh.py` runs this file once per environment, `python checks.py FOLDER CHECK...`, with what
the checks read in FOLDER; it prints one JSON object, {check: "" or its traceback}. The checks run
in the order given.
"""

import gc
import json
import os
import pathlib
import sys
import traceback

FOLDER = pathlib.Path(sys.argv[1])
# Keras and TensorFlow import these wherever they are installed; what is checked here needs none.
for package in {"jax", "matplotlib", "sklearn"} - {os.environ.get("KERAS_BACKEND")}:
    sys.modules[package] = None


def a_saved_model_runs_without_the_package():
    """On the signature alone."""
    import numpy as np
    import tensorflow as tf

    data = np.load(FOLDER / "grouped.npz")
    run = tf.saved_model.load(str(FOLDER / "grouped")).signatures["serving_default"]
    got = run(image=tf.constant(data["image"]))["output"]
    assert np.abs(got - data["output"]).max() < 1e-4
    assert "keras_detblocks" not in sys.modules


def the_import_brings_pillow_alone():
    """What `import keras_detblocks` adds to Keras and TensorFlow: hence a tenth of a second."""
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    before = set(sys.modules)
    import keras_detblocks  # noqa: F401

    brought = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert brought - set(sys.stdlib_module_names) <= {"PIL", "keras_detblocks"}, brought


def every_layer_loads_and_gives_the_same():
    """Every row of `cases.py`, out of one `.keras` file."""
    import keras
    import numpy as np
    from cases import CASES, freeze_some, inputs_of

    import keras_detblocks  # noqa: F401

    model = loaded(FOLDER / "layers.keras")
    outputs = compiled(model)(inputs_of(CASES))
    with np.load(FOLDER / "layers.npz") as data:
        expected = dict(data)
    assert set(outputs) == set(expected)
    worst = {
        name: np.abs(keras.ops.convert_to_numpy(x) - expected[name]).max()
        / (expected[name].std() + 1e-3)
        for name, x in outputs.items()
    }
    bad = {name: error for name, error in worst.items() if not error < 1e-3}
    assert not bad, bad
    frozen = [weight.path for weight in model.weights if not weight.trainable]
    for case in CASES:
        freeze_some(model.get_layer(f"{case.name}_layer"))
    assert frozen == [w.path for w in model.weights if not w.trainable]


def every_backbone_loads_and_gives_the_same():
    """The same file gives the same maps; a net is built here too, and runs as in training."""
    import keras
    import numpy as np

    import keras_detblocks as kdb

    model = loaded(FOLDER / "backbones.keras")
    data = dict(np.load(FOLDER / "backbones.npz"))
    for name, y in compiled(model)(data.pop("image")).items():
        error = np.abs(keras.ops.convert_to_numpy(y) - data[name]).max() / data[name].std()
        assert error < 1e-3, (name, error)
    assert len(data) == 8
    spec = kdb.AnyNetSpec((1,), (16,), (1,), (8,), 0.25, 8)
    built = kdb.AnyNet(spec, input_shape=(32, 32, 3), classes=3)
    assert kdb.feature_pyramid(built, (2,)).output["P2"].shape == (None, 8, 8, 16)
    y = built(np.ones((2, 32, 32, 3)), training=True)
    assert np.isfinite(keras.ops.convert_to_numpy(y)).all()


def loaded(path):
    """A file's model. Its variables' random first values, of which JAX compiles every shape, are
    zeros here: what the file does not bring shows."""
    import keras
    import numpy as np

    if keras.backend.backend() == "jax":
        from jax import device_put  # whatever else makes an array compiles too
    else:
        device_put = np.asarray
    first = keras.initializers.VarianceScaling
    kept = first.__call__
    first.__call__ = lambda self, shape, dtype=None: device_put(np.zeros(shape, dtype))
    try:
        return keras.models.load_model(path)
    finally:
        first.__call__ = kept


def compiled(model):
    """On JAX one compilation instead of one per operator and shape."""
    import keras

    if keras.backend.backend() != "jax":
        return model
    import jax

    return jax.jit(model)


def a_detector_finds_loses_and_trains():
    """A trained one from its file: thresholds, names and optimizer are there, what it finds and
    loses is the same, and training goes on."""
    import keras
    import numpy as np

    import keras_detblocks  # noqa: F401

    model = loaded(FOLDER / "detector.keras")
    assert model.iou_threshold == 0.5 and model.class_names == ("circle", "square", "star")
    assert model.optimizer is not None
    data, want = np.load(FOLDER / "batch.npz"), np.load(FOLDER / "found.npz")
    x, y = data["x"], {"boxes": data["boxes"], "labels": data["labels"]}
    found = model.predict(x, verbose=0)
    np.testing.assert_array_equal(found["count"], want["count"])
    np.testing.assert_allclose(found["scores"], want["scores"], atol=1e-3)
    sure = want["scores"] > 0.3
    assert sure.sum() > 2
    np.testing.assert_array_equal(found["labels"][sure], want["labels"][sure])
    np.testing.assert_allclose(found["boxes"][sure], want["boxes"][sure], atol=1e-1)
    loss = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, want["loss"], rtol=1e-3)
    model.compile(keras.optimizers.SGD(0.01))
    after = model.fit(x, y, batch_size=4, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(after).all() and after[1] < after[0]


def the_optimizer_of_training_is_registered():
    """It is in the file of a model that is trained, and `training` has not been imported here."""
    import keras

    import keras_detblocks  # noqa: F401

    model = keras.models.load_model(FOLDER / "muon.keras")
    assert type(model.optimizer).__name__ == "ConvMuon"
    assert "keras_detblocks.training" not in sys.modules


def the_hub_is_read_from_its_cache():
    """A cache folder laid out by hand is read without a network; an uncached id says what to
    download. Where the cache lies is read when the hub's package is imported."""
    os.environ |= {"HF_HOME": str(FOLDER / "hub_home"), "HF_HUB_OFFLINE": "1"}
    import keras_detblocks as kdb

    found = kdb.weights.read("timm/net.tag")
    assert set(found.tensors) == {"some.weight"} and found.config["crop_pct"] == 0.9
    try:
        kdb.RegNetY002(weights="imagenet")
    except OSError as error:
        address = "https://huggingface.co/timm/regnety_002.pycls_in1k/resolve/main/"
        assert f"{address}model.safetensors" in str(error), error
    else:
        raise AssertionError("an error was expected")


def convolutions_and_their_gradients():
    from convolution import check_values_and_gradients

    check_values_and_gradients()


def two_replicas_train_every_layer_like_one_device():
    from replicas import check_layers

    check_layers()


def two_replicas_train_a_detector_like_one_device():
    from replicas import check_detector

    check_detector()


def tensorflow_stays_out():
    """On the other backends nothing of all this has imported it."""
    assert "tensorflow" not in sys.modules


if __name__ == "__main__":
    gc.disable()  # graphs of several devices take seconds each to be taken apart
    results = {}
    for name in sys.argv[2:]:
        try:
            globals()[name]()
            results[name] = ""
        except Exception:
            results[name] = traceback.format_exc()
    print(json.dumps(results))
    gc.freeze()  # nor at the end
