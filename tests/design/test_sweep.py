import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_detblocks.design import SPACES, load_sweep, sample, sweep
from keras_detblocks.design.study import open_storage, open_study

optuna = pytest.importorskip("optuna")
SPACE = SPACES["RegNetX_constrained"]


def _error(spec):
    return abs(spec.depth - 20) / 10


def _run(tmp_path, build_and_train=_error, n=6, **options):
    return sweep(
        SPACE, n, build_and_train, out=tmp_path, **({"progress": False, "settings": {}} | options)
    )


def _study(tmp_path):
    return optuna.load_study(study_name=SPACE.name, storage=f"sqlite:///{tmp_path / 'sweep.db'}")


def test_records_every_net_once_and_goes_on(tmp_path):
    trained = []
    first = _run(
        tmp_path,
        lambda spec: trained.append(spec) or {"error": _error(spec), "epochs": 3},
        heartbeat_interval=5,
    )
    assert trained == list(sample(SPACE, 6, rng=0))
    assert (
        first.errors.tolist()
        == sorted(map(_error, trained))
        == [_error(spec) for spec in first.specs]
    )
    assert (
        first.details[0]["epochs"] == 3 and first.details[0]["macs"] == first.complexity.macs[0] > 0
    )
    again = _run(tmp_path, lambda spec: pytest.fail("trained twice"))
    assert again.specs == first.specs


def test_dashboard_sees_the_parameters(tmp_path):
    result = _run(tmp_path, n=3)
    depths = sorted(trial.params["depth"] for trial in _study(tmp_path).trials)
    assert depths == sorted(spec.depth for spec in result.specs)


def test_failures_keep_their_reason_and_stop_nothing(tmp_path):
    outcomes = iter(
        [
            0.5,
            MemoryError("12 GB"),
            float("nan"),
            RuntimeError("OOM: ResourceExhausted"),
            KeyError("x"),
            0.25,
        ]
    )

    def train(spec):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    result = _run(tmp_path, train)
    assert result.errors.tolist() == [0.25, 0.5]
    reasons = [reason for _, reason in result.failures]
    assert reasons[0] == "out of memory (MemoryError: 12 GB)" and "error is nan" in reasons[1]
    assert reasons[2].startswith("out of memory") and reasons[3] == "KeyError: 'x'"


def test_stopped_by_the_user_and_started_again(tmp_path):
    trained = []

    def train(spec):
        if len(trained) == 2:
            trained.append(None)
            raise KeyboardInterrupt
        trained.append(spec)
        return _error(spec)

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, train)
    assert len(_run(tmp_path, train)) == 6
    assert len(trained) == 7 and not load_sweep(f"sqlite:///{tmp_path / 'sweep.db'}").failures


@pytest.mark.slow
def test_a_trial_killed_before_its_first_heartbeat_is_taken_up(tmp_path):
    """A worker that dies between taking a trial and its first sign of life leaves a trial that
    Optuna would never fail."""
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, _interrupt)
    _study(tmp_path).ask()
    assert len(_run(tmp_path, heartbeat_interval=1)) == 6


def test_a_net_that_kills_its_worker_three_times_is_given_up(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, _interrupt)
    study = _study(tmp_path)
    stopped = next(trial for trial in study.trials if trial.state.name == "FAIL")
    # What a SIGKILL leaves.
    killed = {key: value for key, value in stopped.user_attrs.items() if key != "stopped"}
    for _ in range(3):
        study.add_trial(
            optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=killed)
        )
    result = _run(tmp_path)
    assert len(result) == 5 and [reason for _, reason in result.failures] == [
        "its worker died in each of 3 attempts"
    ]


def _interrupt(spec):
    raise KeyboardInterrupt


def test_two_sweeps_with_different_settings(tmp_path):
    _run(tmp_path, n=2)
    for change in (
        {"n": 3},
        {"seed": 1},
        {"settings": {"epochs": 2}},
        {"constraints": {"macs": (0, 1e12)}},
    ):
        with pytest.raises(ValueError, match="other settings"):
            _run(tmp_path, **({"n": 2} | change))
    assert len(load_sweep(f"sqlite:///{tmp_path / 'sweep.db'}")) == 2
    assert len(_run(tmp_path, n=3, name="another")) == 3


def test_a_sample_is_a_sequence_of_specs_and_other_nets_are_another_sweep(tmp_path):
    options = {"out": tmp_path, "progress": False, "settings": {}, "name": "chosen"}
    first, second = sample(SPACE, 3, rng=1), sample(SPACE, 3, rng=2)
    done = sweep(first, None, _error, **options)
    assert sorted(map(repr, done.specs)) == sorted(map(repr, first.specs))
    with pytest.raises(ValueError, match="other settings"):
        sweep(second, None, _error, **options)


def test_conditions_of_one_name_are_told_apart_by_their_nets(tmp_path):
    def deeper(least):
        return SPACE.derive("deep", where=(lambda nets: nets.depths.sum(axis=1) >= least,))

    options = {"out": tmp_path, "progress": False, "settings": {}}
    sweep(deeper(12), 2, _error, **options)
    with pytest.raises(ValueError, match="other settings"):
        sweep(deeper(22), 2, _error, **options)


def test_workers_that_start_at_once_share_one_new_study(tmp_path):
    """Optuna's own creation of tables fails in most of them."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    with ThreadPoolExecutor(4) as pool:
        storages = list(pool.map(lambda _: open_storage(url), range(4)))
        joined = list(pool.map(lambda storage: open_study(storage, "one", {"seed": 0}), storages))
    assert sorted(created for _, created in joined) == [False, False, False, True]


def test_settings_of_the_task_are_stored(tmp_path):
    class Task:
        settings = {"data": "digits", "epochs": 2}

        def __call__(self, spec):
            return _error(spec)

    assert _run(tmp_path, Task(), n=1, settings=None).settings["task"] == Task.settings


@pytest.mark.slow
def test_search_finds_better_nets_than_it_began_with(tmp_path):
    result = _run(tmp_path, n=20, search="tpe", constraints={"macs": (50e6, 4e9)})
    assert len(result) == 20
    assert result.complexity.macs.min() >= 50e6 and result.complexity.macs.max() <= 4e9
    began = [_error(spec) for spec in sample(SPACE, 10, {"macs": (50e6, 4e9)}, rng=0)]
    assert result.errors[:10].mean() < sum(began) / 10
    assert all(math.isfinite(error) for error in result.errors)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda out: _run(out, storage="sqlite:////nowhere/at/all.db"),
            "cannot be reached: unable to open",
        ),
        (lambda out: _run(out, storage="sweep.db"), "Expected a storage URL"),
        (lambda out: _run(out, search="grid"), "'random' or 'tpe'"),
        (lambda out: _run(out, n=0), "`n` must be an int of at least 1"),
        (lambda out: _run(out, constraints={"flops": (1, 2)}), "macs"),
        (lambda out: sweep([], 1, _error, out=out, search="tpe"), "needs a space"),
        (
            lambda out: load_sweep(f"sqlite:///{out / 'new.db'}", "x"),
            "Expected the name of a study",
        ),
    ],
)
def test_bad_input(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)


def test_unreachable_server_is_named_without_its_password(tmp_path):
    pytest.importorskip("pg8000")
    with pytest.raises(ValueError, match="cannot be reached.*refused") as caught:
        _run(tmp_path, storage="postgresql://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(caught.value)
