"""Trains on a data set of one's own format, with an augmentation of one's own.

The format here is a CSV file, one object a line: `file, x_min, y_min, x_max, y_max, class`. What it
takes is `Record`s; reading, checks, letterboxing, shuffling, batching and COCO AP are the
package's.

    python examples/custom_data.py objects.csv  # 20 epochs
    python examples/custom_data.py --smoke      # draws 48 images itself; 4 steps, half a minute

prints the data set's report, the loss of each epoch, and COCO AP (near 0 after four steps).
"""

import argparse
import csv
import pathlib
import tempfile
from collections import defaultdict

import keras_detblocks as kdb
from keras_detblocks.detection.build import build_detector

SIZE = (128, 128)


def read_csv(path):
    """CSV -> `Dataset`; bad boxes and images are skipped and counted by `make_record`."""
    folder, rows = pathlib.Path(path).parent, defaultdict(list)
    with open(path, newline="") as file:
        for name, *box, label in csv.reader(file):
            rows[name].append((tuple(map(float, box)), label.strip()))
    names = sorted({label for objects in rows.values() for _, label in objects})
    skipped, records = kdb.data.Skipped(), []
    for name, found in rows.items():
        objects = [(box, names.index(label), False, None) for box, label in found]
        records.append(kdb.data.make_record(folder / name, None, objects, name, skipped))
    return kdb.data.Dataset(
        [r for r in records if r], tuple(names), tuple(range(len(names))), skipped, str(path)
    )


def augment(images, boxes, labels, seed):
    """The package's scale, crop and colour, then noise: any TensorFlow operations on a batch will
    do."""
    import tensorflow as tf

    images, boxes, labels = kdb.data.Augment(horizontal_flip=0.0)(images, boxes, labels, seed)
    noise = tf.random.stateless_normal(tf.shape(images), tf.cast(seed, "int32"), stddev=4.0)
    return tf.clip_by_value(images + noise, 0.0, 255.0), boxes, labels


def draw_csv(folder):
    """A small data set in the format above, out of the demo's digits."""
    digits = kdb.data.load(
        kdb.data.write_digits(folder / "digits", train_images=48, val_images=1, image_size=128),
        "train",
    )
    with open(folder / "objects.csv", "w", newline="") as file:
        for record in digits.records:
            for box, label in zip(record.boxes, record.labels):
                csv.writer(file).writerow([record.path, *box, digits.class_names[label]])
    return folder / "objects.csv"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", nargs="?")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = read_csv(options.csv if options.csv else draw_csv(pathlib.Path(folder)))
        print(dataset.describe())
        detector = build_detector(dataset.class_names, SIZE, levels=(3, 4))
        kdb.training.compile_detector(detector, learning_rate=4e-3)
        batches = kdb.data.pipeline(dataset, SIZE, batch_size=8, training=True, augment=augment)
        steps = 4 if options.smoke else max(1, len(dataset) // 8)
        detector.fit(
            batches,
            epochs=1 if options.smoke else 20,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=2,
        )
        print(kdb.training.evaluate_ap(detector, dataset))


if __name__ == "__main__":
    main()
