"""A word to load balancers before the door closes: the process drains, and takes requests still."""

from __future__ import annotations

import mmap
import signal
import threading
from collections.abc import Callable
from typing import Any

# A signal is heeded after so long at the latest.
_LOOK_S = 0.25
# Shared by the main process, which is asked to stop, and the workers that it forks.
_flag = mmap.mmap(-1, 1)


def is_draining() -> bool:
    """Whether the API was asked to stop."""
    return _flag[0] != 0


class Awaited(threading.Event):
    """An event for the main thread, which handles signals while it waits for it.

    The kernel may give a signal to any thread, and Python's handlers run in the main one: a wait
    without end is not woken by a signal that interrupted another thread, and never handles it.
    """

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the API is to stop, as threading.Event.wait does."""
        if timeout is not None:
            return super().wait(timeout)
        while not super().wait(_LOOK_S):
            pass
        return True


class Notice:
    """Handles signals to stop: SIGTERM is passed on after `seconds`, all others at once.

    So is a second signal. Meanwhile `/health/ready` says 503, and all else goes on.
    """

    def __init__(self, stop: Callable[[], None], seconds: float) -> None:
        self._stop = stop
        self._seconds = seconds

    def __call__(self, number: int, _: Any) -> None:
        """Handle a signal, given by its number, as `signal.signal` hands it over."""
        if number != signal.SIGTERM or is_draining() or not self._seconds:
            self._stop()
            return
        _flag[0] = 1
        timer = threading.Timer(self._seconds, self._stop)
        timer.daemon = True
        timer.start()
