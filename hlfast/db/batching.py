"""Reads of one loop turn as one statement."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BatchReader(Generic[K, V]):
    """Joins single reads that wait in the same turn of the event loop, or while batches are under way.

    `read_many` takes distinct keys and returns what was found by key. A read joins only a batch
    that was not sent yet, so it sees every write that was acknowledged before it was asked. A
    caller that gives up disturbs no other one's; a failure reaches all of its batch.
    """

    def __init__(
        self,
        read_many: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        *,
        batch_max: int,
        batches_max: int = sys.maxsize,
        enabled: bool = True,
    ) -> None:
        self._read_many = read_many
        self._batch_max = batch_max if enabled else 1
        self._batches_max = batches_max if enabled else sys.maxsize
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        # The loop holds tasks weakly; without this one could vanish under way.
        self._sent: set[asyncio.Task[None]] = set()

    def get(self, key: K) -> asyncio.Future[V | None]:
        """The value, or None where there is none. Raises what `read_many` raised.

        Not a coroutine of its own: every one of them costs each request.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send)
        future: asyncio.Future[V | None] = loop.create_future()
        futures = self._waiting.get(key)
        if futures is None:
            self._waiting[key] = [future]
        else:
            futures.append(future)
        if len(self._waiting) >= self._batch_max:
            self._send()
        return future

    async def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """One value for each key, in their order."""
        return list(await asyncio.gather(*map(self.get, keys)))

    def _send(self) -> None:
        while self._waiting and len(self._sent) < self._batches_max:
            keys = list(self._waiting)[: self._batch_max]
            batch = {key: self._waiting.pop(key) for key in keys}
            task = asyncio.get_running_loop().create_task(self._read(batch))
            self._sent.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._sent.discard(task)
        self._send()

    async def _read(self, waiting: dict[K, list[asyncio.Future[V | None]]]) -> None:
        try:
            found = await self._read_many(list(waiting))
        except Exception as error:  # handed to everyone who waits
            for futures in waiting.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            return
        for key, futures in waiting.items():
            value = found.get(key)
            for future in futures:
                if not future.done():
                    future.set_result(value)
