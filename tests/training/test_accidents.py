"""What a run survives: weights that are no numbers, signals, a full disk, damaged checkpoints."""

import errno
import json
import os
import signal
import types
import zipfile

import numpy as np
import pytest
from toy import tiny_detector, toy_batch

from keras_detblocks import training
from keras_detblocks.data import Dataset, ImageError
from keras_detblocks.data.dataset import Record
from keras_detblocks.training import callbacks, curve, interrupt, run, state
from keras_detblocks.training.state import RunCheckpoint
from keras_detblocks.weights import load_keras_file

CLASSES, SIZE = ("circle", "square", "star"), (32, 48)
OPTIONS = {
    "epochs": 4,
    "batch_size": 8,
    "optimizer": "adamw",  # half of Muon's time to trace
    "evaluations": 2,
    "learning_rate": 0.005,
    "warmup_steps": 2,
    "ema": 0.1,  # old enough at the first AP to be judged alone
    "freeze_statistics": 0.5,  # at step 6, between the accidents
    "precision": "float32",
    "settings": {"size": SIZE},
}


@pytest.fixture(scope="module", autouse=True)
def no_curves():
    """Drawing one takes as long as all the steps of a run here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve, "learning_curve", lambda history, path: path.touch())
        yield


@pytest.fixture(scope="module")
def dataset():
    """24 pictures that are in memory as the pipeline keeps them, so no files are read."""
    import tensorflow as tf

    images, truth = toy_batch(24, SIZE)
    records = []
    for i, (boxes, labels) in enumerate(zip(truth["boxes"], truth["labels"])):
        kept = labels >= 0
        areas = np.prod(boxes[kept][:, 2:] - boxes[kept][:, :2], axis=1)
        crowd = np.zeros(kept.sum(), bool)
        records.append(
            Record(f"{i}.png", SIZE[1], SIZE[0], boxes[kept], labels[kept], crowd, areas, i)
        )
    made = Dataset(records, CLASSES, (1, 2, 3))
    made.decoded[SIZE, "letterbox"] = tf.constant(images.astype("uint8")), np.ones(24, bool)
    return made


def _build():
    return tiny_detector((*SIZE, 3), class_names=CLASSES)


def _train(dataset, out, validation=None, **options):
    return training.train(_build, dataset, validation, out, **{**OPTIONS, **options})


def _at_steps(monkeypatch, actions):
    """Calls actions between two steps, before the run's own callbacks see the step; each once."""
    end = callbacks.Budget.on_train_batch_end

    def wrapped(self, batch, logs=None):
        end(self, batch, logs)
        actions.pop(self.step, lambda *_: None)(self)

    monkeypatch.setattr(callbacks.Budget, "on_train_batch_end", wrapped)


def _terminate(*_):
    os.kill(os.getpid(), signal.SIGTERM)


class _Disk:
    """Where models are written to."""

    def __init__(self, monkeypatch):
        self.full, self._written = False, state.written_beside
        monkeypatch.setattr(state, "written_beside", self._write)

    def _write(self, path, durable=True):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._written(path, durable)

    def fill(self, *_):
        self.full = True

    def free(self, *_):
        self.full = False


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """The run that nothing happens to: its folder, model and history."""
    out = tmp_path_factory.mktemp("whole")
    model, history = _train(dataset, out, dataset)
    return out, model, history


def _same(history):
    return {
        kind: [{k: v for k, v in entry.items() if k != "seconds"} for entry in history[kind]]
        for kind in ("losses", "ap")
    }


def _assert_same_end(whole, model, history):
    """Averaged weights, optimizer, order of the pictures and learning rate all continued."""
    _, expected, expected_history = whole
    for a, b in zip(expected.weights, model.weights):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-4, err_msg=a.path)
    assert [e["step"] for e in history["ap"]] == [e["step"] for e in expected_history["ap"]]
    for a, b in zip(_same(history)["losses"], _same(expected_history)["losses"], strict=True):
        assert a == pytest.approx(b, rel=1e-3)


@pytest.mark.slow
def test_a_run_below_20_steps_has_a_history_and_the_best_beside_the_last(whole):
    out, _, history = whole
    assert [entry["step"] for entry in history["losses"]] == [12]
    assert [entry["step"] for entry in history["ap"]] == [6, 12]
    assert not [p for p in out.iterdir() if p.name.startswith(".")]
    assert (out / "best.keras").is_file() and not (out / "checkpoint").exists()


@pytest.mark.slow
def test_what_a_run_leaves_tells_all_about_it(whole, dataset):
    out, model, history = whole
    record = json.loads((out / "run.json").read_text())
    assert record["state"] == "finished" and record["settings"]["learning_rate"] == 0.005
    assert record["data"]["train"]["images"] == 24
    assert record["data"]["train"]["fingerprint"] == training.fingerprint(dataset)
    assert record["results"]["steps"] == 12
    assert record["results"]["statistics_kept"] == {"from": 6, "precision": "float32"}
    assert record["results"]["validation"] == history["ap"][-1]
    assert {"keras", "numpy", "python"} <= set(record["versions"])
    assert record["host"]["threads"]["OMP_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"]
    with zipfile.ZipFile(out / "detector.keras") as archive:
        assert json.loads(archive.read("metadata.json"))["run"] == record
        assert "date_saved" in json.loads(archive.read("metadata.json"))
    assert load_keras_file(out / "detector.keras").run_record == record
    assert model.with_classes(["circle"]).run_record is None


@pytest.fixture
def heeded(request):
    """The number of a signal that is not ignored, as it is in what a shell starts behind itself."""
    number = getattr(signal, request.param)
    before = signal.signal(number, signal.default_int_handler)
    yield number
    signal.signal(number, before)


@pytest.mark.parametrize("heeded", interrupt.NAMES, indirect=True)
def test_signals_are_noted_and_raise_where_nothing_is_lost(heeded):
    number = heeded
    with interrupt.Interrupts() as interrupts:
        interrupts.steps_under_way()
        os.kill(os.getpid(), number)
        assert interrupts.received == number
        with pytest.raises(interrupt.Stopped), interrupts.at_once():
            raise AssertionError("not reached")
        if number == signal.SIGINT:  # who presses it twice does not want to wait
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        else:  # a cluster sends it to the group and to the process
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == signal.default_int_handler


def test_signals_that_are_ignored_stay_ignored():
    """As SIGHUP is under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt.Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupts.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_a_run_with_one_accident_after_the_other_ends_as_if_none_had_been(
    whole, dataset, tmp_path, monkeypatch, capsys, eager
):
    def train(**options):
        model, history = _train(dataset, tmp_path, dataset, **options)
        return model, history, " ".join(capsys.readouterr().out.split())

    checkpoint = RunCheckpoint(tmp_path / "checkpoint")
    # A disk that is full at the first milestone, and a signal between two steps.
    disk = _Disk(monkeypatch)
    _at_steps(monkeypatch, {1: disk.fill, 4: disk.free, 5: _terminate})
    with pytest.raises(interrupt.Stopped) as stopped:
        train()
    assert stopped.value.signal == signal.SIGTERM and checkpoint.progress()["step"] == 5
    printed = " ".join(capsys.readouterr().out.split())
    assert "no checkpoint at step 3 (No space left on device); the run continues" in printed
    with pytest.raises(ValueError, match="holds a stopped run: continue it with `resume=True`"):
        train()
    with pytest.raises(ValueError, match=r"batch_size=8 \(now 4\): give the same"):
        train(resume=True, batch_size=4)
    with pytest.raises(ValueError, match=r"size=\[32, 48\] \(now \[32, 32\]\)"):
        train(resume=True, settings={"size": (32, 32)})
    # A signal while AP is measured, which is made up for.
    measure = run.evaluate_ap
    monkeypatch.setattr(run, "evaluate_ap", lambda *_: _terminate())
    with pytest.raises(interrupt.Stopped):
        train(resume=True)
    assert [p.name for p in sorted(checkpoint.folder.iterdir())] == ["step-5", "step-6"]
    # A damaged file, what a killed process leaves, and a signal while the last AP is measured.
    file = checkpoint.folder / "step-6" / "model.keras"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    (tmp_path / ".detector.keras.abc").mkdir()
    calls = []
    monkeypatch.setattr(
        run,
        "evaluate_ap",
        lambda *a: measure(*a) if calls.append(1) or len(calls) < 2 else _terminate(),
    )
    with pytest.raises(interrupt.Stopped):
        train(resume=True)
    printed = "".join(capsys.readouterr().out.split())  # the path decides where lines end
    assert "step-6:damaged" in printed and "continuingfromstep5" in printed
    assert not list(tmp_path.glob(".*")) and not (tmp_path / "detector.keras").exists()
    # Nothing is left to train; the results wait for space.
    monkeypatch.setattr(run, "evaluate_ap", measure)
    waits = []
    monkeypatch.setattr(
        run.time, "sleep", lambda s: (waits.append(s), len(waits) == 2 and disk.free())
    )
    disk.fill()
    model, history, printed = train(resume=True)
    assert waits == [1.0, 2.0] and "its results cannot be written (No space left" in printed
    _assert_same_end(whole, model, history)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in whole[0].iterdir()}


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_not_saved_and_a_lower_rate_goes_on(
    dataset, tmp_path, monkeypatch
):
    """The loss of the step was finite."""

    def spoil(budget):
        variable = budget.model.trainable_variables[3]
        variable.assign(variable * np.float32("nan"))

    _at_steps(monkeypatch, {5: spoil})
    monkeypatch.setattr(callbacks.StepLog, "on_train_batch_end", lambda *_, **__: None)
    with pytest.raises(FloatingPointError, match="between step 3 and step 6 .*go on from step 3"):
        _train(dataset, tmp_path)
    monkeypatch.undo()
    file, progress, _ = RunCheckpoint(tmp_path / "checkpoint").newest()
    assert progress["step"] == 3 and state.not_finite(load_keras_file(file)) is None
    _train(dataset, tmp_path, resume=True, learning_rate=0.001, epochs=5)
    changes = json.loads((tmp_path / "run.json").read_text())["changes"]
    assert changes == [
        {"step": 3, "setting": "epochs", "before": 4, "now": 5},
        {"step": 3, "setting": "learning_rate", "before": 0.005, "now": 0.001},
    ]


@pytest.mark.slow
def test_patience_ends_a_run_the_best_is_kept_and_checkpoints_follow_the_clock(
    dataset, tmp_path, monkeypatch
):
    values, steps, save = iter([0.3, 0.5, 0.4, 0.2, 0.2]), [], RunCheckpoint.save

    def measured(*_):
        ap = next(values)
        return types.SimpleNamespace(ap=ap, numbers={"AP": ap, "AP50": 0.5})

    def noted(self, model, progress):
        steps.append(progress["step"])
        save(self, model, progress)

    monkeypatch.setattr(run, "evaluate_ap", measured)
    monkeypatch.setattr(RunCheckpoint, "save", noted)
    monkeypatch.setattr(callbacks, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    _, history = _train(dataset, tmp_path, dataset, epochs=8, evaluations=8, patience=2, ema=0)
    assert [entry["step"] for entry in history["ap"]] == [3, 6, 9, 12]
    best = load_keras_file(tmp_path / "best.keras").run_record
    assert best["results"] == {"steps": 6, "validation": {"AP": 0.5, "AP50": 0.5}}
    assert set(steps) == set(range(1, 13)) and (tmp_path / "detector.keras").is_file()


def test_pictures_that_vanish_end_a_run_above_one_in_a_hundred():
    class Pictures(list):
        unread = {"a": "gone before"}

    watched = types.SimpleNamespace(train_set=Pictures(range(200)), saved_step=0)
    run.Run.note_pictures(watched)
    for name in "bc":
        watched.train_set.unread[name] = "No such file"
        run.Run.check_pictures(watched)
    watched.train_set.unread["d"] = "No such file"
    message = r"3 of 200 pictures .* more than 1%, the last of them d"
    for step, then in ((0, "start again"), (7, "continue with `resume=True`")):
        watched.saved_step = step
        with pytest.raises(ImageError, match=f"{message}.*{then}"):
            run.Run.check_pictures(watched)


def test_a_checkpoint_of_nothing_that_can_be_read(tmp_path):
    (tmp_path / "step-3").mkdir()
    (tmp_path / "step-3" / "progress.json").write_text("{")
    with pytest.raises(ValueError, match=r"No checkpoint in .* can be read. .*step-3: damaged"):
        RunCheckpoint(tmp_path).progress()
