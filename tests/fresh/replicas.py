"""Two replicas under MirroredStrategy make the updates of one device.

Importing this makes two logical devices of the CPU, which is possible only before TensorFlow has
run anything.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from cases import CASES
from lighter import run_as_operators
from toy import tiny_detector, toy_batch

import keras_detblocks as kdb

CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # takes seconds
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)
run_as_operators()


@functools.cache  # collectives of a second one in the process would meet those of the first
def _strategy():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    return strategy


def check_layers():
    """One model of all cases that ask for it, so that there is one function to trace. Batch
    normalization is synchronized: otherwise each replica rightly uses its own statistics."""
    one = _all_layers()
    names = [v.path for v in one.variables if "seed" not in v.path]
    start = _values(one)
    one = _train(one)
    with _strategy().scope():
        two = _all_layers()
    two = _train(two)
    assert [v.shape for v in one] == [v.shape for v in two]
    bad = [
        name
        for name, old, a, b in zip(names, start, one, two)
        if np.abs(a - b).max() > 1e-3 * np.abs(a - old).max() + 1e-5 or not np.isfinite(a).all()
    ]
    moved = sum(not np.array_equal(a, b) for a, b in zip(start, one))
    assert not bad and moved >= 0.8 * len(one), (bad, moved, len(one))


def _all_layers():
    keras.utils.set_random_seed(1)
    inputs, means = [], []
    for case in CASES:
        if case.replicas:
            layer = case.build()
            maps = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:]), case.inputs())
            inputs += keras.tree.flatten(maps)
            for x in keras.tree.flatten(layer(maps)):
                x = keras.layers.Flatten(dtype="float32")(x)
                means.append(keras.ops.mean(keras.ops.square(x), axis=-1, keepdims=True))
            for each in layer._flatten_layers():
                if isinstance(each, keras.layers.BatchNormalization):
                    each.synchronized = True
    whole = keras.Model(inputs, keras.ops.concatenate(means, axis=-1))
    whole.compile(keras.optimizers.SGD(0.5), loss="mse", run_eagerly=True)
    return whole


def _values(model):
    return [np.asarray(v) for v in model.variables if "seed" not in v.path]


def _train(model):
    inputs = [case.inputs(batch=4) for case in CASES if case.replicas]
    y = np.ones((4, model.output_shape[-1]), "float32")
    model.fit(keras.tree.flatten(inputs), y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    return _values(model)


def check_detector():
    """In a plain `fit`, with unequal numbers of objects per replica; synchronized batch norm, since
    each replica sees half of the batch. `test_several.py` trains with all optimizers."""
    x, y = toy_batch(8, (32, 48))
    y["labels"][4:, 1:] = -1  # the second replica has fewer objects

    def train(strategy):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = tiny_detector()
            kdb.training.synchronize_batch_norm(model)
            model.compile(keras.optimizers.SGD(0.05))
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
        losses = model.fit(batches, epochs=3, verbose=0).history["loss"]
        return losses, [w.numpy() for w in model.trainable_variables]

    one, two = train(tf.distribute.get_strategy()), train(_strategy())
    np.testing.assert_allclose(one[0], two[0], rtol=1e-3)
    for a, b in zip(one[1], two[1]):
        np.testing.assert_allclose(a, b, atol=1e-4)
