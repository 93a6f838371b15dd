"""API processes, as far as their outboxes go, on logs that can be held back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from hl_utils.servers.sql import connect
from hlfast import codec
from hlfast.batching import UNBATCHED
from hlfast.db import queries
from hlfast.db.database import Database
from hlfast.db.open import open_database
from hlfast.dialogs.service import Dialogs
from hlfast.errors import Conflict, NotFound, Unavailable
from hlfast.events.log import Entry, EventLog, Position, Reset
from hlfast.events.open import open_log
from hlfast.events.outbox import Outbox
from hlfast.events.outbox_row import OutboxRow
from hlfast.events.publisher import read_batch
from hlfast.friends.service import Friends
from hlfast.outboxes import open_outboxes
from hlfast.posts.service import Posts
from hlfast.profiles import Profiles
from hlfast.response_cache import ResponseCache
from hlfast.settings import Settings
from tests.events.brokers import soon

_names = itertools.count(1)


async def new_users(url: str, count: int) -> list[int]:
    """The ids of so many, in a database that has no others of this kind."""
    connection = await connect(url)
    rows = ", ".join(f"('u{n}', 'u{n}', '', '', '', '', '')" for n in range(count))
    columns = "username, username_key, password_hash, first_name, last_name, first_key, last_key"
    try:
        await connection.rows(f'INSERT INTO "user" ({columns}) VALUES {rows}')
        found = await connection.rows(
            """SELECT id FROM "user" WHERE username LIKE 'u%' AND password_hash = '' ORDER BY id"""
        )
    finally:
        await connection.close()
    return [user_id for (user_id,) in found]


class HeldLog:
    """A real log; what is published on it waits while the gate is closed."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.gate = asyncio.Event()
        self.gate.set()
        # When the gate opens. None: it is published. Else it fails, and may be there nevertheless.
        self.fails_but_is_there: bool | None = None
        self.held = 0

    @property
    def entries_at_once_max(self) -> int:
        """As many as the log itself."""
        return self._log.entries_at_once_max

    async def publish(self, batch: bytes) -> None:
        """As EventLog does."""
        self.held += 1
        try:
            await self.gate.wait()
        finally:
            self.held -= 1
        if self.fails_but_is_there is not False:
            await self._log.publish(batch)
        if self.fails_but_is_there is not None:
            raise Unavailable("The event log hung up")

    async def close(self) -> None:
        """As EventLog does."""
        await self._log.close()

    def follow(self, after: Position | None) -> AsyncGenerator[Entry | Reset, None]:
        """As EventLog does."""
        return self._log.follow(after)

    async def end(self) -> Position:
        """As EventLog does."""
        return await self._log.end()

    def broadcast(self, data: bytes) -> None:
        """As EventLog does."""
        self._log.broadcast(data)

    def listen(self) -> AsyncGenerator[bytes, None]:
        """As EventLog does."""
        return self._log.listen()


@dataclass
class Process:
    """What one API process has of it."""

    log: HeldLog
    posts: Outbox
    dialogs: Outbox


@dataclass(frozen=True)
class Features:
    """What writes to a process's outboxes."""

    posts: Posts
    friends: Friends
    dialogs: Dialogs


@dataclass
class Happened:
    """An event and when its request began and ended, counted by requests."""

    event: dict[str, Any]
    began: int
    ended: int = 0


@dataclass
class Office:
    """A database, a log, and processes."""

    settings: Settings
    database: Database
    start: Position
    processes: list[Process]
    happened: list[Happened] = field(default_factory=list)
    _moment: Any = field(default_factory=lambda: itertools.count(1))

    def of(self, process: Process) -> Features:
        """The features of a process."""
        database, cache = self.database, ResponseCache(0)
        profiles = Profiles(database, cache, UNBATCHED)
        return Features(
            Posts(
                database,
                database,
                profiles,
                process.posts,
                cache,
                limits=UNBATCHED,
                page_limits=UNBATCHED,
                feed_posts_max=self.settings.feed_posts_max,
                encode_at_write=True,
                feeds_from_newest=True,
            ),
            Friends(database, process.posts, friends_max=100),
            Dialogs(
                database,
                None,
                profiles,
                process.dialogs,
                cache,
                self.settings,
                limits=UNBATCHED,
                sends_share=False,
            ),
        )

    async def ask(self, process: Process, request: Callable[[Process], Awaitable[Any]]) -> Any:
        """A request of that process; the events that it committed are noted."""
        noted: list[Happened] = []
        began = next(self._moment)

        class Noting(Process):
            """Beside the outbox."""

        def noting(outbox: Outbox) -> Any:
            class One:
                def committed(self, told: OutboxRow) -> None:
                    noted.append(Happened(dict(told.event), began))
                    outbox.committed(told)

            return One()

        try:
            return await request(
                Noting(process.log, noting(process.posts), noting(process.dialogs))
            )
        except (Conflict, NotFound):
            return None
        finally:
            ended = next(self._moment)
            for one in noted:
                one.ended = ended
            self.happened += noted

    async def left(self) -> int:
        """Rows in the outboxes."""
        rows = [
            *await self.database.fetch("outbox_left", -3600.0, 1000),
            *await self.database.fetch("messageoutbox_left", -3600.0, 1000),
        ]
        return len(rows)

    async def gone(self) -> None:
        """Wait until nothing is left, without a sweep."""
        async with asyncio.timeout(30):
            while await self.left():
                pass

    async def settle(self) -> None:
        """Sweep, as another process does, until nothing is left."""
        process = self.processes[-1]
        async with asyncio.timeout(60):
            while await self.left():
                for outbox in (process.posts, process.dialogs):
                    await outbox.sweep(0.0, 1000)
                await asyncio.sleep(0.01)

    async def published(self) -> list[dict[str, Any]]:
        """The log's events from the start, up to a mark that is set now; repeats included."""
        mark = f"mark-{next(_names)}"
        await self.processes[-1].log.publish(codec.encode({"since": 0, "events": [{"id": mark}]}))
        found: list[dict[str, Any]] = []
        async with aclosing(self.processes[-1].log.follow(self.start)) as following:
            while True:
                entry = await soon(anext(following))
                assert isinstance(entry, Entry)
                events = read_batch(entry.batch).events
                if events[0]["id"] == mark:
                    return found
                found += [event for event in events if not event["id"].startswith("mark")]


@asynccontextmanager
async def office(
    database_url: str, log_url: str, *, processes: int, users: int, **settings: Any
) -> AsyncIterator[Office]:
    """Processes on one database and one log, none of which sweeps by itself."""
    made = Settings(
        database_url=database_url,
        events_url=log_url,
        events_name=f"outbox{next(_names)}",
        secret="x" * 32,
        **{"outbox_sweep_s": 3600.0, **settings},
    )
    async with AsyncExitStack() as stack:
        database = await open_database(
            database_url, (queries.MAIN, queries.DIALOGS), made, wait_s=30
        )
        stack.push_async_callback(database.close)
        opened = []
        for _ in range(processes):
            log = HeldLog(open_log(made))
            stack.push_async_callback(log.close)
            outboxes = await open_outboxes(made, database, database, log, stack)
            stack.callback(log.gate.set)
            opened.append(Process(log, *outboxes))
        yield Office(made, database, await opened[0].log.end(), opened)
