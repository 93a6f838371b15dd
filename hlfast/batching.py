"""Concurrent reads, writes and sends share statements and messages: one Batcher, and its uses."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hlfast.errors import Unavailable

B = TypeVar("B")
K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")


@dataclass(slots=True)
class BatchLimits:
    """How many items one batch holds at most, and how many batches are under way at once.

    Whoever shares an object of it follows its changes, and counts in it the batches that were sent
    and the items in them.
    """

    batch_max: int
    batches_max: int
    batches: int = 0
    items: int = 0

    def change(self, other: BatchLimits) -> None:
        """Bound by what another one is bound by, from the next batch on."""
        self.batch_max, self.batches_max = other.batch_max, other.batches_max


UNBATCHED = BatchLimits(1, sys.maxsize)


class Batcher(Generic[B]):
    """Sends batches at the end of the event loop's turn, and whenever a batch under way has landed.

    `take` returns the next batch of the items that wait, or None if no item waits. `send` must not
    raise. Of `limits` it keeps to the number of batches under way at once; `take` sees to the rest.
    """

    def __init__(
        self,
        take: Callable[[], B | None],
        send: Callable[[B], Coroutine[Any, Any, None]],
        limits: BatchLimits,
    ) -> None:
        self._take = take
        self._send = send
        self._limits = limits
        self._turn_ends = False
        # In the order in which they were sent. The loop holds tasks weakly: without this one could
        # vanish under way.
        self.under_way: dict[asyncio.Task[None], B] = {}

    def ready(self) -> None:
        """Send the items that wait when the turn ends, if one more batch is allowed then."""
        if not self._turn_ends and len(self.under_way) < self._limits.batches_max:
            self._turn_ends = True
            asyncio.get_running_loop().call_soon(self.send_now)

    def send_now(self) -> None:
        """Send the items that wait, as far as batches may be under way."""
        self._turn_ends = False
        while len(self.under_way) < self._limits.batches_max:
            batch = self._take()
            if batch is None:
                return
            self._limits.batches += 1
            task = asyncio.get_running_loop().create_task(self._send(batch))
            self.under_way[task] = batch
            task.add_done_callback(self._landed)

    async def drain(self) -> None:
        """Send every item that waits, and wait until the last batch has landed."""
        self.send_now()
        while self.under_way:
            await asyncio.wait(self.under_way)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self.under_way[task]
        self.send_now()


class BatchReader(Generic[K, V]):
    """Joins the single reads that wait in one turn of the event loop, or while batches are read.

    `read_many` takes distinct keys and returns the values that were found, by key. A read joins
    only a batch that was not sent yet, so it sees every write that was acknowledged before the
    read was asked. A caller that gives up disturbs no other caller; a failure reaches every caller
    of its batch.
    """

    def __init__(
        self,
        read_many: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        limits: BatchLimits,
    ) -> None:
        self._read_many = read_many
        self._limits = limits
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._batcher = Batcher(self._take, self._read, limits)

    def get(self, key: K) -> asyncio.Future[V | None]:
        """The value, or None where there is none. Raises what `read_many` raised.

        Not a coroutine of its own: every one of them costs each request.
        """
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting
        if not waiting:
            self._batcher.ready()
        futures = waiting.get(key)
        if futures is None:
            waiting[key] = [future]
        else:
            futures.append(future)
        if len(waiting) >= self._limits.batch_max:
            self._batcher.send_now()
        return future

    async def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """One value for each key, in their order."""
        return list(await asyncio.gather(*map(self.get, keys)))

    def _take(self) -> dict[K, list[asyncio.Future[V | None]]] | None:
        waiting = self._waiting
        if not waiting:
            return None
        if len(waiting) <= self._limits.batch_max:
            self._waiting = {}
            return waiting
        return {key: waiting.pop(key) for key in list(waiting)[: self._limits.batch_max]}

    async def _read(self, waiting: dict[K, list[asyncio.Future[V | None]]]) -> None:
        self._limits.items += len(waiting)
        try:
            found = await self._read_many(list(waiting))
        except Exception as error:  # handed to every caller that waits
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


@dataclass(slots=True)
class _Write(Generic[K, T, V]):
    key: K
    item: T
    written: asyncio.Future[V]
    since: float  # in the loop's time


class BatchWriter(Generic[K, T, V]):
    """Joins the writes that wait in one turn of the event loop, or while batches are written.

    `write_many` writes a batch, all or nothing, and returns one value for each item in their order.
    No two items of one key are under way at once, in one batch or in two: they go one after the
    other, as they came, so that a batch needs no order within and waits for no other batch of this
    process. A caller that gives up disturbs no other caller, and its own item is written all the
    same unless it has not gone out yet; a failure reaches every caller of its batch.
    """

    def __init__(
        self,
        write_many: Callable[[Sequence[T]], Awaitable[Sequence[V]]],
        limits: BatchLimits,
        *,
        waiting_max: int,
        timeout_s: float,
    ) -> None:
        self._write_many = write_many
        self._limits = limits
        self._free = waiting_max
        self._timeout_s = timeout_s
        # The first item of each key, and behind it, for each key that waits or is under way, the
        # other items.
        self._first: deque[_Write[K, T, V]] = deque()
        self._behind: dict[K, deque[_Write[K, T, V]] | None] = {}
        self._batcher = Batcher(self._take, self._write, limits)

    def write(self, key: K, item: T) -> asyncio.Future[V]:
        """The value that `write_many` returned for the item. Raises what it raised.

        Raises errors.Unavailable when too many items wait, and after `timeout_s` of waiting, which
        ends when a batch does: it takes no timer. Not a coroutine of its own: every one of them
        costs each request.
        """
        if self._free <= 0:
            raise Unavailable("Too many requests are waiting for the database.")
        loop = asyncio.get_running_loop()
        written: asyncio.Future[V] = loop.create_future()
        one = _Write(key, item, written, loop.time())
        self._free -= 1
        behind = self._behind
        if key not in behind:
            # Mostly nothing comes behind it.
            behind[key] = None
            self._first.append(one)
            self._batcher.ready()
        elif (others := behind[key]) is not None:
            others.append(one)
        else:
            behind[key] = deque([one])
        return written

    def _take(self) -> list[_Write[K, T, V]] | None:
        """The items that go out now: none that has waited too long, or whose caller is gone."""
        batch: list[_Write[K, T, V]] = []
        too_old = asyncio.get_running_loop().time() - self._timeout_s
        while self._first and len(batch) < self._limits.batch_max:
            one = self._first.popleft()
            if one.since <= too_old and not one.written.done():
                one.written.set_exception(Unavailable("The database does not answer in time."))
            if one.written.done():
                self._done_with(one)
            else:
                batch.append(one)
        return batch or None

    async def _write(self, batch: Sequence[_Write[K, T, V]]) -> None:
        self._limits.items += len(batch)
        try:
            values = await self._write_many([one.item for one in batch])
        except Exception as error:  # handed to every caller that waits
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

    def _done_with(self, one: _Write[K, T, V]) -> None:
        """Forget the item; the next item of its key is the key's first now."""
        self._free += 1
        behind = self._behind[one.key]
        if behind:
            self._first.append(behind.popleft())
        else:
            del self._behind[one.key]


class BatchSender(Generic[T]):
    """Sends items in order, one batch at a time; no caller waits for them.

    `send` must not raise. Beyond `waiting_max` waiting items the oldest one is dropped.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Coroutine[Any, Any, None]],
        *,
        batch_max: int,
        waiting_max: int | None = None,
    ) -> None:
        self._batch_max = batch_max
        self._waiting: deque[T] = deque(maxlen=waiting_max)
        self._batcher: Batcher[Sequence[T]] = Batcher(self._take, send, BatchLimits(batch_max, 1))

    def put(self, item: T) -> None:
        """Hand an item in. Never waits."""
        self._waiting.append(item)
        self._batcher.ready()

    async def close(self) -> None:
        """Wait until every item was sent."""
        await self._batcher.drain()

    def _take(self) -> Sequence[T] | None:
        count = min(len(self._waiting), self._batch_max)
        return [self._waiting.popleft() for _ in range(count)] or None
