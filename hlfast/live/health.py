"""How a node is: whether its database answers, and events get into the log and out of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from hlfast.events.publisher import Publisher

_LOOK_EVERY_S = 1.0
# Entries come from everywhere, and if there are none for a second a node publishes one that holds
# no event. None for so long after that: the log does not take them, or they do not get here.
_QUIET_MAX_S = 4.0


class Node(Protocol):
    """What is asked of a node."""

    # When the log was heard of last, by the monotonic clock.
    heard_at: float

    @property
    def is_ready(self) -> bool:
        """Whether it follows the log, and is not about to stop."""


class Health:
    """Looks all the time, because a handshake's answer cannot wait."""

    def __init__(
        self, node: Node, publisher: Publisher, database: Callable[[], Awaitable[bool]]
    ) -> None:
        self._node = node
        self._publisher = publisher
        self._database = database
        self._database_answers = True

    @property
    def is_ready(self) -> bool:
        """Whether clients should come here."""
        return self._node.is_ready and self._database_answers

    @property
    def takes_events(self) -> bool:
        """Whether the log takes events, and they come."""
        quiet_s = time.monotonic() - self._node.heard_at
        return not self._publisher.trouble and quiet_s < _QUIET_MAX_S

    def dependencies(self) -> dict[str, bool]:
        """Each server that a node needs, by name, and whether it answers."""
        return {"database": self._database_answers, "events": self.takes_events}

    async def run(self) -> None:
        """Look at the database and the event log, until cancelled."""
        while True:
            self._database_answers, _ = await asyncio.gather(self._database(), self._look_at_log())
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _look_at_log(self) -> None:
        if self._publisher.trouble or time.monotonic() - self._node.heard_at > _LOOK_EVERY_S:
            await self._publisher.takes_events()
