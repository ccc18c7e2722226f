"""Reads data sets for the command line, and chooses the parts that are used."""

import pathlib
from dataclasses import replace

from ..checks import check_number
from ..images.levels import joined

# Most pixels of a picture that is cut into tiles.
LARGEST_TILED = 10**9


def add_reading(parser):
    """Adds the options for reading a data set."""
    parser.add_argument(
        "--exif",
        choices=("evidence", "upright", "stored"),
        default="evidence",
        help=(
            "what the boxes of pictures with an EXIF orientation were drawn on; evidence decides "
            "by the boxes that leave one of the two frames (default: %(default)s)"
        ),
    )
    parser.add_argument(
        "--layout", default=None, help="layout to read, such as coco, if a folder holds several"
    )


def add_parts(parser):
    """Adds the options that choose the parts for training and validation."""
    parser.add_argument(
        "--train-split",
        default=None,
        help="name of the training split (default: the one called train)",
    )
    parser.add_argument(
        "--val-split",
        default=None,
        help="name of the validation split, or 'none' (default: the one called val)",
    )
    parser.add_argument(
        "--val-data",
        type=pathlib.Path,
        default=None,
        help="a separate data set to validate on, in any layout",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=None,
        help=(
            "without a validation split, hold out this share of the pictures, chosen by --seed, "
            "with the same share of each class; OUT/validation.txt lists them"
        ),
    )


def read(options, split=None, path=None, **limits):
    """Reads a `Dataset` by the options of `add_data`; `path` replaces the data set named there."""
    from .. import data

    images = options.images if path is None else None
    path = options.data if path is None else path
    return data.load(path, split, images, options.exif, options.layout, **limits)


def names(options, path=None):
    """The names of the splits."""
    from .. import data

    if path is not None:
        return data.splits(path, options.layout)
    return data.splits(options.data, options.layout, options.images)


def all_parts(options, split=None, **limits):
    """Returns split name -> `Dataset`, for one split or for all."""
    wanted = [split] if split else names(options)
    return {name: read(options, name, **limits) for name in wanted}


def of_one_list(parts):
    """Gives all parts the union of their classes if their lists differ."""
    lists = {part.class_names for part in parts.values()}
    if len(lists) == 1:
        return parts
    union = tuple(dict.fromkeys(name for part in parts.values() for name in part.class_names))
    return {split: part.with_classes(union) for split, part in parts.items()}


def for_evaluation(options):
    """The test split if there is one, else the validation split, else the only one."""
    found = names(options)
    split = options.split or first(found, "TEST", "VALIDATION")
    if split is None and len(found) > 1:
        raise ValueError(f"Which split? Name one of {sorted(found)} with --split.")
    return read(options, split)


def first(found, *kinds):
    """The first existing split of these kinds, or None."""
    from ..data import split_names  # not for `--help`

    return split_names.first([n for kind in kinds for n in getattr(split_names, kind)], found)


def check_parts(options):
    """Checks which of the parts are given together, and their numbers."""
    given = [options.val_split not in (None, "none"), options.val_data, options.val_fraction]
    if sum(each not in (None, False) for each in given) > 1:
        raise ValueError("Give one of --val-split, --val-data and --val-fraction.")
    check_number(options.val_fraction, "--val-fraction", above=0, below=1, optional=True)


def for_training(options):
    """Returns `(training set, validation set or None)` and prints their descriptions."""
    check_parts(options)
    found = names(options)
    train_name = options.train_split or first(found, "TRAINING")
    if train_name is None and len(found) > 1:
        raise ValueError(
            f"Which split is for training? Name one of {sorted(found)} with --train-split."
        )
    train_set = read(options, train_name)
    if options.val_fraction is not None:
        return _parted(options, train_set)
    print(train_set.describe())
    trained_on = found if train_name is None else train_name.split("+")
    validation_set, what = _validation(options, [name for name in found if name not in trained_on])
    if validation_set is None:
        print("No validation split: training without validation AP (--val-fraction 0.1 makes one).")
        return train_set, None
    validation_set = validation_set.with_classes(train_set.class_names)
    train_set, validation_set = _scaled_alike(train_set, validation_set)
    seen = {r.path for r in train_set.records} & {r.path for r in validation_set.records}
    if seen and options.val_split is None and options.val_data is None:
        print(
            f"{len(seen)} of the {len(validation_set)} pictures of {what!r} are trained on: "
            f"training without validation AP."
        )
        return train_set, None
    if seen:
        print(
            f"Warning: {len(seen)} of the {len(validation_set)} pictures for validation are "
            f"trained on; their AP says little about new pictures."
        )
    print(validation_set.describe())
    return train_set, validation_set


def _scaled_alike(*parts):
    """Gives the parts one rule for deep pictures if more than one has any."""
    levels = [part.levels for part in parts if part.levels]
    if len(levels) < 2:
        return parts
    return tuple(replace(part, levels=joined(levels)) for part in parts)


def _validation(options, free):
    """Returns `(data set or None, its name)` for validation."""
    if options.val_data is not None:
        there = names(options, options.val_data)
        split = first(there, "VALIDATION", "TEST") if len(there) > 1 else there[0]
        return read(options, split, options.val_data), str(options.val_data)
    name = options.val_split or first(free, "VALIDATION")
    return (None, name) if name in (None, "none") else (read(options, name), name)


def _parted(options, dataset):
    from ..data.holdout import hold_out

    train_set, validation_set = hold_out(dataset, options.val_fraction, options.seed)
    print(train_set.describe())
    print(
        f"Held out for validation: {len(validation_set)} of {len(dataset)} pictures (seed "
        f"{options.seed}); {options.out}/validation.txt names them."
    )
    print(validation_set.describe())
    return train_set, validation_set


def write_down(options, validation_set):
    """Writes the names of the held-out pictures, one per line, to the run's folder."""
    if options.val_fraction is not None and options.out.is_dir():
        lines = "".join(f"{record.path}\n" for record in validation_set.records)
        (options.out / "validation.txt").write_text(lines, encoding="utf-8")
