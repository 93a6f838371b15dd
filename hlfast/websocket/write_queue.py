"""When the queued frames of a process's connections are written: together, and in slices."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

from hlfast.websocket.limits import Limits
from hlfast.websocket.pings import Pings


class Queued(Protocol):
    """What has a turn in the order of the writes: a connection, or who waits for those before."""

    def flush(self) -> None:
        """Take its turn: write what is queued, or note that all before it is written."""


class Reader(Protocol):
    """A peer as the queue sees it: how far it is behind, and how it is given up."""

    @property
    def behind_since(self) -> float:
        """When it fell behind, by the monotonic clock; 0 when it has not."""

    def close_slow_reader(self) -> None:
        """Close the connection with 1013; its queued frames are lost."""


class WriteQueue:
    """Frames to one socket in one loop turn are one write; so are those of `join_delay_s`.

    The delay never holds up a lonely frame: only what follows a write within that time waits for
    the next one. A write costs 13 to 16 microseconds of kernel time on loopback, whatever its
    size, so joining is what a busy node lives by.

    `frames` and `writes` count since the start; joins per write is their ratio.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # Pings are written, too.
        self.pings = Pings(limits)
        self.frames = 0
        self.writes = 0
        self._queued: deque[Queued] = deque()
        self._is_scheduled = False
        self._next_write = 0.0
        self._held_until = 0.0
        self._behind: set[Reader] = set()
        self._look_timer: asyncio.TimerHandle | None = None

    @property
    def behind(self) -> int:
        """How many readers have not taken what was written to them."""
        return len(self._behind)

    def add(self, queued: Queued) -> None:
        """This connection has frames queued: flush it when the time has come."""
        self._queued.append(queued)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop = asyncio.get_running_loop()
            wait_s = self._next_write - time.monotonic()
            if wait_s > 0:
                loop.call_later(wait_s, self._write)
            else:
                loop.call_soon(self._write)

    def hold(self) -> None:
        """Write nothing until `release`: what is yet to be queued shares the writes.

        Not for longer than the limits' `hold_max_s`, however much there is.
        """
        self._held_until = time.monotonic() + self.limits.hold_max_s

    def release(self) -> None:
        """Write what is queued, when it is time."""
        self._held_until = 0.0

    def count(self, frames: int) -> None:
        """One write of so many frames."""
        self.frames += frames
        self.writes += 1

    def _write(self) -> None:
        # Not loop.time(): uvloop's stands still within a turn.
        now = time.monotonic()
        if now < self._held_until:
            # Who holds it gives way, and has the next turn.
            asyncio.get_running_loop().call_soon(self._write)
            return
        end = now + self.limits.slice_s
        queued = self._queued
        try:
            while queued:
                queued.popleft().flush()
                if time.monotonic() > end:
                    break
        finally:
            if queued:
                # Input and other tasks have their turn before the rest.
                asyncio.get_running_loop().call_soon(self._write)
            else:
                self._is_scheduled = False
                self._next_write = now + self.limits.join_delay_s

    def watch(self, reader: Reader) -> None:
        """This reader is behind: close it with 1013 unless it catches up in time."""
        self._behind.add(reader)
        if self._look_timer is None:
            self._look_later()

    def forget(self, reader: Reader) -> None:
        """Time a reader no longer: it caught up, or it is gone."""
        self._behind.discard(reader)

    def _look_later(self) -> None:
        # One timer for all readers: late by a quarter of the time at most.
        self._look_timer = asyncio.get_running_loop().call_later(
            self.limits.behind_max_s / 4, self._look
        )

    def _look(self) -> None:
        self._look_timer = None
        latest = time.monotonic() - self.limits.behind_max_s
        for reader in [one for one in self._behind if one.behind_since <= latest]:
            reader.close_slow_reader()
        if self._behind:
            self._look_later()
