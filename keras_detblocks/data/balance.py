"""How often pictures are shown, by how rare their classes are: repeat-factor sampling."""

import numpy as np


def repeat_factors(dataset, threshold):
    """How many times each picture is shown in a pass, on average: repeat-factor sampling
    (https://arxiv.org/abs/1908.03195, appendix B.2).

    A class that is on a share f of the pictures has the factor `sqrt(threshold / f)`, at least 1; a
    picture has the largest factor of its classes. Crowds do not count.

    Args:
        dataset: a `Dataset`.
        threshold: the share of pictures, above 0 to 1, below which a class is rare. The paper has
            0.001 for 1,203 classes; 1 repeats every class that is not on every picture.

    Returns:
        float64 `(N,)`, at least 1 each; 1 for a picture without objects.

    >>> box, crowd, area = np.ones((1, 4)), np.array([False]), np.array([1.0])
    >>> labels = [np.array([label]) for label in (0, 0, 0, 1)]
    >>> pictures = [kdb.data.Record("", 8, 8, box, label, crowd, area, 0) for label in labels]
    >>> dataset = kdb.data.Dataset(pictures, class_names=("bolt", "nut"), category_ids=(1, 2))
    >>> repeat_factors(dataset, 1.0).round(2)
    array([1.15, 1.15, 1.15, 2.  ])
    """
    factors = np.maximum(1.0, np.sqrt(threshold / np.maximum(_shares(dataset), 1e-12)))
    return np.array([max([1.0, *factors[list(_classes(r))]]) for r in dataset.records])


def rare(dataset, threshold):
    """The classes that `repeat_factors` repeats: name -> factor, the largest first."""
    shares = dict(zip(dataset.class_names, _shares(dataset)))
    found = {n: (threshold / s) ** 0.5 for n, s in shares.items() if 0 < s < threshold}
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _shares(dataset):
    """Of the pictures, that have an object of each class `(C,)`."""
    counts = np.zeros(len(dataset.class_names))
    for record in dataset.records:
        counts[list(_classes(record))] += 1
    return counts / max(len(dataset.records), 1)


def _classes(record):
    return set(record.labels[~record.crowd].tolist())
