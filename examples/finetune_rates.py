"""Finds the optimizer and learning rate that suit a pretrained backbone under a new neck and head
(`detblocks train --weights`), by COCO AP on your own data sets.

    python examples/finetune_rates.py BCCD nuclei --images 20 --steps 150

The backbone is the compact one of the shipped start, neck and head are new; or, with `--backbone
RegNetY002`, another that learns for `--pretrain` steps on pictures of `kdb.data.synthetic` first.
It begins one training per data set and setting, and one from scratch. The table is printed and kept
in `rates.json` of `--out`; existing entries are not repeated.
"""

import argparse
import json
import pathlib

import keras

import keras_detblocks as kdb

SETTINGS = (  # (start, optimizer, peak learning rate)
    *(("weights", "adamw", rate) for rate in (0.001, 0.004, 0.008)),
    *(("weights", "muon", rate) for rate in (0.005, 0.01, 0.02)),
    ("scratch", "muon", 0.02),
)


def main(arguments=None):
    options = parsed(arguments)
    kdb.training.state.prepare_folder(options.out)
    weights = None if options.backbone == "compact" else pretrained(options)
    path = options.out / "rates.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    for folder in options.data:
        for setting in SETTINGS[: options.settings]:
            key = [folder.name, *setting]
            if not any(row[:4] == key for row in rows):
                rows.append([*key, *trained(folder, setting, weights, options)])
                kdb.training.state.write_json(path, rows)
                print(*rows[-1], flush=True)
    return rows


def parsed(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("rates"))
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--images", type=int, default=20, help="to train on, of each data set")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--backbone", default="compact")
    parser.add_argument("--pretrain", type=int, default=1000, help="steps, of 32 pictures")
    parser.add_argument("--pictures", type=int, default=2000, help="drawn for the pretraining")
    parser.add_argument("--settings", type=int, default=None, help="only so many, for a trial")
    return parser.parse_args(arguments)


def pretrained(options, size=128, batch=32):
    """The path of the backbone's weights."""
    path, folder = options.out / "backbone.keras", options.out / "pretraining"
    if path.is_file():
        return path
    scenes = kdb.data.synthetic.write_scenes(options.out / "scenes", options.pictures, 8, size)
    scenes = kdb.data.load(scenes, "train")
    detector, history = kdb.training.train(
        lambda: kdb.build_detector(scenes.class_names, size, backbone=options.backbone),
        scenes,
        None,
        folder,
        epochs=options.pretrain / (len(scenes) // batch),
        batch_size=batch,
        augment=kdb.data.AUGMENTATIONS["dihedral"],
        resume=(folder / "checkpoint").exists(),
    )
    detector.backbone.save(path)
    return path


def trained(folder, setting, weights, options):
    """Returns AP and AP50 on the pictures that were not trained on."""
    begin, optimizer, rate = setting
    names = kdb.data.splits(folder)
    train_set = kdb.data.load(folder, "trainval" if "trainval" in names else "train")
    test_set = kdb.data.load(folder, "test" if "test" in names else "val")
    train_set = train_set.take(options.images)
    batch = min(16, len(train_set))
    keras.backend.clear_session()

    def build():
        parts = {"backbone": options.backbone}
        if begin == "weights" and weights is not None:
            parts["weights"] = str(weights)
        detector = kdb.build_detector(train_set.class_names, options.size, **parts)
        if begin == "weights" and weights is None:
            started = kdb.build_detector(train_set.class_names, options.size, **parts)
            kdb.start_weights(started)
            detector.backbone.set_weights(started.backbone.get_weights())
        return detector

    detector, _ = kdb.training.train(
        build,
        train_set,
        None,
        options.out / f"{folder.name}-{begin}-{optimizer}-{rate}",
        epochs=options.steps / (len(train_set) // batch),
        batch_size=batch,
        optimizer=optimizer,
        learning_rate=rate,
        augment=kdb.data.AUGMENTATIONS["dihedral"],
    )  # fmt: skip
    ap = kdb.training.evaluate_ap(detector, test_set.with_classes(train_set.class_names))
    return round(ap.ap, 4), round(ap.ap50, 4)


if __name__ == "__main__":
    main()
