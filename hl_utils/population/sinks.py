"""Where the rows of a population go: into databases, or into a script for a client of one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import BinaryIO, Protocol

from hl_utils.failures import need_database
from hl_utils.population import mysql, postgres
from hl_utils.population.rows import Chunk, Ids, Plan
from hlfast.db import queries
from hlfast.settings import Settings


class Sink(Protocol):
    """Takes a population: all of it, or nothing when `finish` is not reached."""

    async def begin(self, plan: Plan) -> Ids:
        """The ids that the rows of this plan may have, which nobody else will get."""

    async def copy(self, chunk: Chunk) -> None:
        """Take the rows of a chunk."""

    async def execute(self, sql: str) -> None:
        """Run a statement on the main database after what was copied so far."""

    async def finish(self) -> None:
        """Make it last, and let the planner know."""


class Target(Protocol):
    """A connection to one database that is being filled."""

    async def check(self, database: str) -> None:
        """Find out about a missing table before others are filled. Raises the driver's error."""

    async def reserve(self, plan: Plan) -> Ids:
        """Reserve ids at once and for good; see `Sink.begin`."""

    async def begin(self) -> None:
        """What follows is one transaction."""

    async def copy(self, chunk: Chunk) -> None:
        """Write a chunk, as `Sink.copy` does."""

    async def execute(self, sql: str) -> None:
        """Run a statement of SQL."""

    async def commit(self) -> None:
        """End the transaction on each database."""

    async def tidy(self, database: str) -> None:
        """Let the planner know what the tables of `database` now hold."""

    async def close(self) -> None:
        """Hang up; what was not committed is gone."""


_TARGETS: dict[str, Callable[[str], Awaitable[Target]]] = {
    "postgres": postgres.open_target,
    "mysql": mysql.open_target,
}
# Each makes the tables in an empty database and fills them; a database container runs such a
# script at its first start (from /docker-entrypoint-initdb.d).
SCRIPTS: dict[str, Callable[[BinaryIO], Sink]] = {
    "postgres": postgres.PostgresScript,
    "mysql": mysql.MysqlScript,
}


@asynccontextmanager
async def database_sink(settings: Settings) -> AsyncIterator[Sink]:
    """A sink into the databases of the settings, which may be one.

    Raises SettingsError when none is configured, errors.Unavailable when one does not answer.
    """
    need_database(settings)
    async with AsyncExitStack() as stack:
        targets: dict[str, Target] = {}
        for database, url in (
            (queries.MAIN, settings.database_url),
            (queries.DIALOGS, settings.dialogs_url),
        ):
            targets[database] = await _TARGETS[queries.dialect_of(url)](url)
            stack.push_async_callback(targets[database].close)
        yield DatabaseSink(targets)


class DatabaseSink(Sink):
    """One transaction in each database, so nobody sees or meets half a population."""

    def __init__(self, targets: dict[str, Target]) -> None:
        self._targets = targets
        self._main = targets[queries.MAIN]

    async def begin(self, plan: Plan) -> Ids:
        for database, target in self._targets.items():
            await target.check(database)
        # Not in the transaction of the rows: registrations would wait for all of them.
        ids = await self._main.reserve(plan)
        for target in self._targets.values():
            await target.begin()
        return ids

    async def copy(self, chunk: Chunk) -> None:
        await self._targets[chunk.table.database].copy(chunk)

    async def execute(self, sql: str) -> None:
        await self._main.execute(sql)

    async def finish(self) -> None:
        # The users first: there must be no dialog with somebody who does not exist.
        for target in self._targets.values():
            await target.commit()
        for database, target in self._targets.items():
            await target.tidy(database)
