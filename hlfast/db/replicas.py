"""Reads on replicas, each by one that has replayed whatever its reader must see.

Before a read, the primary is asked for its position: how far its log is flushed, beyond which
nothing was acknowledged to anybody. A replica that has replayed it may answer. What does not come
by then, and what fails, the primary answers within the same request.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from hlfast.batching import UNBATCHED, BatchLimits, BatchReader
from hlfast.db import queries
from hlfast.db.database import Database, Row
from hlfast.db.postgres import PostgresDatabase, is_of_server, open_database
from hlfast.errors import Unavailable
from hlfast.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

# Between two looks at a replica that somebody waits for, and at one that nobody does because it
# was behind.
_POLL_S, _POLL_BEHIND_S = 0.001, 0.05

# Who answered: a replica; the primary, for want of any; the primary instead of a replica
# that was late or failed.
Answered = Literal["replica", "primary", "fallback"]
ANSWERED: tuple[Answered, ...] = ("replica", "primary", "fallback")


class Position(NamedTuple):
    """How far the readers of a server see.

    `lsn` is a position in the log, in bytes. Those of two servers are comparable only when both
    have the mark of the same timeline; None is no mark.
    """

    is_primary: bool
    timeline: UUID | None
    lsn: int

    def covers(self, other: Position) -> bool:
        """Whether whoever reads here sees all that was to be seen there."""
        return (
            self.timeline is not None and self.timeline == other.timeline and self.lsn >= other.lsn
        )


async def _position(server: Database) -> Position:
    [row] = await server.fetch("replication_position")
    return Position(*row)


class _Session:
    """Connections to a replica, opened together and never replaced.

    A server that crashes may be back with less replayed than before. So what was once seen to be
    replayed is good only for connections that have been there ever since: when one is lost, the
    session is over.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._databases: list[PostgresDatabase] = []
        self._seen = Position(False, None, 0)
        # What it lacked when a read gave up waiting for it.
        self._missed: Position | None = None
        self._waiting: dict[asyncio.Future[None], Position] = {}
        self._asked = asyncio.Event()
        self._reading: set[asyncio.Timeout] = set()
        self._is_over = False
        # Why it is over, when it is.
        self.trouble = "a connection was lost"

    async def open(self, url: str) -> None:
        """Raises errors.Unavailable, TimeoutError, SettingsError, and whatever the server says."""
        settings = self._settings
        # Reads that queue for a connection must not look like a replica that is silent.
        alone = {"database_pool_size": 1, "database_timeout_s": settings.replica_timeout_s}
        async with asyncio.timeout(settings.database_timeout_s):
            for bounds in (settings, settings.model_copy(update=alone)):
                database = await open_database(url, (queries.MAIN,), bounds, lost=self._lost)
                self._databases.append(database)
            self._seen = await _position(self._databases[-1])

    def end(self) -> None:
        """Cut the connections. Reads under way are given up, for the primary to answer."""
        self._is_over = True
        for database in self._databases:
            database.terminate()
        now = asyncio.get_running_loop().time()
        for scope in self._reading:
            scope.reschedule(now)

    @property
    def seen(self) -> Position:
        """What it had replayed when it was last looked at."""
        return self._seen

    @property
    def serves(self) -> bool:
        """Whether it is worth asking."""
        return not (self._is_over or self._seen.is_primary or self._missed)

    @property
    def reads(self) -> int:
        """The number of reads under way on this replica."""
        return len(self._reading)

    async def watch(self) -> None:
        """Look what is replayed, often while somebody waits for it. Returns when it is over.

        Raises errors.Unavailable when the replica falls silent.
        """
        while not self._is_over:
            self._saw(await _position(self._databases[-1]))
            if self._waiting:
                await asyncio.sleep(_POLL_S)
                continue
            self._asked.clear()
            pause_s = _POLL_BEHIND_S if self._missed else self._settings.replica_retry_s
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._asked.wait()

    async def read(
        self, position: Position, statement: str, args: Sequence[Any]
    ) -> Sequence[Row] | None:
        """The rows as of `position` or later; None when the primary has to answer."""
        try:
            async with asyncio.timeout(None) as scope:
                self._reading.add(scope)
                try:
                    if self._seen.covers(position) or await self._replays(position):
                        return await self._databases[0].fetch(statement, *args)
                finally:
                    self._reading.remove(scope)
        except (TimeoutError, Unavailable):
            pass
        except Exception as error:  # the primary knows whether it is the request
            if is_of_server(error):
                # A damaged disk, say: every read would come here, and be late.
                self.trouble = f"{type(error).__name__} {error}"
                self._lost()
            else:
                logger.exception("A replica failed")
        return None

    async def _replays(self, position: Position) -> bool:
        """Wait for it, within the bound."""
        replayed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[replayed] = position
        self._asked.set()
        try:
            async with asyncio.timeout(self._settings.replica_wait_s):
                await replayed
        except TimeoutError:
            self._missed = position
            return False
        finally:
            del self._waiting[replayed]
        return True

    def _saw(self, position: Position) -> None:
        self._seen = position
        if self._missed and position.covers(self._missed):
            self._missed = None
        for replayed, wanted in self._waiting.items():
            if not replayed.done() and position.covers(wanted):
                replayed.set_result(None)

    def _lost(self) -> None:
        self._is_over = True
        self._asked.set()


class Replica:
    """One standby: left out while it is away, behind or promoted; back by itself."""

    def __init__(self, name: str, url: str, settings: Settings) -> None:
        self.name = name
        self._url = url
        self._settings = settings
        self._session: _Session | None = None
        self._trouble = ""

    @property
    def session(self) -> _Session | None:
        """The one to read in, or None."""
        return self._session if self._session is not None and self._session.serves else None

    async def open(self) -> None:
        """Try once to reach it. Raises SettingsError for a URL that is none."""
        session = _Session(self._settings)
        try:
            await session.open(self._url)
        except SettingsError:
            raise
        except Exception as error:  # also a schema that is not replayed yet: try again later
            session.end()
            self._tell(f"{type(error).__name__} {error}")
        else:
            self._session = session
            self._tell("")

    async def run(self) -> None:
        """Watch it, and come back to it whenever it was lost; until cancelled."""
        while True:
            if (session := self._session) is not None:
                try:
                    await session.watch()
                    trouble = session.trouble
                except Exception as error:  # whatever it is, the replica must come back
                    trouble = f"{type(error).__name__} {error}"
                finally:
                    self._session = None
                    session.end()
                self._tell(trouble)
            await asyncio.sleep(self._settings.replica_retry_s)
            await self.open()

    def is_well(self, primary: Position | None) -> bool:
        """Whether it serves, or has become the primary that is asked here."""
        if self._session is None:
            return False
        seen = self._session.seen
        return self._session.serves or (
            seen.is_primary and primary is not None and seen.timeline == primary.timeline
        )

    def _tell(self, trouble: str) -> None:
        if bool(trouble) != bool(self._trouble):
            logger.warning("%s %s", self.name, f"is left out: {trouble}" if trouble else "is used")
        self._trouble = trouble


class Replicated(Database):
    """A primary and its replicas, for reads alone.

    `count` is called with the server that answered each of them.
    """

    def __init__(
        self,
        primary: Database,
        replicas: Sequence[Replica],
        settings: Settings,
        count: Callable[[Answered], None],
    ) -> None:
        self._primary = primary
        self.load = primary.load
        self.replicas = replicas
        self._retry_s = settings.replica_retry_s
        self._count = count
        self._last: Position | None = None
        # Reads of one loop turn need one look at the primary. A read joins only a look that was
        # not sent yet, so it takes in all that was acknowledged before it.
        self._positions: BatchReader[None, Position] = BatchReader(
            self._look,
            BatchLimits(settings.batch_max, sys.maxsize)
            if settings.tuning.batch_reads
            else UNBATCHED,
        )
        self._unmarked = asyncio.Event()
        self._tasks = [
            asyncio.create_task(run) for run in (self._mark(), *(one.run() for one in replicas))
        ]

    async def fetch(self, statement: str, *args: Any) -> Sequence[Row]:
        """All rows of a named statement that reads."""
        sessions = [one.session for one in self.replicas]
        answered: Answered = "primary"
        if any(sessions):
            answered = "fallback"
            position = await self._positions.get(None)
            if position is not None and position.timeline is not None:
                session = min(
                    filter(None, sessions),
                    key=lambda one: (not one.seen.covers(position), one.reads),
                )
                rows = await session.read(position, statement, args)
                if rows is not None:
                    self._count("replica")
                    return rows
        self._count(answered)
        return await self._primary.fetch(statement, *args)

    async def fetch_row(self, statement: str, *args: Any) -> Row | None:
        """The first row, or None."""
        found = await self.fetch(statement, *args)
        return found[0] if found else None

    async def health(self) -> dict[str, bool]:
        """Each replica by name, and whether nothing is wrong with it."""
        with suppress(Unavailable):
            self._last = await self._positions.get(None)
        return {one.name: one.is_well(self._last) for one in self.replicas}

    async def close(self) -> None:
        """Leave the replicas; the primary is its owner's to close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self, _: Sequence[None]) -> Mapping[None, Position]:
        position = await _position(self._primary)
        if not position.is_primary:
            return {}
        if position.timeline is None:
            self._unmarked.set()
        return {None: position}

    async def _mark(self) -> None:
        """Give the primary's timeline its mark when it has none: once in its life.

        Not by who reads: with synchronous standbys the write may have to wait for them.
        """
        while True:
            await self._unmarked.wait()
            with suppress(Unavailable):
                await self._primary.fetch("waltimeline_mark")
                self._unmarked.clear()
            await asyncio.sleep(self._retry_s)


def _name(number: int, url: str) -> str:
    """What operators know a replica by. Of the URL only the host, nothing that is secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["?"])[0]
    return f"replica {number} ({host})"


async def open_replicated(
    primary: Database, settings: Settings, count: Callable[[Answered], None]
) -> Replicated:
    """The replicas of the settings, each tried once: one that is away delays nothing but the start.

    Raises SettingsError.
    """
    replicas = [
        Replica(_name(number, url), url, settings)
        for number, url in enumerate(settings.replica_urls, 1)
    ]
    await asyncio.gather(*(one.open() for one in replicas))
    return Replicated(primary, replicas, settings, count)
