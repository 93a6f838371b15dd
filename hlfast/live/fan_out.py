"""From an entry of the log to the sockets whom its events concern, in few writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from hlfast.errors import Malformed
from hlfast.events.cursor import Cursor
from hlfast.events.log import Entry
from hlfast.events.publisher import read_batch
from hlfast.live.event import Event, Friendship, read
from hlfast.live.frame_table import Frames
from hlfast.live.history import History
from hlfast.live.metrics import Counts, Delivery
from hlfast.live.subscriptions import Subscriber, Subscriptions
from hlfast.logs import TRACED, named
from hlfast.trace import CURRENT, of_event
from hlfast.websocket.write_queue import WriteQueue

logger = logging.getLogger(__name__)

# Frames queued before others have their turn: a few milliseconds.
_SLICE = 1000
# To read an event costs about as much as to queue so many frames.
_READ_WEIGHS = 5


class FanOut:
    """Reads entries and queues their frames: those of one entry are one write to each socket.

    `introduce` tells two new friends whether the other one is online. Without `joins_events` each
    event is queued by itself, and written in the loop turn in which it is.
    """

    def __init__(
        self,
        writes: WriteQueue,
        history: History,
        subscriptions: Subscriptions,
        frames: Frames,
        counts: Counts,
        introduce: Callable[[Friendship], None],
        *,
        joins_events: bool,
    ) -> None:
        self._writes = writes
        self._history = history
        self._subscriptions = subscriptions
        self._frames = frames
        self._counts = counts
        self._introduce = introduce
        self._joins_events = joins_events
        # Frames since others had their turn.
        self._queued = 0

    async def take(self, entry: Entry) -> None:
        """Tell the sockets here of an entry's events, and keep these in the history."""
        try:
            since, bodies = read_batch(entry.batch)
        except (Malformed, KeyError, TypeError, ValueError):
            logger.error("An entry of the log is none of ours: it is passed over")
            self._counts.events["unreadable"] += 1
            since, bodies = 0.0, []
        concerns_us = False
        # Posts of one author that follow each other, not delivered yet.
        posts: list[Event] = []
        if self._joins_events:
            self._writes.hold()
        for index, body in enumerate(bodies):
            event = self._read(body, Cursor(entry.position, index))
            if event is None:
                continue
            if posts and not (self._joins_events and posts[0].author == event.author):
                concerns_us |= await self._deliver_posts(posts)
            if event.author:
                posts.append(event)
            else:
                concerns_us |= self._deliver(event)
            self._queued += _READ_WEIGHS
            if self._queued >= _SLICE:
                # Whoever enters meanwhile is replayed what is in the history.
                concerns_us |= await self._deliver_posts(posts)
                await self._give_way()
        concerns_us |= await self._deliver_posts(posts)
        self._writes.release()
        if concerns_us:
            self._writes.add(Delivery(since, self._counts.lag))

    def _read(self, body: Any, cursor: Cursor) -> Event | None:
        """An event of the log, which is in the history now; None if it goes to nobody."""
        try:
            event = read(body, self._history.next_seq(), cursor.text(), self._frames)
        except (KeyError, TypeError, ValueError):
            logger.error("An entry of the log holds no event of ours: it is passed over")
            self._counts.events["unreadable"] += 1
            self._history.passed(cursor)
            return None
        if self._history.knows(event.id):
            self._counts.events["repeated"] += 1
            self._history.passed(cursor)
            return None
        self._history.append(event, cursor)
        self._counts.events["new"] += 1
        if (traced := of_event(body)) is not None:
            CURRENT.set(traced)
            TRACED.info("event", extra=named(event_id=event.id, type=body["type"]))
            CURRENT.set(None)
        return event

    def _deliver(self, event: Event) -> bool:
        """Tell those whom an event names; whether one of them is here."""
        concerns_us = False
        for user_id, event_frame in event.targets:
            subscriber = self._subscriptions.get(user_id)
            if subscriber is not None:
                _queue((subscriber,), event_frame, 1, event.seq)
                concerns_us = True
        if event.friendship is not None:
            self._subscriptions.apply(event.friendship)
            if event.friendship.are_friends:
                self._introduce(event.friendship)
        return concerns_us

    async def _deliver_posts(self, posts: list[Event]) -> bool:
        """Tell an author's friends of posts that follow each other; whether one of them is here.

        The frames are joined once for all of them. The list is empty afterwards.
        """
        if not posts:
            return False
        subscribers = self._subscriptions.of(posts[0].author)
        frames, count = b"".join([post.frame for post in posts]), len(posts)
        newest = posts[-1].seq
        posts.clear()
        for start in range(0, len(subscribers), _SLICE):
            some = subscribers[start : start + _SLICE]
            _queue(some, frames, count, newest)
            self._queued += len(some)
            await self._give_way()
        return bool(subscribers)

    async def _give_way(self) -> None:
        """Others have their turn after so many frames, of one event or of many."""
        if self._queued >= _SLICE:
            self._queued = 0
            await asyncio.sleep(0)


def _queue(subscribers: Iterable[Subscriber], frames: bytes, count: int, newest: int) -> None:
    """Queue the frames of so many events, of which either all or none is new to a socket."""
    for subscriber in subscribers:
        for socket in subscriber.sockets:
            if socket.after_seq < newest:
                socket.queue(frames, count)
