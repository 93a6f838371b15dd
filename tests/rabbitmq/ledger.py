"""Load on an event log, and the account of it: what was confirmed, and what a reader found."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing

from hlfast.errors import Unavailable
from hlfast.events.log import Entry, EventLog, Position
from tests.events.brokers import until_available
from tests.rabbitmq.cluster import CLUSTER_S

WRITERS = 8
_PAUSE_S = 0.05
# Nodes start for many seconds, at times all of them: who asks often takes the CPU that they need.
_RETRY_S = 0.25


class Ledger:
    """Several writers who number their events, try each one until it is confirmed, and a reader."""

    def __init__(self, writing: EventLog, reading: EventLog) -> None:
        self._writing = writing
        self._reading = reading
        self._attempts: Counter[bytes] = Counter()
        self._ends = asyncio.Event()
        self.confirmed: list[bytes] = []
        self.found: list[Entry] = []

    async def run(self, disturb: Callable[[Ledger], None]) -> None:
        """Write while `disturb` runs in a thread and until it returns; read to the last event."""
        # A node that was started anew may say for a moment that it has no copy of the stream.
        start = await until_available(self._writing.end)
        async with asyncio.timeout(3 * CLUSTER_S), asyncio.TaskGroup() as tasks:
            writers = [tasks.create_task(self._write(writer)) for writer in range(WRITERS)]
            reader = tasks.create_task(self._read(start))
            await asyncio.to_thread(disturb, self)
            self._ends.set()
            await asyncio.gather(*writers)
            await self._try(b"end")
            await reader

    def check(self) -> None:
        """Every event is there, in its writer's order, and none more often than it was sent."""
        positions = [entry.position for entry in self.found]
        assert positions == sorted(set(positions))
        times = Counter(entry.batch for entry in self.found)
        assert times.keys() == set(self.confirmed)
        assert all(count <= self._attempts[event] for event, count in times.items())
        for writer in range(WRITERS):
            mine = [event for event in times if event.startswith(b"%d " % writer)]
            assert [int(event.split()[1]) for event in mine] == list(range(len(mine)))

    async def _write(self, writer: int) -> None:
        number = 0
        while not self._ends.is_set():
            await self._try(b"%d %d" % (writer, number))
            number += 1
            await asyncio.sleep(_PAUSE_S)

    async def _try(self, event: bytes) -> None:
        while True:
            self._attempts[event] += 1
            try:
                await self._writing.publish(event)
            except Unavailable:
                await asyncio.sleep(_RETRY_S)
            else:
                self.confirmed.append(event)
                return

    async def _read(self, start: Position) -> None:
        async with aclosing(self._reading.follow(start)) as following:
            async for entry in following:
                assert isinstance(entry, Entry), "the reader was told that something is missing"
                self.found.append(entry)
                if entry.batch == b"end":
                    return
