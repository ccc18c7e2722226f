"""Trains a population of nets, in one process or many on many machines, through an Optuna study
(https://optuna.org).

Every sampled spec is a queued trial. Run the same call again, in a second shell or on another
machine with the same storage, and it takes trials from the same queue; kill any of them at any
moment and the spec it was training is queued again.
"""

import os
import socket
import time
import zlib
from contextlib import contextmanager

import numpy as np

from ..backbones.complexity import complexity
from ..checks import check_choice, check_flag, check_int, check_path, plain
from .results import load_sweep
from .sampling import sample, within
from .spaces import is_space
from .study import (
    ATTEMPTS,
    attempts,
    by_index,
    describe,
    fail_stale,
    import_optuna,
    is_open,
    is_settled,
    open_storage,
    open_study,
    spec_from_dict,
    spec_to_dict,
)

_PROPOSALS = 200  # proposals of a search for every net that it may train


def sweep(
    space,
    n,
    build_and_train,
    storage=None,
    *,
    out="sweep",
    name=None,
    constraints=None,
    seed=0,
    search="random",
    image_size=224,
    classes=1000,
    settings=None,
    heartbeat_interval=30,
    progress=True,
):
    """Trains `n` nets of a space and records their errors; continues or joins a sweep that the
    storage already holds.

    Args:
        space: an `AnyNetSpace` or a `RegNetSpace`, or a sequence of specs (`n` may then be `None`).
        n: how many nets.
        build_and_train: function of a spec that returns its error (smaller is better), or a dict
            with `"error"` and more numbers or strings to record. An exception, or an error that is
            not finite, makes a failed trial with its reason.
        storage: URL of a database that all workers can reach, such as `postgresql://user@host/db`;
            the file `sweep.db` in `out` by default (SQLite: any number of processes of one
            machine).
        out: folder of that file, made if missing.
        name: of the study; the space's name by default.
        constraints, image_size, classes: as in `sample`.
        seed: of the sample, the same in every worker.
        search: `"random"`, or `"tpe"` to let Optuna's TPE sampler propose nets from what it has
            seen. A search starts from a random sample of 10 and proposes at most 200 n nets, most
            of which the constraints may reject untrained.
        settings: what else the results depend on (data, epochs), as a dict for JSON;
            `build_and_train.settings` by default.
        heartbeat_interval: seconds between a worker's signs of life; after three intervals without
            one, its net is queued again.
        progress: whether to show a progress bar, with the time left.

    Returns:
        A `SweepResult`: specs, errors and costs of the trained nets, and the failures.

    Raises:
        ValueError: constraints that nothing meets, a storage that cannot be reached, a study made
            with other settings, an unknown search; before anything is trained.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> space, task = kdb.design.RegNetXSpace, lambda spec: 1 / spec.depth
    >>> result = kdb.design.sweep(space, 3, task, out=folder, progress=False)
    >>> len(result), len(result.failures)
    (3, 0)
    """
    optuna = import_optuna()
    n = _check_search(space, n, search)
    seed, image_size = check_int(seed, "seed", least=0), check_int(image_size, "image_size")
    classes, progress = check_int(classes, "classes"), check_flag(progress, "progress")
    heartbeat_interval = check_int(heartbeat_interval, "heartbeat_interval")
    queue = _queue(space, n, constraints, seed, search, image_size, classes)
    n = n or len(queue)
    counted = {"image_size": image_size, "classes": classes}
    made_with = {
        "space": describe(space) if is_space(space) else [spec_to_dict(spec) for spec in space],
        "n": n,
        "seed": seed,
        "search": search,
        **counted,
        # Conditions of a space are stored by name only, so the nets themselves tell two samples
        # apart.
        "nets": f"{zlib.crc32(repr([spec for spec, _ in queue]).encode()):08x}",
        "constraints": {key: list(window) for key, window in (constraints or {}).items()},
        "task": getattr(build_and_train, "settings", {}) if settings is None else settings,
    }
    with _quiet(optuna):
        database = open_storage(storage or _file_in(out), heartbeat_interval)
        study, created = open_study(
            database, name or getattr(space, "name", "specs"), made_with, _sampler(optuna, search)
        )
        worker = _Worker(
            optuna, study, database, space, queue, build_and_train, counted, constraints
        )
        worker.fill(created)
        with _bar(progress, study.study_name, n) as show:
            worker.run(n, search == "tpe", show)
        return load_sweep(database, study.study_name)


def _check_search(space, n, search):
    """The number of nets, `None` for all of a list."""
    check_choice(search, "search", ("random", "tpe"))
    drawn = is_space(space)
    if search == "tpe" and not drawn:
        raise ValueError("A search needs a space to propose nets from. Received: a list of specs.")
    return check_int(n, "n", optional=not drawn)


def _file_in(out):
    """The URL of the database that the processes of one machine share."""
    out = check_path(out, "out")
    out.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{out / 'sweep.db'}"


def _sampler(optuna, search):
    samplers = optuna.samplers
    return samplers.TPESampler(seed=None) if search == "tpe" else samplers.RandomSampler()


def _queue(space, n, constraints, seed, search, image_size, classes):
    """Yields `(spec, parameters)` for every net to queue."""
    if not is_space(space):
        return [(spec, {}) for spec in list(space)[:n]]
    sampled = sample(
        space,
        n if search == "random" else min(n, 10),
        constraints,
        seed,
        image_size=image_size,
        classes=classes,
    )
    return list(zip(sampled.specs, sampled.parameters))


class _Worker:
    """One process of a sweep."""

    def __init__(self, optuna, study, storage, space, queue, build_and_train, counted, constraints):
        self.optuna, self.study, self.storage, self.space, self.queue = (
            optuna,
            study,
            storage,
            space,
            queue,
        )
        self.build_and_train, self.counted, self.constraints = build_and_train, counted, constraints

    def fill(self, created):
        """Queues specs without a trial; a process that did not create the study first waits for the
        one that did."""
        seen, since = -1, time.monotonic()
        while not created and time.monotonic() - since < self.storage.grace_period:
            count = len(by_index(self.study.get_trials(deepcopy=False)))
            if count >= len(self.queue):
                break
            if count > seen:
                seen, since = count, time.monotonic()
            time.sleep(0.2)
        self.requeue()

    def requeue(self):
        """Queues every spec that is not settled and has no trial that may settle it."""
        grouped = by_index(self.study.get_trials(deepcopy=False))
        for index, (spec, parameters) in enumerate(self.queue):
            trials = grouped.get(index, [])
            if (
                not any(is_settled(trial) or is_open(trial) for trial in trials)
                and attempts(trials) < ATTEMPTS
            ):
                self.study.enqueue_trial(
                    parameters, user_attrs={"index": index} | self.record(spec)
                )

    def record(self, spec):
        """The record of a trial's net, made before the training."""
        return {"spec": spec_to_dict(spec)} | complexity(spec, **self.counted)._asdict()

    def run(self, n, searching, show):
        """Trains until every queued spec (or, in a search, `n` nets) is settled, and at the end
        waits for other workers."""
        while True:
            fail_stale(self.study, self.storage, self.optuna)
            self.requeue()
            trials = self.study.get_trials(deepcopy=False)
            done, states = sum(map(is_settled, trials)), [trial.state.name for trial in trials]
            show(done)
            proposals_left = searching and len(trials) < _PROPOSALS * n
            if "WAITING" in states or (proposals_left and done + states.count("RUNNING") < n):
                self.step()
            elif "RUNNING" in states:
                time.sleep(min(1.0, self.storage.heartbeat_interval / 2))
            else:
                return

    def step(self):
        """Runs one trial."""
        try:
            self.study.optimize(self.objective, n_trials=1, catch=(Exception,))
        except ValueError as error:
            # Otherwise it was held up past the grace period, and another worker took the net over.
            if "Cannot tell a" not in str(error):
                raise

    def objective(self, trial):
        """Trains one trial's spec; the record precedes the training, so that a dead worker's trial
        is recognized."""
        self.storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr("worker", f"{socket.gethostname()}:{os.getpid()}")
        spec = self.claim(trial)
        start = time.monotonic()
        try:
            outcome = self.build_and_train(spec)
            outcome = dict(outcome) if isinstance(outcome, dict) else {"error": outcome}
            error = float(outcome.pop("error"))
            if not np.isfinite(error):
                raise ArithmeticError(f"the error is {error}: training diverged")
        except Exception as failure:
            trial.set_user_attr("failure", _reason(failure))
            raise
        except BaseException:
            # stopped by the user: does not count against the net
            trial.set_user_attr("stopped", True)
            raise
        finally:
            trial.set_user_attr("seconds", round(time.monotonic() - start, 3))
        for key, value in outcome.items():
            trial.set_user_attr(key, plain(value))
        return error

    def claim(self, trial):
        """Returns the trial's spec; ends the trial if another one settles that spec, or there is
        none."""
        index, entries = trial.user_attrs.get("index"), trial.user_attrs.get("spec")
        if entries is None:
            if not is_space(self.space) or self.study.user_attrs["settings"]["search"] == "random":
                raise self.optuna.TrialPruned("another worker took the last net")
            return self.propose(trial)
        for other in by_index(self.study.get_trials(deepcopy=False)).get(index, []):
            if other.number != trial.number and (
                is_settled(other) or (is_open(other) and other.number < trial.number)
            ):
                raise self.optuna.TrialPruned(f"trial {other.number} answers for this net")
        if self.queue[index][1]:
            suggest(trial, self.space)
        return spec_from_dict(entries)

    def propose(self, trial):
        """Proposes a net of the search, if it belongs to the space and meets the constraints."""
        values = {key: np.round([value], 9) for key, value in suggest(trial, self.space).items()}
        nets, valid = self.space.decode(values)
        if not valid[0] or not within(self.space, nets, self.constraints, **self.counted)[0]:
            raise self.optuna.TrialPruned("outside the space or its constraints")
        spec = self.space.spec(values, nets, 0)
        for key, value in self.record(spec).items():
            trial.set_user_attr(key, value)
        return spec


def suggest(trial, space):
    """The values of a space's parameters in an Optuna trial: the queued ones, or its sampler's."""
    return {name: _suggest(trial, name, choices) for name, choices in space.parameters.items()}


def _suggest(trial, name, choices):
    if hasattr(choices, "options"):
        return trial.suggest_categorical(name, list(choices.options))
    if isinstance(choices.quantum, int):
        return trial.suggest_int(name, choices.low, choices.high, step=choices.quantum)
    return trial.suggest_float(name, choices.low, choices.high, step=choices.quantum)


def _reason(failure):
    """One line on why a net could not be trained; it begins with "out of memory" if that was the
    cause, whatever raised it."""
    text = f"{type(failure).__name__}: {failure}".splitlines()[0][:400]
    memory = (
        isinstance(failure, MemoryError)
        or "ResourceExhausted" in text
        or "out of memory" in text.lower()
    )
    return f"out of memory ({text})" if memory else text


@contextmanager
def _quiet(optuna):
    """Switches off Optuna's log of every trial, which the study holds as well."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def _bar(visible, name, total):
    """A progress bar over all workers' trials; yields the function that moves it."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
    )
    with Progress(
        *columns, TimeRemainingColumn(elapsed_when_finished=False), disable=not visible
    ) as bar:
        task = bar.add_task(name, total=total)
        yield lambda done: bar.update(task, completed=done)
