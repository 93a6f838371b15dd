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
# A statement is given so much longer than it may take: the server, told the same time, ends it
# itself, and its connection stays.
_GRACE = 1.1
# Seconds between two lines that say why the database does not answer.
_SAID_AGAIN_S = 1.0
# Seconds for which new connections are kept though they, too, lead to a server that refuses.
_STAYS_S = 1.0


class Connection(Protocol):
    """What the pool does with a connection."""

    def is_closed(self) -> bool:
        """Whether it is of no use any more."""

    def terminate(self) -> None:
        """Cut it, without a word to the server: whoever waits for it gets an error."""

    async def close(self) -> None:
        """Say good-bye to the server."""


C = TypeVar("C", bound=Connection)


class Place:
    """One of the pool's connections, or the place of one that is lost."""

    __slots__ = ("connection", "is_useless", "since")

    def __init__(self) -> None:
        # Whoever took the place has one.
        self.connection: Any = None
        # When whoever has it took it, in the loop's time; 0: it is free.
        self.since = 0.0
        # Its connection is cut when it is given back.
        self.is_useless = False


def _nothing() -> None:
    """Nobody wants to know."""


class Pool(Generic[C]):
    """Places for `size` connections. The one used last is used next: its caches are warm.

    A lost connection is made anew by whoever takes its place next, so that a database that is
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
        self._places: list[Place] = [Place() for _ in range(size)]
        self._free = self._places.copy()
        self._waiting: deque[tuple[asyncio.Future[Place], float]] = deque()
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
        return len(self._places) - len(self._free)

    @property
    def queued(self) -> int:
        """Those who wait for one."""
        return len(self._waiting)

    async def fill(self) -> None:
        """Open every connection that is not; raises what opening one does.

        One after the other: what a library asks of each new one weighs on a server, and all
        processes of a service may start at once.
        """
        for place in self._places:
            await self._open(place)

    async def take(self) -> Place:
        """A place with a connection, to be given back.

        Raises errors.Unavailable when too many wait or it takes too long, and what opening a
        connection raises.
        """
        now = self._loop.time()
        if self._free:
            place = self._free.pop()
        else:
            place = await self._place(now)
            now = self._loop.time()
        place.since = now
        if self._look_timer is None:
            self._look_later()
        if place.connection is None or place.connection.is_closed():
            try:
                await self._open(place)
            except BaseException:
                self.give_back(place)
                raise
        return place

    def give_back(self, place: Place) -> None:
        """To whoever has waited longest, if anybody has."""
        if place.is_useless:
            place.is_useless = False
            if place.connection is not None:
                place.connection.terminate()
        while self._waiting:
            future, since = self._waiting.popleft()
            if not future.done():
                self.waits += 1
                self.waited_s += self._loop.time() - since
                future.set_result(place)
                return
        place.since = 0.0
        self._free.append(place)

    def leave(self) -> None:
        """Use no connection any more that there is now: their server is not the one to ask.

        After a failover it may go on answering. Does nothing if that was just done.
        """
        now = self._loop.time()
        if now < self._stays_until:
            return
        self._stays_until = now + _STAYS_S
        for place in self._places:
            if place.since:
                place.is_useless = True
            elif place.connection is not None:
                place.connection.terminate()

    def unavailable(self, error: Exception) -> Unavailable:
        """What is told to whoever asked; a line, not for every one, says what it was."""
        now = self._loop.time()
        if now >= self._silent_until:
            self._silent_until = now + _SAID_AGAIN_S
            logger.warning("The database does not answer: %s: %s", type(error).__name__, error)
        return Unavailable("The database does not answer.")

    async def close(self) -> None:
        """Close every connection, after the statements under way or their timeout."""
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in self._places:
                    place = await self._place(self._loop.time())
                    if place.connection is not None:
                        await place.connection.close()
        except (TimeoutError, Unavailable):
            self.terminate()
        if self._look_timer is not None:
            self._look_timer.cancel()

    def terminate(self) -> None:
        """Cut every connection; what is under way fails."""
        for place in self._places:
            if place.connection is not None:
                place.connection.terminate()

    async def _open(self, place: Place) -> None:
        if place.connection is None or place.connection.is_closed():
            place.connection = None
            place.connection = await self._connect()
            self.renewed()

    async def _place(self, now: float) -> Place:
        if self._free:
            return self._free.pop()
        if len(self._waiting) >= self._waiting_max:
            raise Unavailable("Too many requests are waiting for the database.")
        future: asyncio.Future[Place] = self._loop.create_future()
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
        overdue = [place for place in self._places if 0 < place.since <= latest]
        # A server so silent will not answer on the others either, and another may be there instead.
        for place in overdue + self._free if overdue else ():
            if place.connection is not None:
                place.connection.terminate()
        if self.in_use:
            self._look_later()
