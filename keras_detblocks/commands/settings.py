"""Combines options from several places: the command line, `--set`, a file of settings, and the
defaults."""

import argparse
import json
import pathlib
import shlex
import tomllib

from ..checks import look_up
from .options import TEXTS

# A run takes one of each pair, so one that is given drops the other where it has lower precedence.
RIVALS = {"minutes": "epochs", "epochs": "minutes"}
# Options that are given anew for each run and do not describe it.
NOT_KEPT = ("config", "set", "resume", "out", "restarts", "worker", "workers")


def defer_defaults(parser):
    """Removes the defaults from a finished parser, so that given options can be told from them;
    `settle` restores them with the lowest precedence."""
    actions = {
        action.dest: action
        for action in parser._actions
        if action.default is not argparse.SUPPRESS and action.dest not in ("help", "set")
    }
    defaults = {name: action.default for name, action in actions.items()}
    for action in actions.values():
        if action.help and "%(default)" in action.help:
            action.help = action.help % {"default": action.default}
        # argparse would convert the mark of a positional argument as if it had been typed.
        action.default = argparse.SUPPRESS if action.option_strings else None
    parser.set_defaults(layers=(actions, defaults))


def settle(options, file=None, plan=None):
    """Completes options. The command line takes precedence over `--set`, then come the file, the
    plan and the defaults.

    Args:
        options: the namespace of a parser that `defer_defaults` was called on; it is completed.
        file: path of a `run.json` or of a TOML or JSON file of options, or `None`.
        plan: a function that takes the options so far and returns values by the options' names.

    Raises:
        ValueError: for a key that is not an option, or a value that the option does not take.
    """
    actions, defaults = options.layers
    given = {
        name
        for name, action in actions.items()
        if hasattr(options, name) and (action.option_strings or getattr(options, name) is not None)
    }
    layers = [(_pairs(options.set), "--set")]
    if file is not None:
        layers.append((read_settings(file), str(file)))
    for values, source in layers:
        taken = {RIVALS[name] for name in given if name in RIVALS}
        found = {
            name: _value(actions, name, value, source)
            for name, value in _known(values, actions, source).items()
            if name not in given | taken
        }
        for name, value in found.items():
            setattr(options, name, value)
        given |= set(found)
    for name, value in {**defaults, **(plan(options) if plan else {})}.items():
        if name not in given:
            setattr(options, name, value)


def read_settings(path):
    """Reads the options in a file: those of a `run.json`, or the keys of a TOML or JSON file."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such file of settings: {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")  # the mark with which some editors begin a file
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise ValueError(f"{path} is not a complete {kind} file: {error}") from error
    if isinstance(found, dict) and found.get("format") == "keras_detblocks.run":
        found = found.get("options")
    if not isinstance(found, dict):
        raise ValueError(
            f"{path}: expected the run.json of `detblocks train`, or keys such as batch = 16; "
            f"received {type(found).__name__}."
        )
    return found


def describe(options):
    """Describes a command for `run.json`: the command itself, and its settled options as text that
    the command line and `--config` accept."""
    actions, _ = options.layers
    kept = {
        _key(action): _text(name, getattr(options, name))
        for name, action in actions.items()
        if name not in NOT_KEPT and (name in TEXTS or getattr(options, name) is not None)
    }
    return {"command": f"detblocks {shlex.join(options.arguments)}", "options": kept}


def _key(action):
    flags = [flag for flag in action.option_strings if flag.startswith("--")]
    return flags[0].removeprefix("--") if flags else action.dest


def _text(name, value):
    """A value as written on the command line: levels 3-5, a size 256x320, a complete path."""
    if name in TEXTS and not isinstance(value, (str, int, float)):
        return TEXTS[name](value)
    if isinstance(value, pathlib.Path):  # other values, such as --start none, stay
        return str(value.resolve() if value.exists() else value)
    return value


def _pairs(texts):
    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set: expected KEY=VALUE, such as batch=8; received {text!r}")
        pairs[key.strip()] = value.strip()
    return pairs


def _known(values, actions, source):
    """Values by the parser's names of their options."""
    names = {_key(action): name for name, action in actions.items() if name not in NOT_KEPT}
    found = {}
    for key, value in values.items():
        try:
            name = look_up(names, str(key).replace("_", "-"), "setting")
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        if value is not None:
            found[name] = value
    return found


_KINDS = {int: "a whole number", float: "a number"}


def _value(actions, name, value, source):
    action = actions[name]
    if action.nargs == 0:  # a flag
        if str(value).lower() not in ("true", "false"):
            raise ValueError(f"{source}: {_key(action)}: expected true or false, got {value!r}")
        return str(value).lower() == "true"
    if isinstance(value, (bool, dict)):
        raise ValueError(f"{source}: {_key(action)}: received {value!r}")
    text = str(_text(name, value) if value != [] else value)
    try:
        converted = action.type(text) if action.type else text
        if isinstance(value, list) and name in TEXTS and list(converted) != value:
            raise ValueError(f"expected such as {text}; received {value}")
    except (ValueError, argparse.ArgumentTypeError) as error:
        kind = _KINDS.get(action.type)
        what = f"expected {kind}; received {value!r}" if kind else error
        raise ValueError(f"{source}: {_key(action)}: {what}") from None
    if action.choices is not None and converted not in action.choices:
        raise ValueError(
            f"{source}: {_key(action)}: expected one of {', '.join(map(str, action.choices))}; "
            f"received {value!r}"
        )
    return converted
