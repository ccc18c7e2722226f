"""One process of `test_several.py`: trains for 12 steps with each optimizer, clipping engaged. Of
two TensorFlow processes the second is asked to stop on the way, and both resume. In the end the
second of two fails, and the first waits for it.

argv: mode (mirror, workers, jax), index of the process, port of the first, folder.
"""

import gc
import os
import pathlib
import signal
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from lighter import lighten
from toy import tiny_detector, toy_batch

from keras_detblocks import optimizers, training
from keras_detblocks.data import Dataset, Record
from keras_detblocks.training import callbacks, curve, devices, fit, recipe
from keras_detblocks.training.distribute import numpy_of

SIZE, CLASSES = (32, 48), ("circle", "square", "star")
MEASURED = ("sgd",)
CLIPPED = {"global_clipnorm": 0.05, "use_ema": True, "ema_momentum": 0.9}


def dataset():
    """24 pictures that are in memory as the pipeline keeps them."""
    images, truth = toy_batch(24, SIZE)
    records = []
    for i, (boxes, labels) in enumerate(zip(truth["boxes"], truth["labels"])):
        kept = boxes[labels >= 0]
        areas = np.prod(kept[:, 2:] - kept[:, :2], axis=1)
        crowd = np.zeros(len(kept), bool)
        record = (f"{i}.png", SIZE[1], SIZE[0], kept, labels[labels >= 0], crowd, areas, i)
        records.append(Record(*record))
    made = Dataset(records, CLASSES, (1, 2, 3))
    made.decoded[SIZE, "letterbox"] = tf.constant(images.astype("uint8")), np.ones(24, bool)
    return made


def compiled_with(name):
    def compile_detector(model, learning_rate, *_):
        model.compile(
            {
                "sgd": lambda: keras.optimizers.SGD(learning_rate, momentum=0.9, **CLIPPED),
                "adamw": lambda: optimizers.AdamW(learning_rate, **CLIPPED),
                "muon": lambda: optimizers.ConvMuon(
                    learning_rate,
                    groups=optimizers.conv_groups(model),
                    exclude_layers=[recipe.PREDICTORS],
                    **CLIPPED,
                ),
            }[name]()
        )

    return compile_detector


def run(name, where, pictures, resume=False):
    """Leaves the weights of the last step and the averaged ones in a file."""
    last, statistics = [], []
    end = callbacks.Milestones.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        last.extend(numpy_of(v) for v in self.model.variables)
        last.extend(numpy_of(v) for v in self.model.optimizer._model_variables_moving_average)
        last.extend(numpy_of(v) for v in getattr(self.model.optimizer, "_statistics_average", ()))
        end(self, epoch, logs)

    step_end = callbacks.Milestones.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        if name == "sgd" and self.run.budget.step in (6, 12):
            found = next(v for v in self.model.variables if v.path.endswith("moving_mean"))
            statistics.append(numpy_of(found).copy())
        step_end(self, batch, logs)

    callbacks.Milestones.on_train_batch_end = on_train_batch_end
    callbacks.Milestones.on_epoch_end = on_epoch_end
    fit.compile_detector = compiled_with(name)
    _, history = training.train(
        lambda: tiny_detector((*SIZE, 3), class_names=CLASSES),
        pictures,
        pictures if name in MEASURED else None,
        f"{where}-run",
        epochs=4,
        batch_size=8,
        learning_rate=0.01 if name == "sgd" else 0.002,
        warmup_steps=2,
        evaluations=2,
        freeze_statistics=0.5 if name == "sgd" else None,
        resume=resume,
    )
    callbacks.Milestones.on_epoch_end = end
    callbacks.Milestones.on_train_batch_end = step_end
    if name == "sgd":  # kept from step 6 on
        assert (statistics[-1] == statistics[-2]).all() and statistics[-1].any()
    np.savez(f"{where}.npz", *last)
    print(where, history["losses"], len(history["ap"]), flush=True)


def run_in_two_parts(name, where, pictures):
    """As `run`, stopped by a signal to one process alone."""
    begin, stop = callbacks.Budget.on_train_batch_begin, []

    def on_train_batch_begin(self, batch, logs=None):
        begin(self, batch, logs)
        if self.step == 4 and index == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    callbacks.Budget.on_train_batch_begin = on_train_batch_begin
    try:
        run(name, where, pictures)
    except KeyboardInterrupt as stopped:
        stop.append(stopped.signal)
    callbacks.Budget.on_train_batch_begin = begin
    assert stop == [signal.SIGTERM]
    run(name, where, pictures, resume=True)


mode, index, port, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
# Graphs of several devices take seconds each to be taken apart, and to be optimized.
gc.disable()
curve.learning_curve = lambda history, path: path.touch()  # a second each
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
names = ["sgd"] if mode == "jax" else ["sgd", "adamw", "muon"]
if mode in ("workers", "jax"):
    addresses = (f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}")
    training.start_workers(training.Workers(addresses, index))
if mode == "mirror":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    lighten()  # not in the other modes: operators of several processes need their functions
pictures = dataset()
for name in names:
    one = run_in_two_parts if (mode, name) == ("workers", "sgd") else run
    one(name, f"{out}/{'one' if mode == 'mirror' else mode}-{index}-{name}", pictures)
if mode == "mirror":
    devices._STARTED.append(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    for name in names:
        run(name, f"{out}/mirror-0-{name}", pictures)
if mode == "jax" and index == 0:  # by itself
    fit.default_devices = devices.Alone
    run("sgd", f"{out}/jaxone-0-sgd", pictures)
gc.freeze()  # the end of the process collects nothing either
if mode in ("workers", "jax"):
    if mode == "jax" and index == 1:  # the first trained once more, by itself
        with training.together():
            pass
    while mode == "jax" and not pathlib.Path(f"{out}/jaxone-0-sgd.npz").exists():
        time.sleep(0.1)
    with training.together():
        if index == 1:
            raise ValueError("no luck\ntoday")
        time.sleep(100)
