"""Settings that must precede the import of TensorFlow: oneDNN, and a command line without
TensorFlow's log.

On processors for which TensorFlow leaves oneDNN off, its CPU kernels cannot differentiate grouped
convolutions, and the fallback is slower: `TF_ENABLE_ONEDNN_OPTS=1` is the default here. A user's
own choice stays, and so does `TF_CPP_MIN_LOG_LEVEL` if it is set.
"""

import contextlib
import os
import sys


@contextlib.contextmanager
def hidden_stderr():
    """A context that discards standard error, for C++ libraries that bypass Python."""
    keep = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)


def _on_command_line():
    return os.path.basename(sys.argv[0] if sys.argv else "") in ("detblocks", "-m")


def names_verbs_only():
    """Whether this is `detblocks --help` or `--version`, which need no layers: `import keras` alone
    takes seconds."""
    program, *arguments = sys.argv or [""]
    ours = os.path.basename(program) == "detblocks" or (
        program == "-m" and sys.orig_argv[-len(arguments) - 1 :] == ["keras_detblocks", *arguments]
    )
    return ours and _WITHOUT_VERB.issuperset(arguments)


_WITHOUT_VERB = frozenset(["-h", "--help", "--version", "--debug"])

if "tensorflow" not in sys.modules and not names_verbs_only():
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # The command has messages of its own; TensorFlow writes some before it reads the level.
    if _on_command_line() and os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
        with hidden_stderr():
            import keras  # noqa: F401
