"""The newest part of the log in memory: who comes back gets what was missed from here."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque

from hlfast.events.cursor import Cursor
from hlfast.events.log import Position
from hlfast.live.event import Event

# What an event and its entries in here hold beside its frames, and each of its targets. Measured by
# bench.bounded.
_EVENT_BYTES = 800
_TARGET_BYTES = 350
# Instead of one that is gone.
_NO_EVENT = Event(0, "", "", 0)


class History:
    """Events in the order of the log, bounded by count, bytes and age.

    It is indexed by whom events concern, so that a resume costs what the client cares about and
    not what happened. Everything after `start` is here, as long as the log's epoch is the same.
    """

    def __init__(self, *, events_max: int, bytes_max: int, age_max_s: float) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._age_max_s = age_max_s
        self._seq = 0
        self.reset(Position("", 0))

    def reset(self, start: Position) -> None:
        """Forget everything: nothing is known of what came before `start`."""
        # As if one event had been missed, for `has_since`.
        self._seq += 1
        self._events: deque[tuple[Event, float]] = deque()
        self._cursors: deque[Cursor] = deque()
        self._bytes = 0
        self._ids: set[str] = set()
        self._by_author: dict[int, _Line] = {}
        self._by_user: dict[int, _Line] = {}
        # The newest event of each post that was changed or deleted since it was written.
        self._changed: dict[int, Event] = {}
        # Where the history begins: an index above any that a batch has.
        self._start = Cursor(start, 1 << 30)
        self._end = self._start

    @property
    def seq(self) -> int:
        """The number of the newest event. They count on over resets, else without gaps."""
        return self._seq

    @property
    def end(self) -> Cursor:
        """The cursor of whoever has seen everything up to now."""
        return self._end

    @property
    def size_bytes(self) -> int:
        """About what all events here hold."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._events)

    def next_seq(self) -> int:
        """The number of the event that is appended next."""
        return self._seq + 1

    def knows(self, event_id: str) -> bool:
        """Whether this event was seen: it is a repeat."""
        return event_id in self._ids

    def append(self, event: Event, cursor: Cursor) -> None:
        """The newest event, numbered `next_seq()`."""
        self._seq = event.seq
        self._end = cursor
        self._events.append((event, time.monotonic()))
        self._cursors.append(cursor)
        self._bytes += _held(event)
        self._ids.add(event.id)
        if event.author:
            _add(self._by_author, event.author, event)
        if event.post and event.changes_post:
            self._changed[event.post] = event
        for user, _ in event.targets:
            _add(self._by_user, user, event)
        self._evict()

    def passed(self, cursor: Cursor) -> None:
        """Nothing else comes up to here: an entry without news of its own."""
        self._end = max(self._end, cursor) if self._end.position.epoch else cursor

    def is_behind(self, cursor: Cursor) -> bool:
        """Whether the cursor is of this log, and from a node that has seen more of it."""
        return cursor.position.epoch == self._end.position.epoch and cursor > self._end

    def seq_at(self, cursor: Cursor) -> int | None:
        """The number of the last event up to a cursor; None if what followed it is not all here."""
        if cursor.position.epoch != self._end.position.epoch or cursor < self._start:
            return None
        if cursor > self._end:
            return None
        return self._seq - len(self._cursors) + bisect_right(self._cursors, cursor)

    def has_since(self, seq: int) -> bool:
        """Whether every event after this number is still here."""
        return seq >= self._seq - len(self._events)

    def of_user(self, user: int, after: int) -> list[Event]:
        """The events that were addressed to a user after an event's number, in order."""
        return _between(self._by_user.get(user), after, None)

    def of_author(self, author: int, after: int, up_to: int | None = None) -> list[Event]:
        """The events that went to an author's friends after an event's number, in order."""
        return _between(self._by_author.get(author), after, up_to)

    def frame_now(self, event: Event, user: int) -> bytes | None:
        """The frame of an event as one of those that it concerns may see it now.

        A post has its newest text; None when the post is gone.
        """
        newest = self._changed.get(event.post)
        if newest is None or newest is event:
            return event.frame_for(user)
        if not newest.shows_text:
            return None
        if event.text_seq != newest.seq:
            # For the others who come back.
            event.frame, event.text_seq = event.with_text_of(newest), newest.seq
            self._bytes += len(event.frame) - event.size_bytes
            event.size_bytes = len(event.frame)
        return event.frame

    def _evict(self) -> None:
        oldest_at = time.monotonic() - self._age_max_s
        while self._events and (
            len(self._events) > self._events_max
            or self._bytes > self._bytes_max
            or self._events[0][1] < oldest_at
        ):
            event, _ = self._events.popleft()
            self._start = self._cursors.popleft()
            self._bytes -= _held(event)
            self._ids.discard(event.id)
            if event.author:
                _drop_oldest(self._by_author, event.author)
            if event.post and self._changed.get(event.post) is event:
                del self._changed[event.post]
            for user, _frame in event.targets:
                _drop_oldest(self._by_user, user)


def _seq(event: Event) -> int:
    return event.seq


def _held(event: Event) -> int:
    """Bytes of memory that an event takes, about."""
    return _EVENT_BYTES + event.size_bytes + _TARGET_BYTES * len(event.targets)


class _Line(list[Event]):
    """Events of one author or user in order, of which the first `gone` are here no longer.

    A list because a deque of one event would take 600 bytes, and is not searched by halves. What
    is gone is cut off when it is half of it: each event is moved once, however many there are.
    """

    __slots__ = ("gone",)

    def __init__(self, first: Event) -> None:
        super().__init__((first,))
        self.gone = 0

    def drop_oldest(self) -> bool:
        """Drop the oldest event; whether none is left."""
        self[self.gone] = _NO_EVENT
        self.gone += 1
        if self.gone * 2 >= len(self):
            del self[: self.gone]
            self.gone = 0
        return not self


def _between(events: _Line | None, after: int, up_to: int | None) -> list[Event]:
    # Mostly there is nothing new.
    if not events or events[-1].seq <= after:
        return []
    start = bisect_right(events, after, events.gone, key=_seq)
    end = len(events) if up_to is None else bisect_right(events, up_to, events.gone, key=_seq)
    return list(events[start:end])


def _add(index: dict[int, _Line], key: int, event: Event) -> None:
    line = index.get(key)
    if line is None:
        index[key] = _Line(event)
    else:
        line.append(event)


def _drop_oldest(index: dict[int, _Line], key: int) -> None:
    if index[key].drop_oldest():
        del index[key]
