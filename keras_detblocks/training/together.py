"""Lets processes that train together end together: if one fails, the others would wait forever for
its part of a sum."""

import contextlib
import ctypes
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time

import keras

from .interrupt import Stopped

# Seconds: between two looks at the others' messages, for a message that comes later than the broken
# connection, and for all to leave together.
BETWEEN_LOOKS, UNTIL_TOLD, UNTIL_LEFT = 1.0, 5.0, 10.0
_MISTAKES = (ValueError, OSError, ImportError, FloatingPointError)
_watched = []  # the line of this process while it is watched
# Words in JAX' errors when a connection to another process broke.
_CONNECTIONS = ("Gloo", "NCCL", "coordination service", "Connection reset", "Connection closed")
_numbers = itertools.count()
_kept = []  # would wait for the others when Python collects it


class Ended(ConnectionError):
    """Another process of the run has ended, so this one has to end as well.

    Attributes:
        told: whether the other one said why.
        exit_code: that of the other, so that all end with the same; 1 if it is not known.
        at_once: whether the backend is about to end this process by itself.
    """

    def __init__(self, text, exit_code=None, at_once=False):
        super().__init__(text)
        self.told = exit_code is not None
        self.at_once = at_once
        self.exit_code = exit_code if self.told else 1


@contextlib.contextmanager
def together(tell=None):
    """A context in which an error in one process of `start_workers` ends all of them within
    seconds, each with one sentence. In a single process it does nothing.

    A process that learns of another's end while it waits in a sum over all cannot be called back:
    it prints the sentence and exits, as does a process on JAX whose chief is gone. `train` enters
    this context itself; a program that reads its data after `start_workers` should enter it before
    that. All processes must enter it equally often.

    Args:
        tell: a function that is called with that sentence; by default it is printed on stderr.

    Raises:
        Ended: if the backend noticed that another process is gone.

    >>> with together():
    ...     print("alone")
    alone
    """
    line = None if _watched else _line()
    if line is None:
        yield
        return
    # an error that was caught must not end a later run
    line.key = f"keras_detblocks/ended/{next(_numbers)}"
    with line.time_to_tell():
        yield from _watched_by(line, tell or _complain)


def _watched_by(line, tell):
    """The body of `together`."""
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(line, over, tell), daemon=True)
    _watched.append(line)
    watch.start()
    try:
        try:
            yield
        finally:
            over.set()
            watch.join()
            _watched.clear()
    except BaseException as error:
        if getattr(error, "agreed", False):  # all of them stop, at the same step
            raise
        other = _other_end(line, error)
        if other is not None and other.at_once:
            _end(line, other, tell)
        if other is None:
            line.put(json.dumps(_told(line, error)))
        line.leave(waits=other is None or other.told)
        if other is not None:
            raise other from error
        raise


def _watch(line, over, tell):
    """Ends this process once another has announced its end."""
    while not over.wait(BETWEEN_LOOKS):
        ended = _heard(line)
        if ended is not None and not over.is_set():
            _end(line, ended, tell)


def _end(line, ended, tell):
    """Ends this process with the sentence."""
    tell(str(ended))
    line.leave(waits=ended.told)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended.exit_code)


def _complain(text):
    print(text, file=sys.stderr)


def _heard(line):
    """The `Ended` of another process, or `None`."""
    if line.chief_is_gone():
        return Ended(
            f"Worker 0 is gone without a word, so worker {line.index} ends too; start all of them "
            f"again, with `resume=True`.",
            at_once=True,
        )
    text = line.look()
    if not text:
        return None
    told = json.loads(text)
    return Ended(
        f"Worker {told['worker']} ended ({told['reason']}), so worker {line.index} ends too; "
        f"start all of them again, with `resume=True`.",
        told["exit_code"],
    )


def _told(line, error):
    """The message to the others about an error here."""
    reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    if isinstance(error, Stopped):
        code = 128 + error.signal
    else:
        code = 2 if isinstance(error, _MISTAKES) else 1
    return {"worker": line.index, "reason": reason, "exit_code": code}


def _other_end(line, error):
    """The `Ended` behind an error of the backend, if another process may have caused it."""
    if not line.may_be_another(error):
        return None
    until = time.monotonic() + UNTIL_TOLD
    while time.monotonic() < until:
        # first, since a killed process closes one connection after the other
        time.sleep(BETWEEN_LOOKS / 4)
        ended = _heard(line)
        if ended is not None:
            return ended
    return Ended(
        f"Another process than worker {line.index} is gone ({' '.join(str(error).split())[:200]}): "
        f"start all of them again, with `resume=True`."
    )


def _line():
    """The line to the other processes; `None` for a single process."""
    if keras.backend.backend() == "jax":
        import jax

        return _JaxLine() if jax.process_count() > 1 else None
    if keras.backend.backend() == "tensorflow":
        from .devices import strategy_across_processes

        strategy = strategy_across_processes()
        return None if strategy is None else _TensorFlowLine(strategy)
    return None


class _TensorFlowLine:
    """Sends messages through the keys and values of a TensorFlow cluster's coordination service."""

    def __init__(self, strategy):
        from tensorflow.python.eager import context

        self.index = strategy.cluster_resolver.task_id
        self._context = context.context()

    def put(self, text):
        with contextlib.suppress(Exception):  # the coordinator may be gone
            self._context.set_config_key_value(self.key, text)

    def look(self):
        with contextlib.suppress(Exception):
            return self._context.get_config_key_value(self.key, 1)

    def chief_is_gone(self):
        return False  # here it is an error like any other, and ends nobody

    def time_to_tell(self):
        return contextlib.nullcontext()

    def may_be_another(self, error):
        import tensorflow as tf

        errors = tf.errors
        mine = (errors.ResourceExhaustedError, errors.InvalidArgumentError)
        return isinstance(error, errors.OpError) and not isinstance(error, mine)

    def leave(self, waits):
        pass


class _JaxLine:
    """Sends messages through the keys and values of JAX's coordinator."""

    def __init__(self):
        import jax
        from jax._src import distributed  # has no public door

        self.index = jax.process_index()
        self._state = distributed.global_state
        self._client = self._state.client
        self._chief = None
        if self.index:
            host, _, port = self._state.coordinator_address.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port)), 10.0) as connection:
                self._chief = connection.getpeername()

    def put(self, text):
        with contextlib.suppress(Exception):  # the coordinator may be gone
            self._client.key_value_set(self.key, text)

    def look(self):
        """Looks from a separate thread: a call while JAX aborts the process gets no answer."""
        answers = []
        ask = threading.Thread(target=_quietly, args=(self._ask, answers), daemon=True)
        ask.start()
        ask.join(BETWEEN_LOOKS)
        return answers[0] if answers else None

    def _ask(self, answers):
        answers.append(self._client.key_value_try_get(self.key))

    def chief_is_gone(self):
        """Whether nobody listens at the chief's address. It does not use JAX's client, which would
        wait for its own end."""
        if self._chief is None:
            return False
        with contextlib.suppress(OSError):  # a network that is slow or away for a while
            try:
                socket.create_connection(self._chief[:2], 1.0).close()
            except ConnectionRefusedError:
                return True
        return False

    @contextlib.contextmanager
    def time_to_tell(self):
        """A context in which an abort waits in C's `sleep`, called with the signal's number, so for
        6 seconds: enough to say why before the process ends. JAX aborts as soon as it loses the
        chief, and its callback for that accepts no Python function (jaxlib 0.10:
        `std::bad_cast`)."""
        waits = self._chief is not None and os.name == "posix"
        before = _handle_abort_with(ctypes.CDLL(None).sleep) if waits else None
        try:
            yield
        finally:
            if waits:
                _handle_abort_with(before)

    def may_be_another(self, error):
        import jax

        kinds = (jax.errors.JaxRuntimeError, ValueError)  # both come with the text of the backend
        return isinstance(error, kinds) and any(word in str(error) for word in _CONNECTIONS)

    def leave(self, waits):
        """Leaves the group. JAX waits for all processes when one ends: here no longer than
        `UNTIL_LEFT`, and not for one that is gone, which would make it abort."""
        import jax

        if waits:
            last = threading.Thread(target=_quietly, args=(jax.distributed.shutdown,), daemon=True)
            last.start()
            last.join(UNTIL_LEFT)
        state = self._state
        _kept.append((state.client, state.service, state.preemption_sync_manager))
        state.client = state.service = state.preemption_sync_manager = None


def _handle_abort_with(function):
    """Sets C's handler of SIGABRT; returns the one before."""
    handle = ctypes.CDLL(None).signal
    handle.argtypes, handle.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    return handle(signal.SIGABRT, ctypes.cast(function, ctypes.c_void_p))


def _quietly(function, *arguments):
    with contextlib.suppress(Exception):
        function(*arguments)
