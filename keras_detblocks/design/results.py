"""The results of a sweep, read back from its study."""

from dataclasses import dataclass, field

import numpy as np

from ..backbones.complexity import Complexity
from ..checks import refused
from .study import (
    ATTEMPTS,
    attempts,
    by_index,
    import_optuna,
    is_settled,
    open_storage,
    spec_from_dict,
)

_COSTS = Complexity._fields


@dataclass(frozen=True)
class SweepResult:
    """Trained nets, best first, and the failures of a sweep.

    Attributes:
        name: of the study.
        settings: those that the study was made with.
        specs: of the nets, best first.
        errors: `(n,)`, ascending.
        complexity: `Complexity` of arrays `(n,)`.
        details: what else was recorded, as a dict for each net.
        failures: `(spec, reason)` of each net that could not be trained.
    """

    name: str
    settings: dict
    specs: tuple = field(repr=False)
    errors: np.ndarray = field(repr=False)
    complexity: Complexity = field(repr=False)
    details: tuple = field(repr=False)
    failures: tuple = field(repr=False)

    def __len__(self):
        return len(self.specs)


def load_sweep(storage, name=None):
    """Reads a sweep's results, also while it runs.

    Args:
        storage: URL of the database, or an open Optuna storage.
        name: of the study; may be left out if the storage holds only one. `"*"`, or a list of
            names, for several.

    Returns:
        A `SweepResult`, or a list of them in the order of the names.

    Raises:
        ValueError: the storage cannot be reached, or does not hold this study; the message names
            those it holds.
    """
    optuna = import_optuna()
    if not isinstance(storage, (str, optuna.storages.BaseStorage)) or not storage:
        raise refused(storage, "storage", "the URL of a database, or an open Optuna storage")
    storage = open_storage(storage) if isinstance(storage, str) else storage
    names = optuna.get_all_study_names(storage)
    if name == "*" or isinstance(name, (list, tuple)):
        return [load_sweep(storage, one) for one in (names if name == "*" else name)]
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        raise ValueError(
            f"Expected the name of a study of this storage, one of {names}. Received: {name!r}."
        )
    study = optuna.load_study(storage=storage, study_name=name)
    trials = study.get_trials(deepcopy=False)
    done = sorted(
        (trial for trial in trials if trial.state.name == "COMPLETE"), key=lambda trial: trial.value
    )
    details = [
        {k: v for k, v in trial.user_attrs.items() if k not in ("spec", "index")} for trial in done
    ]
    return SweepResult(
        name,
        study.user_attrs.get("settings", {}),
        tuple(spec_from_dict(trial.user_attrs["spec"]) for trial in done),
        np.array([trial.value for trial in done]),
        Complexity(*(np.array([detail[cost] for detail in details], np.int64) for cost in _COSTS)),
        tuple(details),
        tuple(_failures(trials)),
    )


def _failures(trials):
    """`(spec, reason)` of the nets that failed, and of those whose every attempt was
    interrupted."""
    for trial in trials:
        if (
            trial.state.name == "FAIL"
            and "failure" in trial.user_attrs
            and "spec" in trial.user_attrs
        ):
            yield spec_from_dict(trial.user_attrs["spec"]), trial.user_attrs["failure"]
    for tried in by_index(trials).values():
        if attempts(tried) >= ATTEMPTS and not any(is_settled(trial) for trial in tried):
            yield (
                spec_from_dict(tried[0].user_attrs["spec"]),
                f"its worker died in each of {attempts(tried)} attempts",
            )
