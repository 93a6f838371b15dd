"""Reads, or writes, that meet as one statement."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from hlfast.errors import Unavailable

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")


class BatchReader(Generic[K, V]):
    """Joins single reads that wait in one turn of the event loop, or while batches are under way.

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


class _Waiting(NamedTuple, Generic[K, T, V]):
    key: K
    item: T
    written: asyncio.Future[V]
    since: float  # in the loop's time


class BatchWriter(Generic[K, T, V]):
    """Joins writes that wait in the same turn of the event loop, or while batches are under way.

    `write_many` writes a batch, all or nothing, and returns one value for each item in their order.
    No two items of one key are under way at once, in one batch or in two: they go one after the
    other, as they came, so that a batch needs no order within and waits for no other one of this
    process. A caller that gives up disturbs nobody else, and its own item is written all the same
    unless it has not gone out yet; a failure reaches all of its batch.
    """

    def __init__(
        self,
        write_many: Callable[[Sequence[T]], Awaitable[Sequence[V]]],
        *,
        batch_max: int,
        batches_max: int,
        waiting_max: int,
        timeout_s: float,
    ) -> None:
        self._write_many = write_many
        self._batch_max = batch_max
        self._batches_max = batches_max
        self._free = waiting_max
        self._timeout_s = timeout_s
        # The first of each key, and behind it, for each key that waits or is under way, the rest.
        self._first: deque[_Waiting[K, T, V]] = deque()
        self._behind: dict[K, deque[_Waiting[K, T, V]]] = {}
        self._turn_ends = False
        self._under_way: set[asyncio.Task[None]] = set()

    async def write(self, key: K, item: T) -> V:
        """What became of the item. Raises what `write_many` raised.

        Raises errors.Unavailable when too many wait, and after `timeout_s` of waiting, which ends
        when a batch does: it takes no timer.
        """
        if self._free <= 0:
            raise Unavailable("Too many requests are waiting for the database.")
        loop = asyncio.get_running_loop()
        written: asyncio.Future[V] = loop.create_future()
        one = _Waiting(key, item, written, loop.time())
        self._free -= 1
        behind = self._behind.get(key)
        if behind is not None:
            behind.append(one)
        else:
            self._behind[key] = deque()
            self._first.append(one)
            if not self._turn_ends and len(self._under_way) < self._batches_max:
                self._turn_ends = True
                loop.call_soon(self._end_turn)
        return await written

    def _end_turn(self) -> None:
        self._turn_ends = False
        self._send()

    def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while self._first and len(self._under_way) < self._batches_max:
            batch = self._take(loop.time() - self._timeout_s)
            if batch:
                task = loop.create_task(self._write(batch))
                self._under_way.add(task)
                task.add_done_callback(self._landed)

    def _take(self, too_old: float) -> list[_Waiting[K, T, V]]:
        """Those that go out now; who has waited too long, or is gone, does not."""
        batch: list[_Waiting[K, T, V]] = []
        while self._first and len(batch) < self._batch_max:
            one = self._first.popleft()
            if one.since <= too_old and not one.written.done():
                one.written.set_exception(Unavailable("The database does not answer in time."))
            if one.written.done():
                self._done_with(one)
            else:
                batch.append(one)
        return batch

    async def _write(self, batch: Sequence[_Waiting[K, T, V]]) -> None:
        try:
            values = await self._write_many([one.item for one in batch])
        except Exception as error:  # handed to everyone who waits
            for one in batch:
                if not one.written.done():
                    one.written.set_exception(error)
        else:
            for one, value in zip(batch, values, strict=True):
                if not one.written.done():
                    one.written.set_result(value)
        finally:
            for one in batch:
                self._done_with(one)

    def _done_with(self, one: _Waiting[K, T, V]) -> None:
        """Its place is free, and the next of its key is the first now."""
        self._free += 1
        behind = self._behind[one.key]
        if behind:
            self._first.append(behind.popleft())
        else:
            del self._behind[one.key]

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._send()
