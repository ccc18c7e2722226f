"""Writes sentences on an evaluation: how good the detector is, where it fails, what to try next."""

import numpy as np

# Kind of error -> (what it is, what to try).
KINDS = {
    "class": (
        "objects found but called another class",
        "look at the pairs in the confusion matrix: are their labels right, are there enough "
        "pictures of both?",
    ),
    "place": (
        "boxes beside their object",
        "train longer or at a larger input size, add a finer level, and check that the annotated "
        "boxes are tight.",
    ),
    "both": (
        "boxes beside an object, of another class",
        "train longer; these are mostly objects that it does not know yet.",
    ),
    "double": (
        "more than one box for one object",
        "lower the `iou_threshold` of the suppression.",
    ),
    "background": (
        "boxes where nothing is annotated",
        "look at the false detections below: some may be objects that were not annotated; add "
        "pictures without objects.",
    ),
    "missed": (
        "objects not found",
        "look at the missed objects below; more training, more pictures like them, or a larger "
        "input size.",
    ),
}
_WORTH = 0.005  # AP50: smaller gains are not worth a sentence
_FEW_OBJECTS = 30


def answer(evaluation):
    """One sentence on how good the detector is, for readers who do not know AP."""
    best = evaluation.best_threshold
    if best is None:
        return "Not one detection is right."
    at = evaluation.at(best)
    return (
        f"From a score of {best:.2f} on it finds {_of_hundred(at['recall'])} of 100 objects, and "
        f"{_of_hundred(at['precision'])} of 100 boxes it draws are right."
    )


def _of_hundred(share):
    """A count per hundred that is never 100 if something is wrong, nor 0 if something is right."""
    whole = round(100 * share)
    if whole == 100 and share < 1:
        return "more than 99"
    return "less than 1" if whole == 0 and share > 0 else str(whole)


def next_steps(evaluation, most=4):
    """Sentences on the most costly errors and what to try, the most important first."""
    rules = (_few_pictures, _unsure, _kinds, _sizes, _crowding, _classes, _scores)
    return [step for rule in rules for step in rule(evaluation)][:most]


def _unsure(evaluation):
    """A sentence on objects that are found, but not shown."""
    best = evaluation.best_threshold
    if best is None:
        return
    missed, wanted = evaluation.at(best)["missed"], int(evaluation.judged.wanted.sum())
    lowest = evaluation.judged.matched[0]
    never = wanted - len(np.unique(lowest[evaluation.judged.right[0]]))
    if missed - never >= 0.05 * wanted:
        yield (
            f"{missed:,} of {wanted:,} objects are missed at a threshold of {best:.2f}, but "
            f"{missed - never:,} of these are found with a lower score: train longer, or ship a "
            f"lower threshold if misses cost more than false boxes."
        )


def _kinds(evaluation):
    gain = evaluation.errors.gain
    for kind in sorted(gain, key=gain.get, reverse=True)[:2]:
        if gain[kind] >= _WORTH:
            what, how = KINDS[kind]
            count, shown = evaluation.error_counts[kind], "" if kind == "missed" else " are shown"
            yield f"+{gain[kind]:.3f} AP50 is in {what} ({count:,}{shown}): {how}"


def _few_pictures(evaluation):
    low, high = evaluation.intervals["AP"]
    count = len(evaluation.dataset.records)
    if count == 1:
        yield "One picture is too few to judge by: use more."
    if high - low > 0.1:
        yield (
            f"{count:,} pictures are few: AP may be anywhere from {low:.2f} to {high:.2f}. Use "
            f"more before trusting small differences."
        )


def _sizes(evaluation):
    rows = [r for r in evaluation.groups["size"] if not np.isnan(r["AP"])]
    if len(rows) > 1 and rows[0]["AP"] < max(r["AP"] for r in rows) - 0.15:
        small, best = rows[0], max(rows, key=lambda r: r["AP"])
        yield (
            f"Small objects, up to {small['high']} px, reach AP {small['AP']:.2f}; those of "
            f"{best['low']} to {best['high']} px {best['AP']:.2f}: a larger input size or a finer "
            f"level would show them better."
        )


def _crowding(evaluation):
    rows = evaluation.groups["overlap"]
    if len(rows) > 1 and rows[0]["recall"] - rows[-1]["recall"] > 0.15:
        last = rows[-1]
        yield (
            f"{last['recall']:.0%} of the objects that overlap another by {last['low']:g} or more "
            f"are found, but {rows[0]['recall']:.0%} of those that stand alone: a higher "
            f"`iou_threshold` of the suppression keeps more of them."
        )


def _classes(evaluation):
    rows = evaluation.per_class
    if len(rows) > 2 and rows[0]["AP"] < np.median([r["AP"] for r in rows]) - 0.1:
        row = rows[0]
        few = ", of which there are few" if row["objects"] < _FEW_OBJECTS else ""
        yield (
            f"The weakest class is {row['class']}: AP {row['AP']:.2f} with {row['objects']:,} "
            f"objects{few}."
        )


def _scores(evaluation):
    error = evaluation.calibration.error
    if error > 0.15:
        yield (
            f"Scores are {error:.2f} away from the share of right detections on average: use them "
            f"to rank, not as probabilities."
        )


def warnings(evaluation):
    """Sentences on reasons to trust the numbers less."""
    yield from model_warnings(evaluation)
    if evaluation.dataset.skipped.total:
        count = evaluation.dataset.skipped.total
        things = "thing was" if count == 1 else "things were"
        yield f"While reading the data, {count:,} {things} mended, skipped or assumed."


def model_warnings(evaluation):
    """The warnings that concern the model."""
    about = evaluation.about
    least, most = about.get("score_threshold") or 0.0, about.get("max_detections")
    if least > 0.05:
        yield (
            f"The model drops detections below a score of {least:g} by itself: AP and the curves "
            f"end there, lower than the network's own."
        )
    counts = [len(r.labels) for r in evaluation.dataset.records]
    over = sum(count > most for count in counts) if most else 0
    if over:
        yield (
            f"{over} pictures hold more than the {most} objects that the model can return "
            f"(`max_detections`)."
        )
