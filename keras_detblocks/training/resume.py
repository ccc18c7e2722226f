"""Whether a folder holds a run that can go on, and what may be another when it does."""

# What a resumed run may change: how long and how fast it learns, and where things lie. All else
# would make another run of it.
CHANGEABLE = (
    "minutes",
    "epochs",
    "learning_rate",
    "patience",
    "evaluations",
    "data",
    "start",
    "weights",
    "workers",
    "processes",
    "replicas",
    "synchronize",
)

# Settings that older runs were without, and what they did.
ADDED = {"repeat_threshold": None}


def check_folder(out, checkpoint, resume):
    """A finished run is not replaced; a stopped one is not lost by forgetting `resume`.

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
    """What a resumed run changes: a list of `{"setting", "before", "now"}`.

    Raises:
        ValueError: if it would be another run.
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
            f"{', '.join(CHANGEABLE[:5])} and paths can be changed."
        )
    return found
