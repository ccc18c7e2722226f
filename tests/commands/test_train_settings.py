"""Where the options of `detblocks train` come from, and what is refused before anything is read."""

import json
import pathlib

import pytest

from keras_detblocks import cli
from keras_detblocks.commands import settings


def _settled(*arguments, file=None):
    arguments = ["train", *map(str, arguments), "--out", "run"]
    options = cli.parser_for(arguments).parse_args(arguments)
    options.arguments = arguments
    settings.settle(options, file)
    return options


def _file(tmp_path, content, name="run.toml"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_command_line_comes_before_set_before_the_file_before_the_defaults(tmp_path):
    file = _file(tmp_path, "batch = 4\nseed = 7\nfilters = 32\nlearning_rate = 0.5\ndata = 'd'\n")
    found = _settled("--batch", 2, "--set", "seed=8", "--set", "batch=3", file=file)
    assert (found.batch, found.seed, found.filters, found.ema) == (2, 8, 32, 0.99)
    assert found.learning_rate == 0.5 and found.data == pathlib.Path("d") and not found.resume


def test_the_values_of_toml(tmp_path):
    file = _file(tmp_path, "levels = [3, 4]\nsize = [64, 96]\nneck = 'none'\nepochs = 2\n")
    found = _settled("data", file=file)
    assert (found.levels, found.image_size, found.neck) == ((3, 4), (64, 96), None)
    assert found.epochs == 2.0
    # Numbers by themselves, behind the mark that some editors begin a file with.
    found = _settled("data", file=_file(tmp_path, "\ufefflevels = 4\nsize = 64\n"))
    assert (found.levels, found.image_size) == ((4,), (64, 64))


@pytest.mark.parametrize("given", [("--epochs", "2"), ("--set", "epochs=2")])
def test_a_nearer_budget_takes_the_place_of_the_other(tmp_path, given):
    found = _settled("data", *given, file=_file(tmp_path, "minutes = 30\n"))
    assert (found.minutes, found.epochs) == (None, 2.0)


def test_what_run_json_holds_makes_the_same_run(tmp_path):
    given = _settled(
        tmp_path, *"--epochs 3 --neck none --levels 3-4 --size 64x96 --set warmup-steps=5".split()
    )
    record = {"format": "keras_detblocks.run", **settings.describe(given)}
    assert record["command"].startswith("detblocks train ")
    again = _settled(file=_file(tmp_path, record, "run.json"))
    kept = {name for name in vars(given) if name not in ("arguments", "layers", "set", "run")}
    assert {k: vars(again)[k] for k in kept} == {k: vars(given)[k] for k in kept}


@pytest.mark.parametrize(
    "content, name, message",
    [
        ("bach = 4", "a.toml", "a.toml: Unknown setting 'bach'. Did you mean 'batch'"),
        ("batch = 'many'", "a.toml", "a.toml: batch: expected a whole number; received 'many'"),
        ("batch = 1e12", "a.toml", "a.toml: batch: expected a whole number; received 1000"),
        ("epochs = [1]", "a.toml", "a.toml: epochs: expected a number; received"),
        ("augment = 'flop'", "a.toml", "augment: expected one of none, color"),
        ("levels = '5-3'", "a.toml", "levels: expected FIRST-LAST"),
        ("levels = [3, 5]", "a.toml", "levels: expected such as 3-5; received"),
        ("levels = []", "a.toml", "levels: expected FIRST-LAST"),
        ("size = 64.5", "a.toml", "size: expected HEIGHTxWIDTH"),
        ("out = 'x'", "a.toml", "Unknown setting 'out'"),
        ("batch = [", "a.toml", "not a complete TOML file"),
        ("{", "a.json", "not a complete JSON file"),
        ("[]", "a.json", "expected the run.json"),
        ('{"format": "keras_detblocks.run"}', "a.json", "expected the run.json"),
    ],
)
def test_files_that_say_something_else(tmp_path, content, name, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        _settled("data", file=_file(tmp_path, content, name))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--minutes 1 --epochs 1", "a number of minutes or of epochs"),
        ("--start nowhere.keras", "No such model: nowhere.keras"),
        ("--backbone RegNetY008 --weights nowhere.h5", "No such file of weights: nowhere.h5"),
        ("--val-fraction 1.5", "--val-fraction` must be"),
        ("--levels 3-7 --size 64", "--levels must be from 2 to 6"),
        ("--size 16384 --batch 65536", "65536 pictures of 16384x16384 take 211106 GB"),
        ("--restarts -1", "--restarts` must be"),
        ("--restarts 1 --val-fraction 2", "--val-fraction` must be"),
        ("--set batch", "KEY=VALUE"),
        ("--config nowhere.json", "No such file of settings"),
        ("--worker 1", "need both"),
    ],
)
def test_impossible_runs_are_refused_before_the_data_is_read(tmp_path, capsys, arguments, message):
    """The data does not even exist, and no folder is made."""
    out = tmp_path / "run"
    assert cli.main(["train", "nowhere", "--out", str(out), *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not out.exists()


WRONG = {
    "minutes": "1e300 inf nan -1 0",
    "epochs": "1e300 inf nan -1 0 1e18",
    "batch": "1000000000000 0 -1",
    "patience": "1000000000 0 -1",
    "evaluations": "1000000000 0 -1",
    "learning-rate": "1e300 1e-300 inf nan -1 0",
    "weight-decay": "1e300 inf nan -1",
    "warmup-steps": "1000000000000 -1",
    "ema": "1e300 inf nan -1 1",
    "seed": "1000000000000 -1",
    "levels": "3-99 3-9 1-3 0",
    "size": "1000000 64x1000000 16385",
    "filters": "1000000000 0 -1",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_numbers_are_told_wherever_they_are_given(tmp_path, capsys, name):
    out = tmp_path / "run"
    for value in WRONG[name].split():
        number = value if name in ("levels", "size") else float(value)
        number = int(value) if value.lstrip("-").isdigit() else number
        toml = _file(tmp_path, f"{name} = {number!r}\n")
        record = {"format": "keras_detblocks.run", "options": {name: number}}
        record = _file(tmp_path, record, "run.json")
        for way in (f"--{name}={value}", f"--set={name}={value}", "toml", "json"):
            given = {"toml": f"--config={toml}", "json": f"--config={record}"}.get(way, way)
            assert cli.main(["train", "nowhere", "--out", str(out), given]) == 2, (way, value)
            error = capsys.readouterr().err
            assert f"detblocks train: --{name} must be" in error and error.count("\n") == 1, error
    assert not out.exists()


def test_data_has_to_come_from_somewhere(capsys):
    assert cli.main(["train", "--out", "x"]) == 2
    assert "Which data?" in capsys.readouterr().err


def test_a_damaged_detector_is_one_line(tmp_path, capsys):
    """Whatever is wrong with the file, and whoever opens it."""
    import zipfile

    for i, content in enumerate([b"", b"text", b"PK\x03\x04" + bytes(60)]):
        (tmp_path / f"{i}.keras").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "3.keras", "w") as archive:
        archive.writestr("config.json", "[]")
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
    for i in range(4):
        path = str(tmp_path / f"{i}.keras")
        for verb in (["export", path, "--out", str(tmp_path / "e")], ["benchmark", path]):
            assert cli.main(verb) == 2
            error = capsys.readouterr().err
            assert "is damaged" in error and len(error.strip().splitlines()) == 1, error
