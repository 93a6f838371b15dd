"""A bounded pool of database connections, whichever library makes them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from hlfast.errors import Unavailable

logger = logging.getLogger(__name__)

# Overdue statements are looked for so often in the time that one may take.
_LOOKS = 10
# A statement is given so much longer than it may take: the server, which has the limit, too, ends
# it itself, and its connection stays.
_GRACE = 1.1
# Seconds between two lines that say why the database does not answer.
_SAID_AGAIN_S = 1.0
# Seconds in which new connections stay open though they, too, lead to a server that refuses.
_STAYS_S = 1.0


class Connection(Protocol):
    """What the pool does with a connection."""

    def is_closed(self) -> bool:
        """Whether the connection is of no use any more."""

    def terminate(self) -> None:
        """Cut the connection, without a word to the server: whoever waits for it gets an error."""

    async def close(self) -> None:
        """End the connection in the way that the server expects."""


C = TypeVar("C", bound=Connection)


class Slot:
    """A slot of the pool: a connection, or none where it was lost."""

    __slots__ = ("connection", "is_useless", "since")

    def __init__(self) -> None:
        # Never None for whoever took the slot.
        self.connection: Any = None
        # When whoever has it took it, in the loop's time; 0: it is free.
        self.since = 0.0
        # Its connection is cut when it is given back.
        self.is_useless = False


def _nothing() -> None:
    """Stand in for a callback that nobody has set."""


class Pool(Generic[C]):
    """Slots for `size` connections. The one used last is used next: its caches are warm.

    A lost connection is made anew by whoever takes its slot next, so that a database that is
    away is noticed at once by everybody who asks. Nobody has a timer of their own: one timer
    looks at all, and cuts the connection of a statement that takes much too long.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        *,
        size: int,
        waiting_max: int,
        timeout_s: float,
    ) -> None:
        self._connect = connect
        self._slots: list[Slot] = [Slot() for _ in range(size)]
        self._free = self._slots.copy()
        self._waiting: deque[tuple[asyncio.Future[Slot], float]] = deque()
        self._waiting_max = waiting_max
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._look_timer: asyncio.TimerHandle | None = None
        # Whoever had to wait for a connection and got it, and for how long, in seconds.
        self.waits = 0
        self.waited_s = 0.0
        # Called whenever a connection was opened: the server may be another one than before.
        self.renewed: Callable[[], None] = _nothing
        self._silent_until = 0.0
        self._stays_until = 0.0

    @property
    def in_use(self) -> int:
        """The number of connections at work."""
        return len(self._slots) - len(self._free)

    @property
    def queued(self) -> int:
        """The number of those who wait for a connection."""
        return len(self._waiting)

    async def fill(self) -> None:
        """Open every connection that is not; raises what opening one does.

        One after the other: what a library asks of each new one weighs on a server, and all
        processes of a service may start at once.
        """
        for slot in self._slots:
            await self._open(slot)

    async def take(self) -> Slot:
        """A slot with a connection, to be given back.

        Raises errors.Unavailable when too many wait or it takes too long, and what opening a
        connection raises.
        """
        now = self._loop.time()
        if self._free:
            slot = self._free.pop()
        else:
            slot = await self._slot(now)
            now = self._loop.time()
        slot.since = now
        if self._look_timer is None:
            self._look_later()
        if slot.connection is None or slot.connection.is_closed():
            try:
                await self._open(slot)
            except BaseException:
                self.give_back(slot)
                raise
        return slot

    def give_back(self, slot: Slot) -> None:
        """Free a slot, for whoever has waited longest, if anybody has."""
        if slot.is_useless:
            slot.is_useless = False
            if slot.connection is not None:
                slot.connection.terminate()
        while self._waiting:
            future, since = self._waiting.popleft()
            if not future.done():
                self.waits += 1
                self.waited_s += self._loop.time() - since
                future.set_result(slot)
                return
        slot.since = 0.0
        self._free.append(slot)

    def leave(self) -> None:
        """Use no connection any more that there is now: their server is not the one to ask.

        After a failover it may go on answering. Does nothing if that was just done.
        """
        now = self._loop.time()
        if now < self._stays_until:
            return
        self._stays_until = now + _STAYS_S
        for slot in self._slots:
            if slot.since:
                slot.is_useless = True
            elif slot.connection is not None:
                slot.connection.terminate()

    def unavailable(self, error: Exception) -> Unavailable:
        """The error for whoever asked. Its cause is logged, once in a second at most."""
        now = self._loop.time()
        if now >= self._silent_until:
            self._silent_until = now + _SAID_AGAIN_S
            logger.warning("The database does not answer: %s: %s", type(error).__name__, error)
        return Unavailable("The database does not answer.")

    async def close(self) -> None:
        """Close every connection, after the statements under way or their timeout."""
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in self._slots:
                    slot = await self._slot(self._loop.time())
                    if slot.connection is not None:
                        await slot.connection.close()
        except (TimeoutError, Unavailable):
            self.terminate()
        if self._look_timer is not None:
            self._look_timer.cancel()

    def terminate(self) -> None:
        """Cut every connection; what is under way fails."""
        for slot in self._slots:
            if slot.connection is not None:
                slot.connection.terminate()

    async def _open(self, slot: Slot) -> None:
        if slot.connection is None or slot.connection.is_closed():
            slot.connection = None
            slot.connection = await self._connect()
            self.renewed()

    async def _slot(self, now: float) -> Slot:
        if self._free:
            return self._free.pop()
        if len(self._waiting) >= self._waiting_max:
            raise Unavailable("Too many requests are waiting for the database.")
        future: asyncio.Future[Slot] = self._loop.create_future()
        self._waiting.append((future, now))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.give_back(future.result())
            raise

    def _look_later(self) -> None:
        self._look_timer = self._loop.call_later(self._timeout_s / _LOOKS, self._look)

    def _look(self) -> None:
        self._look_timer = None
        now = self._loop.time()
        # Those who wait are in the order in which they came, and all wait as long.
        while self._waiting and self._waiting[0][1] <= now - self._timeout_s:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(Unavailable("The database does not answer in time."))
        latest = now - self._timeout_s * _GRACE
        overdue = [slot for slot in self._slots if 0 < slot.since <= latest]
        # A server so silent will not answer on the others either, and another may be there instead.
        for slot in overdue + self._free if overdue else ():
            if slot.connection is not None:
                slot.connection.terminate()
        if self.in_use:
            self._look_later()
