"""When the tokens of a node's sessions expire: one timer for all of them."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Protocol


class Expiring(Protocol):
    """Whoever has a token."""

    def expire(self) -> None:
        """The token expires now."""


class Expiries:
    """Sessions by the second in which their token expires, which is looked at once a second."""

    def __init__(self) -> None:
        self._due: dict[int, set[Expiring]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, session: Expiring, expires_at: float) -> None:
        """Tell the session when this Unix time has come."""
        self._due.setdefault(math.ceil(expires_at), set()).add(session)
        if self._timer is None:
            self._look_later()

    def discard(self, session: Expiring, expires_at: float) -> None:
        """Nobody cares for it any more."""
        second = math.ceil(expires_at)
        due = self._due.get(second)
        if due is not None:
            due.discard(session)
            if not due:
                del self._due[second]

    def _look_later(self) -> None:
        now = time.time()
        self._timer = asyncio.get_running_loop().call_later(math.floor(now) + 1 - now, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.time()
        for second in [second for second in self._due if second <= now]:
            for session in self._due.pop(second):
                session.expire()
        if self._due:
            self._look_later()
