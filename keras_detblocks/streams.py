"""What libraries write to the process's standard error straight from C++, past Python."""

import contextlib
import os


@contextlib.contextmanager
def hidden_stderr():
    """Within it, standard error goes nowhere, for libraries that cannot be told to be quiet."""
    keep = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)
