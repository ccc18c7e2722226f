"""The default task of a sweep: image classification on a small data set, a few epochs per net."""

import zlib
from dataclasses import dataclass, field

import keras
import numpy as np

from keras_detblocks.backbones.anynet import AnyNet

from ..backbones.complexity import to_anynet
from ..checks import check_int, check_number, set_fields, spelled
from ..data.pipeline import without_autotuning

KERAS_DATASETS = ("mnist", "fashion_mnist", "cifar10", "cifar100")
_COUNTS = ("epochs", "image_size", "batch_size")
_VALIDATION_SCANS = 397  # of the 1,797 scans


@dataclass(frozen=True)
class Classification:
    """Trains a spec as an image classifier and returns its error: a function for `sweep`.

    SGD with momentum 0.9 and a half-cosine schedule, as in https://arxiv.org/abs/2003.13678,
    appendix C, and one seed for all nets.

    Args:
        dataset: `"digits"` (the 1,797 scans of scikit-learn, nothing is downloaded), the name of a
            set of `keras.datasets` (`mnist`, `fashion_mnist`, `cifar10`, `cifar100`), or arrays
            `((images, labels), (validation_images, labels))` with images `(n, H, W)` or `(n, H, W,
            C)` from 0 to 255.
        epochs: for each net.
        image_size: side in pixels that the images are resized to.
        batch_size: images per step.
        learning_rate: the initial one.
        weight_decay: for every weight.
        seed: for initialization and shuffling.

    Raises:
        ValueError: an unknown data set, or a number out of range.

    Example:

    >>> images, labels = np.zeros((8, 8, 8), "uint8"), np.arange(8) % 2
    >>> task = kdb.design.Classification(((images, labels), (images, labels)), epochs=1)
    >>> task.settings["epochs"], task.classes
    (1, 2)
    """

    dataset: object = "digits"
    epochs: int = 5
    image_size: int = 32
    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 5e-5
    seed: int = 0
    _arrays: list = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self):
        checked = {
            **{name: check_int(getattr(self, name), name) for name in _COUNTS},
            "learning_rate": check_number(self.learning_rate, "learning_rate", above=0),
            "weight_decay": check_number(self.weight_decay, "weight_decay", least=0),
            "seed": check_int(self.seed, "seed", least=0, most=2**32 - 1),
        }
        if isinstance(self.dataset, str):
            checked["dataset"] = spelled(("digits", *KERAS_DATASETS), self.dataset, "data set")
        set_fields(self, checked)

    @property
    def settings(self):
        """The settings that errors depend on, as a study stores them."""
        names = ("epochs", "image_size", "batch_size", "learning_rate", "weight_decay", "seed")
        name = (
            self.dataset if isinstance(self.dataset, str) else f"arrays {_checksum(self.dataset)}"
        )
        return {"dataset": name} | {key: getattr(self, key) for key in names}

    @property
    def classes(self):
        """The number of labels."""
        return int(max(labels.max() for _, labels in self.arrays)) + 1

    @property
    def arrays(self):
        """The training and validation `(images (n, image_size, image_size, C), labels (n,))`;
        loaded once."""
        if not self._arrays:
            splits = _load(self.dataset) if isinstance(self.dataset, str) else self.dataset
            self._arrays.extend(
                _prepare(images, labels, self.image_size) for images, labels in splits
            )
        return tuple(self._arrays)

    def __call__(self, spec):
        """Trains one net; the error is the share of wrong labels on the validation images."""
        (images, labels), validation = self.arrays
        keras.backend.clear_session(free_memory=True)
        keras.utils.set_random_seed(self.seed)
        model = AnyNet(to_anynet(spec), input_shape=images.shape[1:], classes=self.classes)
        steps = self.epochs * -(-len(images) // self.batch_size)
        schedule = keras.optimizers.schedules.CosineDecay(self.learning_rate, steps)
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, weight_decay=self.weight_decay)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        optimizer.build(model.trainable_variables)  # otherwise the step would be traced twice
        history = model.fit(
            **_fed(images, labels, self.batch_size, shuffle=True), epochs=self.epochs, verbose=0
        )
        loss, accuracy = model.evaluate(**_fed(*validation, 256), verbose=0)
        return {
            "error": 1 - accuracy if np.isfinite(loss) else loss,
            "loss": loss,
            "training_loss": history.history["loss"][-1],
        }


def _fed(images, labels, batch_size, shuffle=False):
    """Arguments of `fit` and `evaluate` that give the same steps as the arrays do.

    On TensorFlow, Keras makes autotuned pipelines from arrays, and dropping one can take as long as
    an epoch did (`without_autotuning`): a sweep would wait once per net. Here the order comes from
    the same operators in the same places, hence from the same seeds.
    """
    if keras.backend.backend() != "tensorflow":
        return {"x": images, "y": labels, "batch_size": batch_size}
    import tensorflow as tf

    def order(_):
        places = tf.range(len(images), dtype="int64")
        return tf.random.shuffle(places) if shuffle else places

    def batches_of(places):
        return tf.data.Dataset.from_tensor_slices(places).batch(batch_size)

    with tf.device("CPU:0"):
        arrays = tf.constant(images), tf.constant(labels)
    batches = tf.data.Dataset.range(1).map(order).flat_map(batches_of)
    batches = batches.map(lambda places: tuple(tf.gather(array, places) for array in arrays))
    count = -(-len(images) // batch_size)
    batches = batches.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)
    # Only for `fit`: Keras would warn that it does not shuffle them once more.
    return {"x": without_autotuning(batches)} | ({"shuffle": False} if shuffle else {})


def _load(name):
    """The training and validation arrays of a data set, by its name."""
    if name != "digits":
        return getattr(keras.datasets, name).load_data()
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The digit scans come with scikit-learn: pip install 'keras_detblocks[demo]'."
        ) from error
    scans, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = scans[order].reshape(-1, 8, 8) * (255 / 16), labels[order]
    cut = len(labels) - _VALIDATION_SCANS
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])


def _prepare(images, labels, size):
    """Returns float images `(n, size, size, C)` and flat labels."""
    images = np.asarray(images, np.float32)
    images = images[..., None] if images.ndim == 3 else images
    if images.shape[1:3] != (size, size):
        images = keras.ops.convert_to_numpy(
            keras.ops.image.resize(images, (size, size), data_format="channels_last")
        )
    return images, np.asarray(labels).ravel().astype(np.int64)


def _checksum(splits):
    """A short fingerprint of a data set's contents, the same in every process."""
    value = 0
    for array in (np.ascontiguousarray(array) for split in splits for array in split):
        value = zlib.crc32(
            array.tobytes(), zlib.crc32(repr((array.shape, array.dtype.str)).encode(), value)
        )
    return f"{value:08x}"
