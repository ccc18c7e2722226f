"""Detections and objects of a data set as flat arrays, their overlaps, and COCO's matching of them.

The rules are those of cocoapi (https://github.com/cocodataset/cocoapi), to the last digit. The
matching is done here because neither cocoapi nor faster-coco-eval reveals which detection was right
at which IoU, and curves, intervals and kinds of errors are computed from that.
"""

from dataclasses import dataclass

import numpy as np

IOUS = np.linspace(0.5, 0.95, 10)  # as cocoapi makes them: 0.9 is 0.8999999999999999
LEAST_OVERLAP = 0.1  # with less overlap a detection is on the background (TIDE, section 2.2)
_PAIRS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Objects:
    """Objects of all pictures: arrays of one length.

    Attributes:
        image: number of the picture.
        label: number of the class.
        box: float64 `(n, 4)` xyxy in pixels.
        area: in square pixels.
        crowd: bool: such objects count neither as missed nor as false.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray

    def __len__(self):
        return len(self.image)


@dataclass(frozen=True)
class Found:
    """Detections of all pictures, the highest score first: arrays of one length.

    Attributes:
        image, label, box, area: as in `Objects`. score: float64.
        rank: place among those of the same class in the same picture, from 0.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    area: np.ndarray
    score: np.ndarray
    rank: np.ndarray

    def __len__(self):
        return len(self.image)


@dataclass(frozen=True)
class Pairs:
    """A detection and an object of one picture that overlap: arrays of one length.

    Attributes:
        found, truth: indices.
        iou: their overlap; for a crowd, as a share of the detection's area.
    """

    found: np.ndarray
    truth: np.ndarray
    iou: np.ndarray

    def where(self, chosen):
        return Pairs(self.found[chosen], self.truth[chosen], self.iou[chosen])


def objects_of(records):
    """The `Objects` of a list of `data.Record`, picture after picture."""
    sizes = [len(r.labels) for r in records]
    return Objects(
        image=np.repeat(np.arange(len(records), dtype="int32"), sizes),
        label=_joined([r.labels for r in records], "int32"),
        box=_joined([r.boxes for r in records], "float64", (0, 4)),
        area=_joined([r.areas for r in records], "float64"),
        crowd=_joined([r.crowd for r in records], bool),
    )


def found_in(detections, num_classes, most=100):
    """The `Found` of a list of dicts of `boxes`, `scores`, `labels`, one per picture.

    At most `most` count per class and picture, the highest scores; labels of -1 are padding.
    """
    sizes = [len(d["labels"]) for d in detections]
    image = np.repeat(np.arange(len(detections), dtype="int32"), sizes)
    label = _joined([d["labels"] for d in detections], "int32")
    score = _joined([d["scores"] for d in detections], "float64")
    box = _joined([np.asarray(d["boxes"], "float32") for d in detections], "float64", (0, 4))
    order = np.argsort(-score, kind="stable")
    order = order[label[order] >= 0]
    rank = _ranks(image[order].astype("int64") * num_classes + label[order])
    order, rank = order[rank < most], rank[rank < most]
    box = box[order]
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    return Found(image[order], label[order], box, area, score[order], rank)


def _joined(arrays, dtype, empty=(0,)):
    return np.concatenate([np.zeros(empty, dtype), *(np.asarray(a, dtype) for a in arrays)])


def _ranks(group):
    """The place of every element within its group, in the given order."""
    order = np.argsort(group, kind="stable")
    sorted_group = group[order]
    first = np.flatnonzero(np.diff(sorted_group, prepend=-1))
    ranks = np.empty(len(group), "int32")
    starts = np.repeat(first, np.diff(first, append=len(group)))
    ranks[order] = np.arange(len(group)) - starts
    return ranks


def overlaps(found, truth, num_images):
    """The `Pairs` of detections and objects in the same picture, of any classes, that overlap by
    `LEAST_OVERLAP` or more."""
    start = np.searchsorted(truth.image, np.arange(num_images + 1))
    counts = np.diff(start)[found.image]
    bounds = np.searchsorted(
        np.cumsum(counts), np.arange(_PAIRS_AT_ONCE, counts.sum(), _PAIRS_AT_ONCE)
    )
    parts = []
    for indices in np.split(np.arange(len(found)), bounds):
        n = counts[indices]
        offset = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        f = np.repeat(indices, n)
        g = start[found.image[f]] + offset
        iou = _iou(found.box[f], truth.box[g], truth.crowd[g])
        kept = iou >= LEAST_OVERLAP
        parts.append((f[kept].astype("int32"), g[kept].astype("int32"), iou[kept]))
    return Pairs(*map(np.concatenate, zip(*parts)))


def _iou(a, b, crowd):
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    inside = np.maximum(width, 0) * np.maximum(height, 0)
    area_a, area_b = ((c[:, 2] - c[:, 0]) * (c[:, 3] - c[:, 1]) for c in (a, b))
    union = np.where(crowd, area_a, area_a + area_b - inside)
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def assign(pairs, found, truth, ignored, ious=IOUS):
    """Assigns to every detection, best first, the free object of its class that it overlaps most.

    Args:
        pairs: `overlaps(found, truth, ...)`.
        ignored: bool per object: whether it counts neither as missed nor as false. Such objects are
            taken only if no other fits; a crowd may be taken many times.
        ious: least overlaps, in rising order.

    Returns:
        int32 `(len(ious), len(found))`: index of the object, -1 for none.
    """
    pairs = pairs.where(
        (found.label[pairs.found] == truth.label[pairs.truth]) & (pairs.iou >= ious[0])
    )
    ranks = found.rank[pairs.found]
    # For each detection the best object comes first; of equal ones cocoapi takes the last.
    keys = (-pairs.truth, -pairs.iou, ignored[pairs.truth], pairs.found, ranks)
    order = np.lexsort(keys)
    pairs, ranks = pairs.where(order), ranks[order]
    matched = np.full((len(ious), len(found)), -1, "int32")
    taken = np.zeros((len(ious), len(truth)), bool)
    least = np.minimum(ious, 1 - 1e-10)[:, None]
    for part in np.split(np.arange(len(ranks)), np.flatnonzero(np.diff(ranks)) + 1):
        if not len(part):
            continue
        # Detections of the same rank differ in class or picture, so none takes another's object.
        f, g = pairs.found[part], pairs.truth[part]
        possible = (pairs.iou[part] >= least) & (~taken[:, g] | truth.crowd[g])
        starts = np.flatnonzero(np.diff(f, prepend=-1))
        place = np.where(possible, np.arange(len(part)), len(part))
        first = np.minimum.reduceat(place, starts, axis=1)
        t, d = np.nonzero(first < len(part))
        chosen = g[first[t, d]]
        matched[t, f[starts][d]] = chosen
        taken[t, chosen] = True
    return matched
