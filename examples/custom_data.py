"""Trains on a data set in your own format, with your own augmentation.

The format here is a CSV file with the header `file,x_min,y_min,x_max,y_max,class`, one object per
line (`kdb.data.load` reads such a table too; an unknown format is handled in the same way as here).
All it takes is a dict for each picture; finding files, checks, letterboxing, shuffling, batching
and COCO AP are the package's.

    python examples/custom_data.py objects.csv  # 20 epochs
    python examples/custom_data.py --smoke      # draws 16 images itself; 2 steps, half a minute

prints the data set's report, the loss of each epoch, and COCO AP (near 0 after two steps).
"""

import argparse
import csv
import pathlib
import tempfile

import keras_detblocks as kdb

SIZE = (128, 128)
HEADER = ("file", "x_min", "y_min", "x_max", "y_max", "class")


def read_csv(path):
    """CSV -> `Dataset`; bad boxes and pictures are skipped and counted by `from_records`."""
    records = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            name = row["file"]
            record = records.setdefault(name, {"image": name, "boxes": [], "labels": []})
            record["boxes"].append([row[side] for side in HEADER[1:5]])
            record["labels"].append(row["class"].strip())
    folder = pathlib.Path(path).parent
    return kdb.data.from_records(records.values(), images=folder, source=str(path))


def augment(images, boxes, labels, seed):
    """The package's scale, crop and color, then noise: any TensorFlow operations will do."""
    import tensorflow as tf

    images, boxes, labels = kdb.data.Augment(horizontal_flip=0.0)(images, boxes, labels, seed)
    noise = tf.random.stateless_normal(tf.shape(images), tf.cast(seed, "int32"), stddev=4.0)
    return tf.clip_by_value(images + noise, 0.0, 255.0), boxes, labels


def draw_csv(folder):
    """A small data set in the format above, out of the demo's digits."""
    digits = kdb.data.load(
        kdb.data.write_digits(folder / "digits", train_images=16, val_images=1, image_size=128),
        "train",
    )
    with open(folder / "objects.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for record in digits.records:
            for box, label in zip(record.boxes, record.labels):
                writer.writerow([record.path, *box, digits.class_names[label]])
    return folder / "objects.csv"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", nargs="?")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        dataset = read_csv(options.csv if options.csv else draw_csv(pathlib.Path(folder)))
        print(dataset.describe())
        detector = kdb.build_detector(dataset.class_names, SIZE, levels=(3, 4))
        kdb.training.compile_detector(detector, learning_rate=4e-3)
        batches = kdb.data.pipeline(dataset, SIZE, batch_size=8, training=True, augment=augment)
        steps = 2 if options.smoke else max(1, len(dataset) // 8)
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
