"""One small backbone of each family in every export format, on JAX and on PyTorch: all in one
model, one conversion a format."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from cases import NEEDS_TORCH, randomize

import keras_detblocks as kdb
from keras_detblocks import export
from keras_detblocks.backbones import anynet, cspnet, densenet
from keras_detblocks.backbones.applications import Arguments, application

SIZE = (64, 96)


def _narrow(name, depths):
    """A published CSP net, an eighth as wide and less deep."""
    spec = cspnet.CSP_VARIANTS[name]
    stem = tuple((8, kernel, stride) for _, kernel, stride in spec.stem)
    return cspnet.csp_trunk(
        dataclasses.replace(
            spec, stem=stem, widths=tuple(w // 8 for w in spec.widths), depths=depths
        ),
        name,
    )


TRUNKS = {
    "regnet": anynet.anynet_trunk(
        kdb.AnyNetSpec((1, 2, 1), (16, 24, 32), (1, 1, 1), (8, 8, 8), 0.25, 8), "regnet"
    ),
    "cspresnet": _narrow("cspresnet50", (1, 2, 1, 1)),
    "cspdarknet": _narrow("cspdarknet53", (1, 1, 2, 1, 1)),
    "cspdensenet": densenet.csp_densenet_trunk("cspdensenet", (1, 2, 2, 1), growth_rate=8),
}


def _backbone(name):
    return application(
        TRUNKS[name], Arguments(include_top=False, input_shape=(*SIZE, 3), levels=(3, 4), name=name)
    )


@pytest.fixture(scope="module")
def every_family():
    """Image to two levels of each family."""
    keras.utils.set_random_seed(0)
    image = keras.Input((*SIZE, 3), name="image")
    maps = {name: _backbone(name)(image) for name in TRUNKS}
    outputs = {
        f"{name}_{level}": tensor
        for name, levels in maps.items()
        for level, tensor in levels.items()
    }
    return randomize(keras.Model(image, outputs, name="every_family"))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "onnx", "tflite"])
def test_exports(every_family, tmp_path, format):
    """Each export is opened in a process of its own and compared with Keras before it is
    returned."""
    report = getattr(export, f"to_{format}")(every_family, tmp_path / f"backbones.{format}")
    assert set(report.max_error) == {f"{name}_P{level}" for name in TRUNKS for level in (3, 4)}
    assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "TILE"} & set(report.operators)


ON_OTHERS = """
import keras, numpy as np, sys
import keras_detblocks as kdb
model = keras.models.load_model(sys.argv[1] + "/m.keras")
data = dict(np.load(sys.argv[1] + "/m.npz"))
image = data.pop("image")
run = model
if keras.backend.backend() == "jax":
    import jax
    run = jax.jit(model)  # one compilation instead of one per operator and shape
for name, y in run(image).items():
    error = np.abs(keras.ops.convert_to_numpy(y) - data[name]).max() / data[name].std()
    assert error < 1e-3, (name, error)
built = kdb.AnyNet(kdb.AnyNetSpec((1,), (16,), (1,), (8,), 0.25, 8), input_shape=(32, 32, 3), classes=3)
assert kdb.feature_pyramid(built, (2,)).output["P2"].shape == (None, 8, 8, 16)
assert np.isfinite(keras.ops.convert_to_numpy(built(np.ones((2, 32, 32, 3)), training=True))).all()
print(keras.backend.backend(), "tensorflow" in sys.modules, len(data))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=NEEDS_TORCH)])
def test_on_other_backends(every_family, tmp_path, backend):
    """The same file gives the same maps there, without TensorFlow; a net is built there too, and
    runs as in training."""
    image = np.random.default_rng(0).uniform(0, 255, (2, *SIZE, 3)).astype("float32")
    every_family.save(tmp_path / "m.keras")
    np.savez(
        tmp_path / "m.npz",
        image=image,
        **{k: np.asarray(v) for k, v in every_family(image).items()},
    )
    env = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(pathlib.Path(__file__).parents[2]),
    }
    env["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # little to compute, much to compile
    run = subprocess.run(
        [sys.executable, "-c", ON_OTHERS, str(tmp_path)], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert f"{backend} False 8" in run.stdout
