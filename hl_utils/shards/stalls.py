"""How long messages wait while shards are changed: asked as a message asks, all the time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from hl_utils.shards.cluster import LOOK
from hlfast.db.postgres import connect

_SEND = LOOK["send_nowhere"]
# Between two looks; what is shorter may be missed.
_LOOK_S = 0.05
# No dialog has a negative id. Any of them is as good as random to the cluster.
_NOWHERE = (-(2**62), -1)


class Stall:
    """The longest that a message had to wait, in seconds."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.longest_s = 0.0
        self._connection = connection
        self._ends = False

    async def watch(self) -> None:
        """Send to dialogs that are not there, whose shards are, until the end is near."""
        began = time.monotonic()
        while not self._ends and not self._connection.is_closed():
            is_answered = await self._is_answered()
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            await asyncio.sleep(_LOOK_S)
            # Whoever is refused asks again, and has waited since.
            if is_answered:
                began = time.monotonic()

    def end(self) -> None:
        """Look no more: the operation has ended."""
        self._ends = True

    async def _is_answered(self) -> bool:
        dialog = random.randint(*_NOWHERE)  # noqa: S311 - no secret
        try:
            await self._connection.fetch(_SEND, dialog)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False
        return True


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Stall]:
    """The longest wait for what the block does, which is known after it."""
    connection = await connect(url)
    stall = Stall(connection)
    watching = asyncio.create_task(stall.watch())
    try:
        yield stall
        stall.end()
        await watching
    finally:
        watching.cancel()
        connection.terminate()
