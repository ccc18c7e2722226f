"""What must hold in a new process: one process per environment runs the checks of `checks.py`."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from backbone_families import every_family
from cases import CASES, NEEDS_TORCH, everything, freeze_some, inputs_of
from export_models import grouped_model, pictures
from safetensors.numpy import save_file
from toy import toy_detector

import keras_detblocks as kdb
from keras_detblocks import export, training

HERE = pathlib.Path(__file__).parent
PATHS = [HERE.parents[1], HERE.parent, HERE.parent / "detection"]

ELSEWHERE = (
    "every_layer_loads_and_gives_the_same",
    "every_backbone_loads_and_gives_the_same",
    "a_detector_finds_loses_and_trains",
    "convolutions_and_their_gradients",
    "tensorflow_stays_out",
)
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
JAX["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # little to compute, much to compile
# {environment: (its variables, the checks in their order)}
ENVIRONMENTS = {
    "tensorflow": (
        {"TF_ENABLE_ONEDNN_OPTS": "1"},
        (
            "the_import_brings_pillow_alone",
            "two_replicas_train_every_layer_like_one_device",
            "two_replicas_train_a_detector_like_one_device",
            "every_layer_loads_and_gives_the_same",
            "a_detector_finds_loses_and_trains",
            "the_hub_is_read_from_its_cache",
            "convolutions_and_their_gradients",
        ),
    ),
    "without oneDNN": (
        {"TF_ENABLE_ONEDNN_OPTS": "0"},
        (
            "a_saved_model_runs_without_the_package",
            "the_optimizer_of_training_is_registered",
            "convolutions_and_their_gradients",
        ),
    ),
    "jax": (JAX, ELSEWHERE),
    "torch": ({"KERAS_BACKEND": "torch"}, ELSEWHERE),
}
CHECKS = [
    pytest.param(name, check, marks=NEEDS_TORCH if name == "torch" else (), id=f"{name}-{check}")
    for name, (_, checks) in ENVIRONMENTS.items()
    for check in checks
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, trained_files):
    """What the checks read."""
    folder = tmp_path_factory.mktemp("fresh")
    _save_layers(folder)
    _save_backbones(folder)
    _save_detector(folder, trained_files)
    model = grouped_model()
    export.to_saved_model(model, folder / "grouped", image_size=(32, 40))
    image = pictures(3)
    np.savez(folder / "grouped.npz", image=image, output=np.asarray(model(image)))
    _lay_out_hub(folder / "hub_home")
    return folder


def _save_layers(folder):
    """One file of all of them: each file more would cost its seconds in every process."""
    model = everything()
    for case in CASES:
        freeze_some(model.get_layer(f"{case.name}_layer"))
    model.save(folder / "layers.keras")
    outputs = model(inputs_of(CASES)).items()
    np.savez(
        folder / "layers.npz",
        **{name: np.asarray(keras.ops.cast(y, "float32")) for name, y in outputs},
    )


def _save_backbones(folder):
    model = every_family()
    image = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:]))
    image = image.astype("float32")
    model.save(folder / "backbones.keras")
    maps = {name: np.asarray(y) for name, y in model(image).items()}
    np.savez(folder / "backbones.npz", image=image, **maps)


def _save_detector(folder, trained_files):
    detector = keras.models.load_model(trained_files / "detector.keras")
    detector.iou_threshold = 0.5
    detector.save(folder / "detector.keras")
    batch = {key: value[:4] for key, value in np.load(trained_files / "pictures.npz").items()}
    np.savez(folder / "batch.npz", **batch)
    x, y = batch["x"], {"boxes": batch["boxes"], "labels": batch["labels"]}
    loss = detector.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    np.savez(folder / "found.npz", loss=loss, **detector.predict(x, verbose=0))
    other = toy_detector()
    training.compile_detector(other)
    other.save(folder / "muon.keras")


def _lay_out_hub(home):
    snapshot = home / "hub" / "models--timm--net.tag" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    save_file({"some.weight": np.ones(3, "float32")}, snapshot / "model.safetensors")
    settings = {"pretrained_cfg": {"tag": "tag", "crop_pct": 0.9}}
    (snapshot / "config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def results(folder):
    """A function: the results of all checks of an environment, run once."""
    known = {}

    def run(name):
        if name not in known:
            variables, checks = ENVIRONMENTS[name]
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
            environment["PYTHONPATH"] = os.pathsep.join(map(str, PATHS))
            done = subprocess.run(
                [sys.executable, HERE / "checks.py", folder, *checks],
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            known[name] = json.loads(done.stdout.strip().splitlines()[-1])
        return known[name]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("environment, check", CHECKS)
def test_fresh_process(results, environment, check):
    error = results(environment)[check]
    assert not error, error


def test_the_package_is_this_one():
    """The processes import what this one imports, whatever is installed."""
    assert pathlib.Path(kdb.__path__[0]).parent == PATHS[0]
