"""Committed means it will be an event: from the outbox into the log, in order, and swept."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from hlfast.batching import BatchSender
from hlfast.db.database import Database, Row
from hlfast.errors import Unavailable
from hlfast.events.publisher import Publisher
from hlfast.trace import handed_on

logger = logging.getLogger(__name__)

# The type of an event of which there is nothing to tell any more. It is published all the same: by
# its id readers know a late one of a process that had been given up, and pass it over.
VOID = "void"

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


class OutboxRow(NamedTuple):
    """A row of an outbox and the event that it stands for.

    `key` is what events are in order of: the author, or the dialog. `after`: rows, as keys and
    ids, that were still there when this one was written and must be told of first. `merges`: what
    a later event of the same may be told instead of, if it is one of many in a short time.
    """

    key: int
    id: int
    after: Sequence[tuple[int, int]]
    event: Mapping[str, Any]
    merges: Hashable = None

    @property
    def row(self) -> tuple[int, int]:
        """The row, as key and id."""
        return self.key, self.id


def rows_before(row: Row) -> Sequence[tuple[int, int]]:
    """`OutboxRow.after` from the columns `after_users` and `after_ids`."""
    return tuple(zip(row["after_users"] or (), row["after_ids"] or (), strict=True))


@dataclass(frozen=True, slots=True)
class Rows:
    """How one outbox is reached. All raise errors.Unavailable."""

    # Delete rows, given as keys and ids.
    delete: Callable[[Sequence[int], Sequence[int]], Awaitable[Any]]
    # Of a key, what is still there up to an id, and whatever must be told before any of that; the
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
    outbox_row: Callable[[Row], OutboxRow],
) -> Rows:
    """The rows of a table, reached by these statements; `outbox_row` makes an event of one."""

    async def rows_up_to(key: int, last: int, limit: int) -> Sequence[OutboxRow]:
        return [outbox_row(row) for row in await database.fetch(up_to, key, last, limit)]

    async def rows_left(older_than_s: float, limit: int) -> Sequence[OutboxRow]:
        return [outbox_row(row) for row in await left(older_than_s, limit)]

    return Rows(partial(database.fetch, delete), rows_up_to, rows_left)


class _Waiting(NamedTuple):
    """An event that waits for others, and since when, in the loop's time."""

    told: OutboxRow
    since: float


class Outbox:
    """Publishes what this process committed, and deletes the rows once that is confirmed.

    An event waits a moment for those before it that another process has yet to publish, and then
    all of them are published here, in their order. The other process publishes them, too: readers
    drop repeats by the event's id, and of those that count none comes before its forerunner. What
    cannot be published stays where it is, for `sweep` of whoever does that.

    Of events that `merges` says so of, no more than `merged_max` of one kind are told in a window
    of time; then only the latest, at the window's end.
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
        # Published by this process, their rows not deleted yet.
        self._published: dict[tuple[int, int], asyncio.Future[None]] = {}
        # The latest of those that were deleted, and the latest before them: who read the outbox
        # before that waits for them.
        self._lately: set[tuple[int, int]] = set()
        self._before: set[tuple[int, int]] = set()
        # Those that wait for others, by key and id.
        self._waiting: dict[int, dict[int, _Waiting]] = {}
        self._looking = asyncio.Semaphore(_LOOKS_AT_ONCE_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._merging = _Merging(self._in_turn, merged_max, merge_window_s)
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

    def committed(self, told: OutboxRow) -> None:
        """It is committed: publish it soon. Never waits and never fails."""
        event = handed_on(told.event)
        if event is not told.event:
            told = told._replace(event=event)
        if told.merges is not None or self._merging.held:
            for instead in self._merging.superseded_by(told):
                # Nobody was told of it, and nobody is going to be.
                self._publish(instead._replace(event={"id": instead.event["id"], "type": VOID}))
            if self._merging.holds(told):
                return
        self._in_turn(told)

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
        self._merging.close()
        for task in self._tasks:
            task.cancel()
        await self._publisher.close()
        # The rows of what has just been confirmed.
        await self._deleting.close()

    def _in_turn(self, told: OutboxRow) -> None:
        """Publish it now if all that it must follow is published, else when it is."""
        if not told.after or all(map(self._is_published, told.after)):
            self._publish(told)
        elif self._waiting_free > 0:
            loop = asyncio.get_running_loop()
            waiting = self._waiting.get(told.key)
            if waiting is None:
                waiting = self._waiting[told.key] = {}
                task = loop.create_task(self._take_turns(told.key, waiting))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            waiting[told.id] = _Waiting(told, loop.time())
            self._waiting_free -= 1

    def _is_published(self, row: tuple[int, int]) -> bool:
        """Before whatever is published next: it is confirmed, or under way and not failed yet."""
        confirmed = self._published.get(row)
        if confirmed is None:
            return row in self._lately or row in self._before
        return not (
            confirmed.done() and (confirmed.cancelled() or confirmed.exception() is not None)
        )

    def _publish(self, told: OutboxRow) -> bool:
        """Whether it is under way now."""
        try:
            confirmed = self._publisher.submit(told.event)
        except Unavailable:
            return False
        row = (told.key, told.id)
        self._published[row] = confirmed

        def landed(done: asyncio.Future[None]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._deleting.put(row)
            elif self._published.get(row) is done:
                del self._published[row]

        confirmed.add_done_callback(landed)
        return True

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
        for told in left:
            if self._is_published(told.row):
                continue
            mine = self._waiting.get(told.key, {}).get(told.id)
            if mine is None and not helps:
                return found
            if not self._publish(mine.told if mine is not None else told):
                return found
            found = True
            if mine is not None:
                self._done_with(told.key, told.id)
        # Of these there is no row any more: others have published them.
        known_to = newest if len(left) < _PUBLISHED_AT_ONCE_MAX else left[-1].id
        there = {told.row for told in left}
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
            await self._rows.delete([key for key, _ in rows], [row for _, row in rows])
        except Unavailable:
            if len(rows) > 1:
                # Of a cluster one node may be away: the rows of the others are not kept by it.
                await asyncio.gather(*(self._delete([row]) for row in rows))
                return
            # The sweep publishes them again; a repeat bears the same id and is dropped.
            logger.warning("%d events stay in the outbox: the database does not answer", len(rows))
        for row in rows:
            if self._published.pop(row, None) is not None:
                self._lately.add(row)
        if len(self._lately) >= _LATELY_MAX:
            self._before, self._lately = self._lately, set()


@dataclass(slots=True)
class _Window:
    """Events of one kind in a window of time, and the one that is told at its end."""

    count: int = 1
    held: OutboxRow | None = None


class _Merging:
    """Holds back all but the first events of a kind in a window of time, and of those all but one.

    A held event's row stays in the outbox: if this process dies, the sweep tells of it.
    """

    def __init__(self, tell: Callable[[OutboxRow], None], told_max: int, window_s: float) -> None:
        self._tell = tell
        self._told_max = told_max
        self._window_s = window_s
        # In the order of their ends.
        self._windows: dict[Hashable, _Window] = {}
        # The kinds of those that are held, by their rows.
        self.held: dict[tuple[int, int], Hashable] = {}

    def superseded_by(self, told: OutboxRow) -> Sequence[OutboxRow]:
        """Those held that need not be told any more, because of this one."""
        kinds = {told.merges} | {self.held.get(row) for row in told.after} if self.held else ()
        found = []
        for kind in kinds:
            window = self._windows.get(kind)
            if kind is not None and window is not None and window.held is not None:
                found.append(window.held)
                del self.held[window.held.row]
                window.held = None
        return found

    def holds(self, told: OutboxRow) -> bool:
        """Whether it is told later, if at all."""
        kind = told.merges
        if kind is None:
            return False
        window = self._windows.get(kind)
        if window is None:
            self._open(kind, _Window())
            return False
        if window.count < self._told_max:
            window.count += 1
            return False
        window.held = told
        self.held[told.row] = kind
        return True

    def close(self) -> None:
        """Tell of everything that is held."""
        for kind in list(self._windows):
            self._end(kind)

    def _open(self, kind: Hashable, window: _Window) -> None:
        self._windows[kind] = window
        asyncio.get_running_loop().call_later(self._window_s, self._end, kind)

    def _end(self, kind: Hashable) -> None:
        window = self._windows.pop(kind, None)
        if window is None or window.held is None:
            return
        del self.held[window.held.row]
        # Whoever goes on so is told of once a window.
        self._open(kind, _Window(self._told_max))
        self._tell(window.held)
