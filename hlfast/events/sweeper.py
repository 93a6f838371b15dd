"""The sweeper publishes what dead processes, or a lost event log, left in the outboxes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from hlfast.errors import Unavailable
from hlfast.events.outbox import Outbox

logger = logging.getLogger(__name__)


class Sweeper:
    """Sweeps every outbox, in one process at a time: whoever holds the lease."""

    def __init__(
        self,
        outboxes: Sequence[Outbox],
        lease: Callable[[], Awaitable[bool]],
        *,
        every_s: float,
        older_than_s: float,
        limit: int,
    ) -> None:
        self._outboxes = outboxes
        self._lease = lease
        self._every_s = every_s
        self._older_than_s = older_than_s
        self._limit = limit

    async def run(self) -> None:
        """Sweep the outboxes in turn, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            for outbox in self._outboxes:
                try:
                    await self._sweep(outbox)
                except Unavailable as error:
                    logger.info("The outbox is not swept now: %s", error.detail)
                except Exception:
                    # A row that nobody understands must not stop those of the other outbox.
                    logger.exception("The outbox was not swept")

    async def _sweep(self, outbox: Outbox) -> None:
        while await self._lease():
            if await outbox.sweep(self._older_than_s, self._limit) < self._limit:
                return
