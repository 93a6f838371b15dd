"""Committed means it will be an event: from the outbox into the log, in order, and swept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from hlfast.db.batching import BatchReader
from hlfast.db.database import Database, Row
from hlfast.errors import Unavailable
from hlfast.events.batching import BatchPublisher
from hlfast.events.joining import JoiningSender
from hlfast.trace import handed_on

logger = logging.getLogger(__name__)

# The type of an event of which there is nothing to tell any more. It is published all the same: by
# its id readers know a late one of a process that had been given up, and pass it over.
VOID = "void"

_FIRST_LOOK_S = 0.005
_LONGEST_PAUSE_S = 0.5
_DELETED_AT_ONCE_MAX = 512
_LOOKED_FOR_AT_ONCE_MAX = 512


class Told(NamedTuple):
    """A row of an outbox and the event that it stands for.

    `key` is what events are in order of: the author, or the dialog. `after`: rows, as keys and
    ids, that were still there when this one was written and must be told of first.
    """

    key: int
    id: int
    after: Sequence[tuple[int, int]]
    event: Mapping[str, Any]


def rows_before(row: Row) -> Sequence[tuple[int, int]]:
    """`Told.after` from the columns `after_users` and `after_ids`."""
    return tuple(zip(row["after_users"] or (), row["after_ids"] or (), strict=True))


@dataclass(frozen=True, slots=True)
class Rows:
    """How one outbox is reached. All raise errors.Unavailable."""

    # Delete rows, given as keys and ids.
    delete: Callable[[Sequence[int], Sequence[int]], Awaitable[Any]]
    # The row, given as key and id, if it is still there.
    find: Callable[[tuple[int, int]], Awaitable[tuple[int, int] | None]]
    # Rows older than so many seconds, the oldest first, no more than so many.
    left: Callable[[float, int], Awaitable[Sequence[Told]]]


def outbox_rows(
    database: Database, *, delete: str, are_there: str, left: str, told: Callable[[Row], Told]
) -> Rows:
    """The rows of a table, reached by these statements; `told` makes an event of one."""

    async def those_there(rows: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], Any]:
        found = await database.fetch(are_there, *map(list, zip(*rows, strict=True)))
        return {row: row for row in map(tuple, found)}

    async def rows_left(older_than_s: float, limit: int) -> Sequence[Told]:
        return [told(row) for row in await database.fetch(left, older_than_s, limit)]

    # Of a process that has died there may be rows that thousands of events wait for.
    looks: BatchReader[tuple[int, int], tuple[int, int]] = BatchReader(
        those_there, batch_max=_LOOKED_FOR_AT_ONCE_MAX, batches_max=1
    )
    return Rows(partial(database.fetch, delete), looks.get, rows_left)


class Outbox:
    """Publishes what this process committed, and deletes the rows once that is confirmed.

    An event waits for those before it that another process has yet to publish. What cannot be
    published stays where it is, for `sweep` of whoever does that.
    """

    def __init__(
        self, rows: Rows, publisher: BatchPublisher, *, waiting_max: int, patience_s: float
    ) -> None:
        self._rows = rows
        self._publisher = publisher
        self._waiting_max = waiting_max
        self._patience_s = patience_s
        # Published by this process, their rows not deleted yet.
        self._published: dict[tuple[int, int], asyncio.Future[None]] = {}
        # Those that wait for others; set when they do so no longer.
        self._waiting: dict[tuple[int, int], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Since the start: how often this process swept, and how many rows it found.
        self.sweeps = 0
        self.swept = 0
        self._deleting: JoiningSender[tuple[int, int]] = JoiningSender(
            self._delete, joined_max=_DELETED_AT_ONCE_MAX
        )

    @property
    def unconfirmed(self) -> int:
        """Events that its publisher has not got into the log yet, another outbox's included."""
        return self._publisher.unconfirmed

    def committed(self, told: Told) -> None:
        """It is committed: publish it soon. Never waits and never fails."""
        if all(map(self._is_published, told.after)):
            self._publish(told)
        elif len(self._waiting) < self._waiting_max:
            self._waiting[told.key, told.id] = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._publish_in_turn(told))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def sweep(self, older_than_s: float, limit: int) -> int:
        """Publish and delete what a dead process, or a lost log, left; how many there were.

        How late their events come is measured from now on: when they were committed is not known.

        Raises errors.Unavailable; what was published by then may be published again.
        """
        self.sweeps += 1
        left = await self._rows.left(older_than_s, limit)
        if left:
            await asyncio.gather(*(self._publisher.submit(told.event) for told in left))
            await self._rows.delete([told.key for told in left], [told.id for told in left])
            self.swept += len(left)
        return len(left)

    async def close(self) -> None:
        """Wait for what is under way; what waits for others stays for the sweep."""
        for task in self._tasks:
            task.cancel()
        await self._publisher.close()
        # The rows of what has just been confirmed.
        await self._deleting.close()

    def _is_published(self, row: tuple[int, int]) -> bool:
        """Before whatever is published next: it is confirmed, or under way and not failed yet."""
        confirmed = self._published.get(row)
        return confirmed is not None and not (
            confirmed.done() and (confirmed.cancelled() or confirmed.exception() is not None)
        )

    def _publish(self, told: Told) -> None:
        row = (told.key, told.id)
        try:
            confirmed = self._publisher.submit(handed_on(told.event))
        except Unavailable:
            return
        self._published[row] = confirmed

        def landed(done: asyncio.Future[None]) -> None:
            if done.cancelled() or done.exception() is not None:
                del self._published[row]
            else:
                self._deleting.put(row)

        confirmed.add_done_callback(landed)

    async def _publish_in_turn(self, told: Told) -> None:
        until = asyncio.get_running_loop().time() + self._patience_s
        try:
            for row in told.after:
                if not await self._is_published_by(until, row):
                    # The sweep takes them all, in order.
                    return
            self._publish(told)
        finally:
            self._waiting.pop((told.key, told.id)).set()

    async def _is_published_by(self, until: float, row: tuple[int, int]) -> bool:
        """By this process, or by another one: then its row is gone. Look until it is.

        `until` is in the loop's time. It ends no look that is under way: to cancel a statement
        costs its connection, and events give up thousands at a time.
        """
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_LOOK_S
        while not self._is_published(row):
            if row in self._waiting:
                await self._waiting[row].wait()
                continue
            if loop.time() >= until:
                return False
            with suppress(Unavailable):
                if await self._rows.find(row) is None:
                    return True
            await asyncio.sleep(min(pause_s, max(0.0, until - loop.time())))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return True

    async def _delete(self, rows: Sequence[tuple[int, int]]) -> None:
        try:
            await self._rows.delete([key for key, _ in rows], [row for _, row in rows])
        except Unavailable:
            if len(rows) > 1:
                # Of a cluster one node may be away: the rows of the others are not kept by it.
                await asyncio.gather(*(self._delete([row]) for row in rows))
                return
            # The sweep publishes them again; a repeat bears the same id and is dropped.
            logger.warning("%d events stay in the outbox: the database does not answer", len(rows))
        for row in rows:
            del self._published[row]


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
        """Until cancelled."""
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
