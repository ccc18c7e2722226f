"""The Optuna study behind a sweep: its storage, its settings, and the fates of its trials.

A trial carries the spec it trains, its index in the sample and, if the spec itself made it fail,
the reason. A trial that failed without a reason was interrupted (its worker died), and its spec is
tried again. So the state of a sweep depends only on the trials, and any process can be killed at
any moment.
"""

import json
import random
import time
import warnings
from dataclasses import asdict, fields
from datetime import datetime

from keras_detblocks.backbones.anynet import AnyNetSpec
from keras_detblocks.backbones.regnet import RegNetSpec

ATTEMPTS = 3  # a spec that kills its worker this often (most likely by using up memory) is given up
_TRIES = 8  # tries to create tables that several processes find missing at once
_SPECS = {cls.__name__: cls for cls in (AnyNetSpec, RegNetSpec)}


def import_optuna():
    """Imports Optuna, or raises an error that names the extra to install."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError("Sweeps need Optuna: pip install 'keras_detblocks[design]'.") from error
    return optuna


def open_storage(url, heartbeat_interval=30, grace_period=None):
    """Opens a study's database.

    Args:
        url: `sqlite:///file.db`, `postgresql://user@host/database`, or any other that SQLAlchemy
            knows.
        heartbeat_interval: seconds between signs of life of a running trial.
        grace_period: seconds without one after which the trial counts as interrupted; three
            intervals by default.

    Raises:
        ValueError: the database cannot be reached, with its reason (the password is not shown).
        ImportError: its driver is not installed.
    """
    optuna = import_optuna()
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            # Pure Python, BSD; SQLAlchemy would take psycopg2.
            parsed = parsed.set(drivername="postgresql+pg8000")
        return _connect(optuna, parsed, heartbeat_interval, grace_period or 3 * heartbeat_interval)
    except ArgumentError as error:
        raise ValueError(
            f"Expected a storage URL such as sqlite:///sweep.db or postgresql://user@host/db. "
            f"Received: {url!r}."
        ) from error
    except ImportError as error:
        raise ImportError(
            f"The driver of {parsed.drivername} is missing ({error}). For PostgreSQL: pip install "
            f"'keras_detblocks[postgres]'."
        ) from error
    except SQLAlchemyError as error:
        driver = getattr(error, "orig", error)
        # The system's message if the driver has only its own.
        reason = str(driver.__cause__ or driver).splitlines()[0]
        raise ValueError(
            f"The storage {parsed.render_as_string()} cannot be reached: {reason}. Check that the "
            "server runs, that the database or the folder exists, and that the user may write to "
            "it."
        ) from error


def _connect(optuna, url, heartbeat_interval, grace_period):
    """The storage for a parsed URL; tries again if another process is creating the same tables."""
    from sqlalchemy.exc import SQLAlchemyError

    wait = {"sqlite": {"timeout": 60}, "postgresql": {"timeout": 60}}.get(
        url.get_backend_name(), {}
    )
    options = {
        "heartbeat_interval": heartbeat_interval,
        "grace_period": grace_period,
        "engine_kwargs": {"connect_args": wait},
    }
    for left in reversed(range(_TRIES)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.storages.RDBStorage(
                    url.render_as_string(hide_password=False), **options
                )
        except SQLAlchemyError as error:
            created_elsewhere = any(
                sign in str(error).lower() for sign in ("already exists", "unique constraint")
            )
            if not created_elsewhere or not left:
                raise
            time.sleep(random.uniform(0.2, 1.0))


def open_study(storage, name, settings, sampler=None):
    """Creates a study with its settings, or joins one that has the same.

    Returns:
        The study, and whether it was created here.

    Raises:
        ValueError: the study was made with other settings, which the message names.
    """
    optuna = import_optuna()
    try:
        study, created = (
            optuna.create_study(
                storage=storage, study_name=name, direction="minimize", sampler=sampler
            ),
            True,
        )
    except optuna.exceptions.DuplicatedStudyError:
        study, created = optuna.load_study(storage=storage, study_name=name, sampler=sampler), False
    settings = json.loads(json.dumps(settings))
    if not created:
        stored = _stored_settings(study)
        if stored is not None:
            _check_settings(name, stored, settings)
            return study, False
    study.set_user_attr("settings", settings)
    return study, created


def _stored_settings(study, patience=3.0):
    """The study's settings; waits a moment for a process that is just creating it."""
    deadline = time.monotonic() + patience
    while (stored := study.user_attrs.get("settings")) is None and not study.get_trials(
        deepcopy=False
    ):
        if time.monotonic() > deadline:
            return None
        time.sleep(0.1)
    return stored if stored is not None else {}


def _check_settings(name, stored, settings):
    different = {key for key in {*stored, *settings} if stored.get(key) != settings.get(key)}
    if different:
        listed = "; ".join(
            f"{key}: stored {stored.get(key)!r}, received {settings.get(key)!r}"
            for key in sorted(different)
        )
        raise ValueError(
            f"The study {name!r} was made with other settings ({listed}). Use the same settings to "
            "continue it, or another name or storage for a new sweep; nothing was changed."
        )


def spec_to_dict(spec):
    """Converts a spec to a dict for JSON."""
    return {"type": type(spec).__name__} | {
        key: list(v) if isinstance(v, tuple) else v for key, v in asdict(spec).items()
    }


def spec_from_dict(entries):
    """Converts the dict back to a spec."""
    cls = _SPECS[entries["type"]]
    known = {field.name for field in fields(cls)}
    return cls(
        **{
            key: tuple(v) if isinstance(v, list) else v
            for key, v in entries.items()
            if key in known
        }
    )


def describe(space):
    """A space's fields for JSON, with conditions by their names."""
    described = {"space": type(space).__name__}
    for field in fields(space):
        value = getattr(space, field.name)
        if field.name == "where":
            value = [
                getattr(condition, "__qualname__", type(condition).__name__) for condition in value
            ]
        described[field.name] = value if isinstance(value, (int, float, str, list)) else repr(value)
    return described


def fail_stale(study, storage, optuna):
    """Marks as failed the trials whose worker is gone: without a heartbeat for the grace period, or
    killed before its first one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    running = optuna.trial.TrialState.RUNNING
    for trial in study.get_trials(deepcopy=False, states=(running,)):
        age = (datetime.now() - trial.datetime_start).total_seconds()
        if "worker" not in trial.user_attrs and age > storage.grace_period:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def by_index(trials):
    """The trials of each sampled spec, by its index."""
    grouped = {}
    for trial in trials:
        if "index" in trial.user_attrs:
            grouped.setdefault(trial.user_attrs["index"], []).append(trial)
    return grouped


def is_settled(trial):
    """Whether a trial settles its spec: it finished, or failed because of the spec itself."""
    return trial.state.name == "COMPLETE" or (
        trial.state.name == "FAIL" and "failure" in trial.user_attrs
    )


def is_open(trial):
    """Whether a trial may still settle its spec."""
    return trial.state.name in ("WAITING", "RUNNING")


def attempts(trials):
    """The number of a spec's trials that ended because their worker died; those that the user
    stopped do not count."""
    return sum(
        trial.state.name == "FAIL" and not {"failure", "stopped"} & set(trial.user_attrs)
        for trial in trials
    )
