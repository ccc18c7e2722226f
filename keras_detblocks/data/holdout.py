"""Splits a data set that has no splits of its own into training and validation."""

import zlib
from dataclasses import replace

from ..checks import check_int, check_number
from .dataset import check_dataset
from .errors import DatasetError


def hold_out(dataset, fraction, seed=0):
    """`(training, validation)`: a share of the pictures held out, with each class's share.

    The classes with the fewest pictures choose first. A class keeps at least one picture for
    training. The same pictures and seed give the same parts, whatever order they were read in.

    Args:
        dataset: a `Dataset`.
        fraction: share of the pictures for validation, above 0 and below 1.
        seed: of the choice.

    Raises:
        ValueError: a fraction out of range.
        DatasetError: fewer than two pictures.
    """
    check_dataset(dataset)
    fraction = check_number(fraction, "fraction", above=0, below=1)
    seed = check_int(seed, "seed", least=0)
    count = len(dataset)
    if count < 2:
        raise DatasetError(f"{dataset.source}: expected two or more pictures to part; has {count}.")
    wanted = min(max(round(fraction * count), 1), count - 1)
    chosen = _chosen(dataset.records, len(dataset.class_names), fraction, wanted, seed)
    held = [r for i, r in enumerate(dataset.records) if i in chosen]
    rest = [r for i, r in enumerate(dataset.records) if i not in chosen]
    return (
        replace(dataset, records=rest, source=f"{dataset.source} (training part)"),
        replace(dataset, records=held, source=f"{dataset.source} (validation part)"),
    )


def _chosen(records, num_classes, fraction, wanted, seed):
    """Indices of the pictures that are held out."""
    order = sorted(range(len(records)), key=lambda i: _draw(records[i], seed))
    classes = [sorted(set(record.labels.tolist())) for record in records]
    pictures = [[] for _ in range(num_classes)]
    for i in order:
        for label in classes[i]:
            pictures[label].append(i)
    left = [len(each) for each in pictures]  # pictures of each class that stay for training
    chosen = set()

    def take(candidates, count):
        for i in candidates:
            if count <= 0 or len(chosen) >= wanted:
                return
            if i not in chosen and all(left[label] > 1 for label in classes[i]):
                chosen.add(i)
                count -= 1
                for label in classes[i]:
                    left[label] -= 1

    for label in sorted(range(num_classes), key=lambda k: len(pictures[k])):
        held = len(pictures[label]) - left[label]
        take(pictures[label], round(fraction * len(pictures[label])) - held)
    empty = [i for i in order if not classes[i]]
    take(empty, round(fraction * len(empty)))
    take(order, wanted)
    return chosen


def _draw(record, seed):
    """A random number from the picture's name and the seed, independent of its position in the
    list."""
    name = f"{seed} {record.image_id} {record.path.rpartition('/')[2]}"
    return zlib.crc32(name.encode()), name
