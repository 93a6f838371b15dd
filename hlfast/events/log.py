"""What an event log is, whichever server keeps it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol


class Position(NamedTuple):
    """A position in the log. Positions of one epoch are ordered as the entries are.

    `epoch`, 1 to 32 of `[A-Za-z0-9_-]`, names one life of the log: one that was lost and made
    anew has another. Offsets only grow, not necessarily by one.
    """

    epoch: str
    offset: int


class Entry(NamedTuple):
    """One published batch, and where it lies."""

    position: Position
    batch: bytes


class Reset(NamedTuple):
    """Nothing is known of what came before `position`: following starts just after it.

    The first item of one who follows from now. Later: the log was lost and made anew, or the
    entries wanted are no longer there; what was known from it is void.
    """

    position: Position


class EventLog(Protocol):
    """Publish and follow. Used from one event loop; connections are opened when first needed."""

    # Entries under way at once, beyond which more of them bring nothing: fewer and longer ones do.
    entries_at_once_max: int

    async def publish(self, batch: bytes) -> None:
        """Append an entry; it is there, and survives the server's death, when this returns.

        Any number may be under way at once; they are appended in the order of the calls. Raises
        Unavailable within `events_timeout_s`: the entry may be there or not, or yet come. Whoever
        needs order then cancels the calls made after it, which are not sent if they were not yet.
        """
        ...

    def follow(self, after: Position | None) -> AsyncGenerator[Entry | Reset, None]:
        """Every entry after a position, in order, each once; from now on, after a Reset, if None.

        Does not end and does not raise: it outlasts a lost connection or server, continuing where
        it was, and yields a Reset if that is impossible. Close it (`aclosing`) when done with it.
        """
        ...

    async def end(self) -> Position:
        """The position of the newest entry. Raises Unavailable within `events_timeout_s`."""
        ...

    def broadcast(self, data: bytes) -> None:
        """Send to whoever listens now: not stored, not confirmed, dropped if it cannot be sent."""
        ...

    def listen(self) -> AsyncGenerator[bytes, None]:
        """What is broadcast from now on, by anybody, oneself included; does not end or raise.

        Close it (`aclosing`) when done with it.
        """
        ...

    async def close(self) -> None:
        """Close what publishes; those who follow or listen close their own."""
        ...
