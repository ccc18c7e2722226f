"""Parts a data set into training and validation where it has no split of its own."""

import zlib
from dataclasses import replace

import numpy as np

from .errors import DatasetError


def hold_out(dataset, fraction, seed=0):
    """`(training, validation)`: a share of the pictures held out, with each class's share.

    The classes with the fewest pictures choose first. A class keeps at least one picture for
    training. The same pictures and seed give the same parts, whatever the order they were read in.

    Args:
        dataset: a `Dataset`.
        fraction: share of the pictures for validation, above 0 and below 1.
        seed: of the choice.

    Raises:
        DatasetError: a fraction out of range, or fewer than two pictures.
    """
    if not 0 < fraction < 1:
        raise DatasetError(
            f"expected a fraction above 0 and below 1 for validation; received {fraction}."
        )
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
    """Places of the pictures that are held out."""
    order = sorted(range(len(records)), key=lambda i: _draw(records[i], seed))
    pictures = [[i for i in order if c in records[i].labels] for c in range(num_classes)]
    chosen, settled = set(), set()
    for of_class in sorted((p for p in pictures if p), key=len):
        quota = min(round(fraction * len(of_class)), len(of_class) - 1)
        missing = quota - len(chosen.intersection(of_class))
        free = [i for i in of_class if i not in chosen and i not in settled]
        take = free[: max(0, min(missing, wanted - len(chosen)))]
        chosen.update(take)
        settled.update(of_class)
    free = [i for i in order if i not in chosen]
    # Pictures without objects first: those with objects have had their share.
    free.sort(key=lambda i: len(records[i].labels) > 0)
    empty = [i for i in free if len(records[i].labels) == 0]
    share = min(round(fraction * len(empty)), max(0, wanted - len(chosen)))
    chosen.update(empty[:share])
    others = [i for i in free if i not in chosen and _spared(records[i], pictures, chosen)]
    chosen.update(others[: max(0, wanted - len(chosen))])
    return chosen


def _spared(record, pictures, chosen):
    """Whether every class of a picture has another one left for training."""
    return all(
        sum(i not in chosen for i in pictures[c]) > 1
        for c in set(np.asarray(record.labels).tolist())
    )


def _draw(record, seed):
    """A random place by the picture's name and the seed: not by where it stands in the list."""
    name = f"{seed} {record.image_id} {record.path.rpartition('/')[2]}"
    return zlib.crc32(name.encode()), name
