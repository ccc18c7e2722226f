"""A backbone and a detector small enough to train in a test, and pictures for them."""

import json

import keras
import numpy as np
from PIL import Image

import keras_detblocks as kdb
from keras_detblocks.layers import conv_norm_act


def toy_backbone(shape=(64, 96, 3), levels=(3, 4), normalization=(127.5, 127.5)):
    image = keras.Input(shape)
    x = conv_norm_act(kdb.ImageNormalization(*normalization)(image), 16, 3, 2, name="stem")
    features = {}
    for level in range(2, max(levels) + 1):
        x = conv_norm_act(x, 16, 3, 2, name=f"stage{level}")
        features[f"P{level}"] = x
    return keras.Model(
        image, {f"P{level}": features[f"P{level}"] for level in levels}, name="toy_backbone"
    )


def toy_detector(shape=(64, 96, 3), levels=(3, 4), **options):
    options.setdefault("class_names", ["circle", "square", "star"])
    return kdb.Detector(toy_backbone(shape, levels), kdb.FPN(16, levels=levels), **options)


def tiny_detector(shape=(32, 48, 3), **options):
    """Two convolutions to P3 and one in each branch of the head, for what is traced many times."""
    image = keras.Input(shape)
    x = conv_norm_act(kdb.ImageNormalization(127.5, 127.5)(image), 8, 3, 4, name="stem")
    x = conv_norm_act(x, 16, 3, 2, name="stage")
    head = kdb.AnchorFreeHead(3, num_convs=1, name="head")
    options.setdefault("class_names", ["circle", "square", "star"])
    return kdb.Detector(keras.Model(image, {"P3": x}, name="tiny_backbone"), head=head, **options)


@keras.saving.register_keras_serializable("toy")
class PerLevel(keras.layers.Layer):
    """A neck of a user's own: convolution and dropout for each level, in a dict, unnamed."""

    def build(self, shapes):
        self.parts = {}
        for name, shape in shapes.items():
            self.parts[f"{name}_conv"] = kdb.Conv2D(8, 1)
            self.parts[f"{name}_drop"] = keras.layers.Dropout(0.1)
            self.parts[f"{name}_conv"].build(shape)
        self.built = True

    def call(self, features, training=None):
        return {
            name: self.parts[f"{name}_drop"](self.parts[f"{name}_conv"](x), training=training)
            for name, x in features.items()
        }


def toy_batch(count=8, size=(64, 96), seed=0):
    """Bright rectangles on noise: images and padded ground truth; the first image has no object."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 60, (count, *size, 3)).astype("float32")
    boxes, labels = np.zeros((count, 3, 4), "float32"), np.full((count, 3), -1, "int32")
    for i in range(1, count):
        for j in range(rng.integers(1, 4)):
            label, w, h = rng.integers(3), *rng.integers(12, 30, 2)
            x, y = rng.integers(0, size[1] - w), rng.integers(0, size[0] - h)
            images[i, y : y + h, x : x + w, label] = 220.0
            boxes[i, j], labels[i, j] = (x, y, x + w, y + h), label
    return images, {"boxes": boxes, "labels": labels}


def write_coco(folder, count=24):
    """`toy_batch` as files: PNG pictures and COCO JSON, category ids from 7."""
    images, truth = toy_batch(count)
    names = ["circle", "square", "star"]
    coco = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 7 + i, "name": name} for i, name in enumerate(names)],
    }
    for part in ("train", "annotations"):
        (folder / part).mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.astype("uint8")).save(folder / "train" / f"{i}.png")
        coco["images"].append({"id": i, "file_name": f"{i}.png", "width": 96, "height": 64})
        for (x0, y0, x1, y1), label in zip(truth["boxes"][i].tolist(), truth["labels"][i].tolist()):
            if label >= 0:
                box = [x0, y0, x1 - x0, y1 - y0]
                about = {"id": len(coco["annotations"]), "image_id": i, "category_id": 7 + label}
                about |= {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                coco["annotations"].append(about)
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(coco))


def train_toy(folder):
    """Leaves `detector.keras`, `history.json` and `pictures.npz` in the folder."""
    keras.utils.set_random_seed(0)
    detector = toy_detector()
    detector.compile(keras.optimizers.AdamW(0.01))
    x, y = toy_batch(48)
    history = detector.fit(x, y, batch_size=8, epochs=25, verbose=0).history
    detector.save(folder / "detector.keras")
    np.savez(folder / "pictures.npz", x=x, **y)
    (folder / "history.json").write_text(json.dumps(history))
