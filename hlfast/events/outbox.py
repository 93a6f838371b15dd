"""The outbox: each committed change becomes an event of the log, in order."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from hlfast.batching import BatchSender
from hlfast.db.database import Database, Row
from hlfast.errors import Unavailable
from hlfast.events.merging import Merging
from hlfast.events.outbox_row import VOID, OutboxRow
from hlfast.events.publisher import Publisher
from hlfast.trace import handed_on

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.5
# What another process has not published and deleted by then is published by whoever waits for it,
# too: that costs a repeat, and to wait for one process after the other costs many times as much.
_HELP_AFTER_S = 0.03
_LOOKS_AT_ONCE_MAX = 4
_LOOK_FOR_STUCK_EVERY_S = 2.0
_PUBLISHED_AT_ONCE_MAX = 512
_DELETED_AT_ONCE_MAX = 512
_LATELY_MAX = 2048


@dataclass(frozen=True, slots=True)
class Rows:
    """How one outbox is reached. All raise errors.Unavailable."""

    # Delete rows, given as keys and ids.
    delete: Callable[[Sequence[int], Sequence[int]], Awaitable[Any]]
    # Of a key, what is still there up to an id, and what is published before any of that; the
    # oldest first, no more than so many.
    up_to: Callable[[int, int, int], Awaitable[Sequence[OutboxRow]]]
    # Rows older than so many seconds, the oldest first, no more than so many.
    left: Callable[[float, int], Awaitable[Sequence[OutboxRow]]]


def outbox_rows(
    database: Database,
    *,
    delete: str,
    up_to: str,
    left: Callable[[float, int], Awaitable[Sequence[Row]]],
    outbox_row: Callable[[Row], OutboxRow | None],
) -> Rows:
    """The rows of a table, reached by these statements; `outbox_row` makes an event of one, or
    None of one that it does not know."""

    async def rows_up_to(key: int, last: int, limit: int) -> Sequence[OutboxRow]:
        found = await database.fetch(up_to, key, last, limit)
        return [row for row in map(outbox_row, found) if row is not None]

    async def rows_left(older_than_s: float, limit: int) -> Sequence[OutboxRow]:
        found = await left(older_than_s, limit)
        return [row for row in map(outbox_row, found) if row is not None]

    return Rows(partial(database.fetch, delete), rows_up_to, rows_left)


class _Waiting(NamedTuple):
    """An event that waits for others, and since when, in the loop's time."""

    row: OutboxRow
    since: float


class Outbox:
    """Publishes what this process committed, and deletes the rows once that is confirmed.

    An event waits a moment for those before it that another process has yet to publish, and then
    all of them are published here, in their order. The other process publishes them, too: readers
    drop repeats by the event's id, and of those that count none comes before its forerunner. What
    cannot be published stays where it is, for `sweep` of whoever does that.

    Of events that merge, no more than `merged_max` of one kind are published in a window of time;
    then only the latest, at the window's end.
    """

    def __init__(
        self,
        rows: Rows,
        publisher: Publisher,
        *,
        waiting_max: int,
        patience_s: float,
        stuck_after_s: float,
        merged_max: int,
        merge_window_s: float,
    ) -> None:
        self._rows = rows
        self._publisher = publisher
        self._waiting_free = waiting_max
        self._patience_s = patience_s
        # Published by this process, their rows not deleted yet, with the number of the attempt.
        self._published: dict[tuple[int, int], int] = {}
        self._attempts = count()
        # The latest of those that were deleted, and the latest before them: who read the outbox
        # before that waits for them.
        self._lately: set[tuple[int, int]] = set()
        self._before: set[tuple[int, int]] = set()
        # Those that wait for others, by key and id.
        self._waiting: dict[int, dict[int, _Waiting]] = {}
        self._looking = asyncio.Semaphore(_LOOKS_AT_ONCE_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._merging = Merging(self._in_turn, merged_max, merge_window_s)
        self._stuck_after_s = stuck_after_s
        self._are_stuck = False
        self._look_due = 0.0
        # Since the start: how often this process swept, and how many rows it found.
        self.sweeps = 0
        self.swept = 0
        self._deleting: BatchSender[tuple[int, int]] = BatchSender(
            self._delete, batch_max=_DELETED_AT_ONCE_MAX
        )

    @property
    def unconfirmed(self) -> int:
        """Events that its publisher has not got into the log yet, another outbox's included."""
        return self._publisher.unconfirmed

    @property
    def log_fails(self) -> int:
        """1 if the log did not take what this process published last, else 0."""
        return int(bool(self._publisher.trouble))

    async def is_well(self, *, now: bool) -> bool:
        """Whether the log takes events, and none of any process stays behind. Takes 1 s or so.

        As of now, or of a moment ago.
        """
        takes_events, _ = await asyncio.gather(
            self._publisher.takes_events(now=now), self._look_for_stuck()
        )
        return takes_events and not self._are_stuck

    async def _look_for_stuck(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._look_due:
            return
        self._look_due = now + _LOOK_FOR_STUCK_EVERY_S
        # Whether the database answers is another question.
        with suppress(Unavailable):
            self._are_stuck = bool(await self._rows.left(self._stuck_after_s, 1))

    def committed(self, row: OutboxRow) -> None:
        """Publish the events of a row that was committed, soon. Never waits and never fails."""
        event = handed_on(row.event)
        if event is not row.event:
            row = row._replace(event=event)
        if row.merges is not None or self._merging.held:
            for instead in self._merging.superseded_by(row):
                # No reader has seen it, and none is going to.
                self._publish(instead._replace(event={"id": instead.event["id"], "type": VOID}))
            if self._merging.holds(row):
                return
        self._in_turn(row)

    async def sweep(self, older_than_s: float, limit: int) -> int:
        """Publish and delete what a dead process, or a lost log, left; how many there were.

        How late their events come is measured from now on: when they were committed is not known.

        Raises errors.Unavailable; what was published by then may be published again.
        """
        self.sweeps += 1
        left = await self._rows.left(older_than_s, limit)
        if left:
            await asyncio.gather(*(self._publisher.submit(row.event) for row in left))
            await self._rows.delete([row.key for row in left], [row.id for row in left])
            self.swept += len(left)
        return len(left)

    async def close(self) -> None:
        """Wait for what is under way; what waits for others stays for the sweep."""
        self._merging.close()
        for task in self._tasks:
            task.cancel()
        await self._publisher.close()
        # The rows of what has just been confirmed.
        await self._deleting.close()

    def _in_turn(self, row: OutboxRow) -> None:
        """Publish it now if all that it must follow is published, else when it is."""
        if not row.after or all(map(self._is_published, row.after)):
            self._publish(row)
        elif self._waiting_free > 0:
            loop = asyncio.get_running_loop()
            waiting = self._waiting.get(row.key)
            if waiting is None:
                waiting = self._waiting[row.key] = {}
                task = loop.create_task(self._take_turns(row.key, waiting))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            waiting[row.id] = _Waiting(row, loop.time())
            self._waiting_free -= 1

    def _is_published(self, identity: tuple[int, int]) -> bool:
        """Before whatever is published next: it is confirmed, or under way and not failed yet."""
        return identity in self._published or identity in self._lately or identity in self._before

    def _publish(self, row: OutboxRow) -> bool:
        """Whether it is under way now."""
        identity, attempt = row.identity, next(self._attempts)
        try:
            self._publisher.put(row.event, partial(self._landed, identity, attempt))
        except Unavailable:
            return False
        self._published[identity] = attempt
        return True

    def _landed(self, identity: tuple[int, int], attempt: int, failure: Exception | None) -> None:
        if failure is None:
            self._deleting.put(identity)
        elif self._published.get(identity) == attempt:
            del self._published[identity]

    async def _take_turns(self, key: int, waiting: dict[int, _Waiting]) -> None:
        """Publish a key's events that wait, until none does."""
        loop = asyncio.get_running_loop()
        pause_s = 0.0
        try:
            while waiting:
                # By chance, so that of processes that wait for each other one comes first.
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                if not waiting:
                    # The turn of another key's came, and these were before it.
                    return
                newest = max(waiting)
                helps = loop.time() - self._oldest(waiting) >= _HELP_AFTER_S
                pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                if not self._publisher.is_well:
                    self._give_up(waiting)
                    continue
                try:
                    async with self._looking:
                        left = await self._rows.up_to(key, newest, _PUBLISHED_AT_ONCE_MAX)
                except Unavailable:
                    self._give_up(waiting)
                    continue
                if self._publish_left(key, waiting, newest, left, helps=helps):
                    pause_s = _FIRST_PAUSE_S
                else:
                    self._give_up(waiting)
        finally:
            del self._waiting[key]
            self._waiting_free += len(waiting)

    def _publish_left(
        self,
        key: int,
        waiting: dict[int, _Waiting],
        newest: int,
        left: Sequence[OutboxRow],
        *,
        helps: bool,
    ) -> bool:
        """Publish what is left, in its order; of other processes' only to help. Whether any was."""
        found = False
        for row in left:
            if self._is_published(row.identity):
                continue
            mine = self._waiting.get(row.key, {}).get(row.id)
            if mine is None and not helps:
                return found
            if not self._publish(mine.row if mine is not None else row):
                return found
            found = True
            if mine is not None:
                self._done_with(row.key, row.id)
        # Of these there is no row any more: others have published them.
        known_to = newest if len(left) < _PUBLISHED_AT_ONCE_MAX else left[-1].id
        there = {row.identity for row in left}
        for gone in [one for one in waiting if one <= known_to and (key, one) not in there]:
            self._done_with(key, gone)
            found = True
        return found

    def _done_with(self, key: int, event_id: int) -> None:
        del self._waiting[key][event_id]
        self._waiting_free += 1

    def _give_up(self, waiting: dict[int, _Waiting]) -> None:
        """The sweep takes those that have waited too long, in order."""
        too_old = asyncio.get_running_loop().time() - self._patience_s
        for event_id in [one for one, event in waiting.items() if event.since <= too_old]:
            del waiting[event_id]
            self._waiting_free += 1

    @staticmethod
    def _oldest(waiting: Mapping[int, _Waiting]) -> float:
        """Since when the first has waited: they came one after the other."""
        return next(iter(waiting.values())).since

    async def _delete(self, rows: Sequence[tuple[int, int]]) -> None:
        try:
            await self._rows.delete([key for key, _ in rows], [event_id for _, event_id in rows])
        except Unavailable:
            if len(rows) > 1:
                # Of a cluster one node may be away: the rows of the others do not wait for it.
                await asyncio.gather(*(self._delete([identity]) for identity in rows))
                return
            # The sweep publishes them again; a repeat bears the same id and is dropped.
            logger.warning("%d events stay in the outbox: the database does not answer", len(rows))
        for identity in rows:
            if self._published.pop(identity, None) is not None:
                self._lately.add(identity)
        if len(self._lately) >= _LATELY_MAX:
            self._before, self._lately = self._lately, set()
