"""Checks that a detector's file finds what Keras finds, even if scores are low, nearly equal or
below the threshold."""

from dataclasses import dataclass

import numpy as np

from ...detection.decode import LOGITS, candidate_count, decode
from ..detections import detections
from ..graph import sample_inputs
from ..runtime.forms import PIXELS, as_pixels
from ..runtime.session import Session, SessionError
from ..suppression import as_keras
from .outputs import ExportError, cast_inputs, keras_outputs, show_warnings

# The file must contain Keras' detections from this score on. Below it, ties and the cut at the
# threshold decide.
_SURE = 0.3
# With fewer certain detections than this over all pictures, all detections are judged, by
# `agreement`.
_ENOUGH = 5
# precision -> (least overlap, largest difference of scores, least share matched, largest mean
# difference of the ranked scores)
_MATCHING = {
    None: (0.99, 0.01, 0.99, 1e-3),
    "fp16": (0.9, 0.03, 0.95, 5e-3),
    "int8": (0.7, 0.2, 0.8, 0.05),
}
# Scores this close to each other are equal, however small: onnxruntime's sigmoid is no more exact.
_SCORE_NOISE = 1e-6
# Overlaps this close to the threshold may fall on either side: boxes are moved apart by class in
# float32.
_OVERLAP_NOISE = 0.02


@dataclass(frozen=True)
class _Rules:
    """What counts as equal in `agreement`.

    Boxes match with this overlap or, for tiny ones, with corners within `pixels`; logits match
    within `logits` times their spread (if they hardly differ, neither do their errors) plus `floor`
    (the error of their common part, such as a bias).
    """

    overlap: float
    pixels: float
    logits: float
    floor: float
    share: float  # share of detections that must be right


# int8 is compared with its own network, and differs by one of its 256 steps at most.
_RULES = {
    None: _Rules(0.99, 0.05, 0.02, 0.001, 0.95),
    "fp16": _Rules(0.9, 0.5, 0.2, 0.005, 0.9),
    "int8": _Rules(0.9, 0.5, 0.2, 1e-4, 0.9),
}


def compare_detections(path, raw, detector, write, precision=None, samples=None, network=None):
    """Runs a detector's file and Keras on pictures and compares what they find.

    Certain detections are matched by class, overlap and score. If the pictures have hardly any
    (random pictures, an untrained detector) or more equal ones than a file returns (initial values
    of a deep backbone), all detections are compared (`agreement`); and if hardly any reaches the
    detector's threshold either, those of a second file are: the same detector written without a
    threshold, its logits raised until the best score is one half.

    Args:
        path: of the file.
        raw: signature of the detector's raw outputs.
        detector: the `Detector`.
        write: writes the file; it is called as `write(path, shift=..., score_threshold=...)` for a
            second one beside the first.
        precision: `None`, `"fp16"` or `"int8"`.
        samples: list of dicts of arrays; two random pictures by default.
        network: for int8, the path of a file of the network alone, already compared. Eight bits
            lose the order of nearly equal scores, so `agreement` compares with what Keras finds in
            this file's raw outputs.

    Returns:
        `(errors by output, (number found, number expected), partitions)`; errors are those of the
        detections found.

    Raises:
        ExportError: if the file fails, returns other shapes or finds other objects.
    """
    samples = samples or [sample_inputs(raw, seed) for seed in range(2)]
    got, samples, partitions = _run(path, raw, samples)
    sizes = [_size(arrays) for arrays in samples]
    outputs = [keras_outputs(raw, arrays) for arrays in samples]
    if not all(np.isfinite(value).all() for each in outputs for value in each.values()):
        raise ExportError(
            "Keras itself returns NaN or infinity: train or repair the detector first."
        )
    wanted = [_reference(*each, detector) for each in zip(outputs, sizes)]
    if not any(map(_saturated, wanted)):
        errors, found = _match_sure(wanted, got, precision, detector.score_threshold)
        if found[1] >= _ENOUGH:
            return errors, found, partitions
    rules = _RULES[precision]
    if network is not None:
        outputs = _run(network, raw, samples)[0]
        wanted = [_reference(*each, detector) for each in zip(outputs, sizes)]
    errors, found, clear = agreement(wanted, got, detector, rules, detector.score_threshold)
    if clear < _ENOUGH:
        best = max(
            float(v.max()) for each in outputs for name, v in each.items() if name.endswith(LOGITS)
        )
        trial = {"shift": -best, "score_threshold": 0.0}
        beside = path.with_name(f"trial{path.suffix}")
        write(beside, **trial)
        wanted = [_reference(*each, detector, **trial) for each in zip(outputs, sizes)]
        errors, found, _ = agreement(wanted, _run(beside, raw, samples)[0], detector, rules, 0.0)
    if not found[1]:
        raise ExportError(
            "Keras finds nothing in the pictures to compare the exported file on: give "
            "`representative_data`."
        )
    return errors, found, partitions


def _run(path, raw, samples):
    """The outputs of the file by sample, the samples as it saw them (rounded if it takes bytes),
    and partitions."""
    try:
        with Session(path) as session:
            if any(dtype == "uint8" for _, dtype in session.inputs.values()):
                samples = [
                    {name: np.rint(value) for name, value in arrays.items()} for arrays in samples
                ]
            got = [session(**cast_inputs(arrays, session.inputs)) for arrays in samples]
            show_warnings(session)
            return (
                [as_pixels(each, _size(arrays)) for each, arrays in zip(got, samples)],
                samples,
                session.partitions,
            )
    except SessionError as error:
        raise ExportError(f"The exported file is unusable and was removed: {error}") from error


def _size(arrays):
    """The height and width of the images of a sample."""
    return next(iter(arrays.values())).shape[1:3]


def _reference(outputs, size, detector, shift=0.0, score_threshold=None):
    """The detections of Keras in raw outputs, with all boxes and scores that it chose from."""
    from keras import ops

    outputs = {
        name: ops.convert_to_tensor(value) + (shift if name.endswith(LOGITS) else 0.0)
        for name, value in outputs.items()
    }
    found = detections(outputs, detector, size, as_keras, score_threshold=score_threshold)
    boxes, scores = decode(outputs, size)
    spread = np.std(
        np.concatenate(
            [np.ravel(value) for name, value in outputs.items() if name.endswith(LOGITS)]
        )
    )
    found = {
        name: ops.convert_to_numpy(value)
        for name, value in {**found, "all_boxes": boxes, "all_scores": scores}.items()
    }
    return {**found, "spread": np.full(len(found["scores"]), spread)}


def _saturated(want):
    """Whether all detections of Keras in some picture are certain and equal, so that chance chose
    them."""
    scores = want["scores"]
    return bool(((scores[:, -1] >= _SURE) & (np.ptp(scores, axis=-1) <= _SCORE_NOISE)).any())


def _rows(wanted, got):
    """Yields pairs of the detections of Keras and of the file, image by image."""
    for want, have in zip(wanted, got):
        _check_shapes(want, have)
        for row in range(len(want["scores"])):
            yield tuple({name: value[row] for name, value in each.items()} for each in (want, have))


def _check_shapes(want, have):
    for name in PIXELS:
        if (
            name not in have
            or have[name].shape != want[name].shape
            or not np.isfinite(have[name]).all()
        ):
            raise ExportError(
                f"Output {name!r} should be finite and {want[name].shape}. Received: "
                f"{have.get(name)}"
            )
    if (np.ravel(have["count"]) != (have["scores"] > 0).sum(axis=-1)).any():
        raise ExportError(
            f"Output 'count' of the exported file is not the number of its scores. Received: "
            f"{have['count']}"
        )


def _errors(pairs):
    return {
        key: max((pair[i] for pair in pairs), default=0.0)
        for i, key in enumerate(("boxes", "scores"))
    }


# Certain detections
# -------------------------------------------------------------------------------------------------


def _match_sure(wanted, got, precision, score_threshold):
    overlap, score, share, ranked = _MATCHING[precision]
    total, pairs = 0, []
    for want, have in _rows(wanted, got):
        # Not below the threshold: of many scores that nearly equal it, the last bits decide how
        # many pass.
        ranks = [np.maximum(each["scores"], score_threshold) for each in (want, have)]
        off = float(np.abs(ranks[0] - ranks[1]).mean())
        if not off <= ranked:
            raise ExportError(
                f"The scores of the exported file differ from Keras by {off:.3g} on average "
                f"(allowed: {ranked})."
            )
        sure, matched = match(want, have, overlap, score, _RULES[precision].pixels)
        total, pairs = total + sure, pairs + matched
    if len(pairs) < share * total:
        raise ExportError(
            f"Only {len(pairs)} of {total} detections of Keras are in the exported file (overlap "
            f"{overlap}, score within {score})."
        )
    return _errors(pairs), (len(pairs), total)


def match(want, have, overlap, score, pixels=0.0):
    """Matches the certain detections of one image, boxes by overlap or, for tiny ones, by corners
    within `pixels`; returns `(their number, [(largest box error, score error), ...] of the
    matched)`."""
    free = have["scores"] > 0
    matched = []
    sure = np.flatnonzero(want["scores"] >= _SURE)
    for i in sure:
        box = want["boxes"][i]
        iou = np.where(
            np.abs(have["boxes"] - box).max(axis=-1) <= pixels, 1.0, _iou(box, have["boxes"])
        ) * (free & (have["labels"] == want["labels"][i]))
        j = int(np.argmax(iou))
        difference = float(abs(have["scores"][j] - want["scores"][i]))
        if iou[j] >= overlap and difference <= score:
            free[j] = False
            matched.append((float(np.abs(have["boxes"][j] - box).max()), difference))
    return len(sure), matched


# All detections
# -------------------------------------------------------------------------------------------------


def agreement(wanted, got, detector, rules, score_threshold):
    """Checks that the detections of a file are a valid result of suppression, though perhaps not
    Keras' own.

    If scores are nearly equal, the last bits decide which of two overlapping boxes survives, so two
    valid results may differ in many boxes. Therefore this checks what holds for every valid result:
    each detection of the file is a candidate of Keras (box, class, score, above the threshold); the
    file's detections do not overlap each other; and each detection of Keras is in the file, or one
    with at least its score takes its place, or it was at a limit (the number of candidates or
    detections, or the threshold).

    Returns:
        `(errors by output, (detections of Keras accounted for, all of them), how many of these were
        not at a limit)`.

    Raises:
        ExportError: if this holds for less than the rules' share, or the file finds far fewer.
    """
    total = clear = missing = given = visible = 0
    pairs = []
    for want, have in _rows(wanted, got):
        image = _Image(want, have, detector, rules, score_threshold)
        pairs += image.right_ones()
        given += len(image.found)
        total += len(image.wanted)
        visible += int((want["scores"] > _SCORE_NOISE).sum())
        firm = [i for i in image.wanted if not image.at_limit(i)]
        clear += len(firm)
        missing += sum(not image.has(i) for i in firm)
    if len(pairs) < rules.share * given:
        raise ExportError(
            f"Only {len(pairs)} of {given} detections in the exported file are among those that "
            f"Keras chooses from."
        )
    # Without a threshold even equal scores cannot leave a file with hardly any detections, unless
    # they are nearly 0, where runtimes differ in which numbers they flush to 0.
    if missing > max(1, (1 - rules.share) * clear) or (
        score_threshold == 0.0 and given < 0.2 * visible
    ):
        raise ExportError(
            f"Of {clear} clear detections of Keras, {missing} are not in the exported file, which "
            f"returns {given} for {total}."
        )
    return _errors(pairs), (total - missing, total), clear


class _Image:
    """The detections of Keras and of a file in one image."""

    def __init__(self, want, have, detector, rules, score_threshold):
        self.want, self.have, self.detector, self.rules = want, have, detector, rules
        self.wanted, self.found = (np.flatnonzero(each["scores"] > 0) for each in (want, have))
        self.logits = rules.logits * min(1.0, float(want["spread"])) + rules.floor
        self.threshold = score_threshold
        scores = np.ravel(want["all_scores"])
        count = candidate_count(detector.max_detections)
        self.cut = np.partition(scores, -count)[-count] if count < len(scores) else 0.0
        self.last = have["scores"].min()  # 0 unless the file returned as many as it may

    def near(self, score):
        """How much another score may differ from this one and count as equal."""
        return self.logits * score * (1 - score) + _SCORE_NOISE

    def same_box(self, box, boxes):
        return (_iou(box, boxes) >= self.rules.overlap) | (
            np.abs(boxes - box).max(axis=-1) <= self.rules.pixels
        )

    def right_ones(self):
        """(box error, score error) of each detection of the file that Keras may have chosen."""
        right = []
        for place, j in enumerate(self.found):
            box, score, label = (self.have[name][j] for name in ("boxes", "scores", "labels"))
            if not 0 <= label < self.want["all_scores"].shape[
                -1
            ] or score < self.threshold - self.near(score):
                continue
            before = self.found[:place][self._rivals(label)[self.found[:place]]]
            if (
                _iou(box, self.have["boxes"][before]) > self.detector.iou_threshold + _OVERLAP_NOISE
            ).any():
                continue
            off = np.abs(self.want["all_scores"][:, label] - score)
            same = np.flatnonzero(
                self.same_box(box, self.want["all_boxes"]) & (off <= self.near(score))
            )
            if len(same):
                errors = np.abs(self.want["all_boxes"][same] - box).max(axis=-1)
                nearest = int(np.argmin(errors))
                right.append((float(errors[nearest]), float(off[same[nearest]])))
        return right

    def at_limit(self, i):
        """Whether a detection of Keras may be missing, because its last bits decide whether it is
        included."""
        score = self.want["scores"][i]
        return score <= max(self.cut, self.threshold, self.last) + self.near(score)

    def has(self, i):
        """Whether the file has a detection of Keras, or one that rightly suppressed it."""
        box, score, label = (self.want[name][i] for name in ("boxes", "scores", "labels"))
        near, there, boxes = self.near(score), self.have["scores"], self.have["boxes"]
        found = (
            self.same_box(box, boxes)
            & (self.have["labels"] == label)
            & (np.abs(there - score) <= near)
        )
        least = self.detector.iou_threshold - (1 - self.rules.overlap) - _OVERLAP_NOISE
        instead = (_iou(box, boxes) > least) & self._rivals(label) & (there >= score - near)
        return ((found | instead) & (there > 0)).any()

    def _rivals(self, label):
        """Which detections of the file would suppress another of this label."""
        return (self.have["labels"] == label) | self.detector.class_agnostic


def _iou(box, boxes):
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    inner = np.prod(np.maximum(sides, 0), axis=-1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) + np.prod(box[2:] - box[:2])
    return inner / np.maximum(areas - inner, 1e-9)
