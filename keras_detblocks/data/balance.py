"""Shows pictures of rare classes more often: repeat-factor sampling."""

import numpy as np

from ..checks import check_number
from .dataset import check_dataset


def repeat_factors(dataset, threshold):
    """Computes how many times each picture is shown in a pass, on average: repeat-factor sampling
    (https://arxiv.org/abs/1908.03195, appendix B.2).

    A class that occurs in a share f of the pictures has the factor `sqrt(threshold / f)`, at least
    1; a picture has the largest factor of its classes. Crowds do not count.

    Args:
        dataset: a `Dataset`.
        threshold: the share of pictures, above 0 to 1, below which a class is rare. The paper uses
            0.001 for 1,203 classes; 1 repeats every class that is not in every picture.

    Returns:
        float64 `(N,)`, at least 1 each; 1 for a picture without objects.

    >>> box, crowd, area = np.ones((1, 4)), np.array([False]), np.array([1.0])
    >>> labels = [np.array([label]) for label in (0, 0, 0, 1)]
    >>> pictures = [kdb.data.Record("", 8, 8, box, label, crowd, area, 0) for label in labels]
    >>> dataset = kdb.data.Dataset(pictures, class_names=("bolt", "nut"), category_ids=(1, 2))
    >>> repeat_factors(dataset, 1.0).round(2)
    array([1.15, 1.15, 1.15, 2.  ])
    """
    factors = _factors(check_dataset(dataset), threshold)
    return np.array([max([1.0, *factors[list(_classes(r))]]) for r in dataset.records])


def rare(dataset, threshold):
    """The classes that `repeat_factors` repeats: name -> factor, the largest first."""
    factors = zip(dataset.class_names, _factors(dataset, threshold))
    return dict(sorted((each for each in factors if each[1] > 1), key=lambda each: -each[1]))


def _factors(dataset, threshold):
    """The factor of each class `(C,)`; 1 for one that occurs in no picture."""
    threshold = check_number(threshold, "threshold", above=0, most=1)
    counts = np.zeros(len(dataset.class_names))
    for record in dataset.records:
        counts[list(_classes(record))] += 1
    wanted = threshold * len(dataset.records)
    return np.sqrt(np.maximum(1.0, wanted / np.where(counts > 0, counts, wanted)))


def _classes(record):
    return set(record.labels[~record.crowd].tolist())
