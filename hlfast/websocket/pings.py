"""Silent peers of a process: pinged, and given up, by one timer for all of them."""

from __future__ import annotations

import asyncio
from typing import Protocol

from hlfast.websocket.limits import Limits

# Looks at a peer in the time that it may be silent: as much later than that it may be pinged.
_LOOKS = 4
# Between two looks at one peer so many parts of the others have theirs.
_PARTS = 8


class Peer(Protocol):
    """A peer as a look sees it."""

    def look(self, ping_at: int, end_at: int) -> bool:
        """Count one more look since the peer was heard, and ping or close it by that count.

        False once it is closed.
        """


class Pings:
    """Looks at each peer again and again, without a timer or a task of its own."""

    def __init__(self, limits: Limits) -> None:
        self._idle_s = limits.ping_idle_s
        # What lies between two looks is counted too little by one at most.
        self._ping_at = _LOOKS + 1
        reply = limits.ping_reply_s / self._idle_s * _LOOKS if self._idle_s else 0
        self._end_at = self._ping_at + 1 + int(reply)
        self._parts: list[list[Peer]] = [[] for _ in range(_PARTS)]
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, peer: Peer) -> None:
        """Look at it from now on, for as long as it is open."""
        if self._idle_s is None:
            return
        # This part has its next turn when all the others had theirs.
        self._parts[self._turn].append(peer)
        if self._timer is None:
            self._look_later(self._idle_s)

    def _look_later(self, idle_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(
            idle_s / (_LOOKS * _PARTS), self._look, idle_s
        )

    def _look(self, idle_s: float) -> None:
        self._timer = None
        self._turn = (self._turn + 1) % _PARTS
        part = self._parts[self._turn]
        part[:] = [peer for peer in part if peer.look(self._ping_at, self._end_at)]
        if any(self._parts):
            self._look_later(idle_s)
