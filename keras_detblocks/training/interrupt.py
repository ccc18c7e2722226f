"""Signals that ask a run to stop: Ctrl-C, and the one that a cluster sends before it takes a
machine back."""

import contextlib
import signal
import threading

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """A signal stopped the run, which is on disk and can be resumed.

    Attributes:
        signal: the number of the signal, 128 less than a shell's exit code for it.
        agreed: whether all processes that train together stop with this one.
    """

    def __init__(self, number, agreed=False):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = number
        self.agreed = agreed


class Interrupts:
    """A context in which a signal of `NAMES` is noted and the current training step is finished
    first; within `at_once()`, where nothing can be lost, it raises `Stopped` immediately.

    A second Ctrl-C always raises. It works only in the main thread, to which Python delivers
    signals; ignored signals (`nohup`) stay ignored.

    Attributes:
        received: number of the signal that was noted, or `None`.
    """

    def __init__(self):
        self.received = None
        self._at_once = True  # until the first step is done
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number, frame):
        again = number == signal.SIGINT and self.received == number
        self.received = number
        if self._at_once or again:
            raise Stopped(number)

    @contextlib.contextmanager
    def at_once(self):
        before, self._at_once = self._at_once, True
        try:
            self.check()
            yield
        finally:
            self._at_once = before

    def steps_under_way(self):
        """Declares that from here on there is a step to finish first."""
        self._at_once = False

    def check(self):
        """Raises `Stopped` if a signal was noted."""
        if self.received is not None:
            raise Stopped(self.received)
