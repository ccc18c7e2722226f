"""Decides whether a folder holds a run that can be resumed, and which settings may then differ."""

# Settings that a resumed run may change: how long and how fast it learns, and paths. Everything
# else would make it a different run.
CHANGEABLE = (
    "minutes",
    "epochs",
    "learning_rate",
    "patience",
    "evaluations",
    "freeze_statistics",
    "data",
    "start",
    "weights",
    "workers",
    "processes",
    "replicas",
    "synchronize",
)

# Settings that older runs did not have, and the values that they used.
ADDED = {"repeat_threshold": None, "freeze_statistics": 1.0}


def check_folder(out, checkpoint, resume):
    """Refuses to replace a finished run, or to lose a stopped one because `resume` was forgotten.

    Raises:
        ValueError: saying what to do instead.
    """
    if (out / "detector.keras").is_file():
        raise ValueError(
            f"{out} holds a finished run: give another `out`, or start from "
            f"{out / 'detector.keras'} to train it on."
        )
    if not resume and checkpoint.exists():
        raise ValueError(
            f"{out} holds a stopped run: continue it with `resume=True`, or give another `out`."
        )
    if resume and not checkpoint.exists():
        raise ValueError(
            f"There is no stopped run to resume in {out}; leave `resume=True` out to start one."
        )


def changes(before, now, out):
    """The changes in a resumed run: a list of `{"setting", "before", "now"}`.

    Raises:
        ValueError: if it would be a different run.
    """
    before = {**ADDED, **before}
    found = [
        {"setting": key, "before": before[key], "now": value}
        for key, value in now.items()
        if key in before and before[key] != value
    ]
    refused = [c for c in found if c["setting"] not in CHANGEABLE]
    if refused:
        texts = ", ".join(f"{c['setting']}={c['before']} (now {c['now']})" for c in refused)
        raise ValueError(
            f"The stopped run in {out} had {texts}: give the same to resume it; only "
            f"{', '.join(CHANGEABLE[:6])} and paths can be changed."
        )
    return found
