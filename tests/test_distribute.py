"""Two replicas under MirroredStrategy make the update of one device."""

import os
import pathlib
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).parent

# One model of all cases that ask for it, so that there is one function to trace; in a process,
# because logical devices are made before TensorFlow starts. Batch normalisation is synchronised:
# otherwise each replica rightly uses its own statistics.
TRAIN = """
import sys
import keras, numpy as np, tensorflow as tf
import keras_detblocks
from cases import CASES

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
cases = [case for case in CASES if case.replicas]

def make():
    keras.utils.set_random_seed(1)
    inputs, means = [], []
    for case in cases:
        layer = case.build()
        maps = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:]), case.inputs())
        inputs += keras.tree.flatten(maps)
        outputs = keras.tree.flatten(layer(maps))
        for layer in layer._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        maps = [keras.layers.Flatten(dtype="float32")(x) for x in outputs]
        means += [keras.ops.mean(keras.ops.square(x), axis=-1, keepdims=True) for x in maps]
    whole = keras.Model(inputs, keras.ops.concatenate(means, axis=-1))
    whole.compile(keras.optimizers.SGD(0.5), loss="mse", jit_compile=False)
    return whole

def values(model):
    return [np.asarray(v) for v in model.variables if "seed" not in v.path]

def train(model):
    x = [a for case in cases for a in keras.tree.flatten(case.inputs(batch=4))]
    y = np.ones((4, model.output_shape[-1]), "float32")
    model.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    return values(model)

one = make()
names = [v.path for v in one.variables if "seed" not in v.path]
start = values(one)
one = train(one)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    two = make()
two = train(two)
assert [v.shape for v in one] == [v.shape for v in two]
bad = [
    name
    for name, old, a, b in zip(names, start, one, two)
    if np.abs(a - b).max() > 1e-3 * np.abs(a - old).max() + 1e-5 or not np.isfinite(a).all()
]
moved = sum(not np.array_equal(a, b) for a, b in zip(start, one))
print(f"{len(one)} variables, {moved} moved, bad: {bad}")
sys.exit(bool(bad) or moved < 0.8 * len(one))
"""


@pytest.mark.slow
def test_two_replicas_make_the_update_of_one():
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    env = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": path,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    run = subprocess.run([sys.executable, "-c", TRAIN], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
