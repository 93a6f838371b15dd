"""A word to load balancers before the door closes: the process drains, and takes requests still."""

from __future__ import annotations

import mmap
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

# A signal is heeded after so long at the latest.
_LOOK_S = 0.25
# Shared by the main process, which is asked to stop, and the workers that it forks.
_flag = mmap.mmap(-1, 1)


def is_draining() -> bool:
    """Whether the API was asked to stop."""
    return _flag[0] != 0


class Awaited:
    """What Granian's main thread waits for; meanwhile it handles signals.

    A handler runs in the main thread, between any two steps of a wait or of another handler. There
    threading.Event's `set` may wait for ever, for the lock that its own thread holds; a queue's
    `put` may be interrupted by itself. And the kernel may give a signal to any thread: a wait
    without end is not woken by one that interrupted another thread, and never handles it.
    """

    def __init__(self) -> None:
        self._wakings: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """End one wait, this one or the next."""
        self._wakings.put(None)

    def clear(self) -> None:
        """Do nothing: each wait ends by a `set` of its own, and none in between is forgotten."""

    def wait(self) -> None:
        """Wait for a `set`. Who waits looks for itself what has changed, if anything."""
        while True:
            with suppress(Empty):
                return self._wakings.get(timeout=_LOOK_S)


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
