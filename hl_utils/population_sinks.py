"""Where the rows of a population go: into a database by COPY, or into a script for psql."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Protocol

import asyncpg

from hl_utils.failures import need_database
from hl_utils.population_rows import TABLES, Chunk, Ids, Plan, Table
from hlfast.db import migrations, queries
from hlfast.db.postgres import connect
from hlfast.settings import Settings

# Closing waits for what the server is doing; after a failure it is not worth longer.
_CLOSE_S = 5.0

_VACUUM = "VACUUM (ANALYZE) {tables}"
_DERIVED_TABLES = ("friendcount",)


class Sink(Protocol):
    """Takes a population: all of it, or nothing when `finish` is not reached."""

    async def begin(self, plan: Plan) -> Ids:
        """The ids that the rows of this plan may have, which nobody else will get."""

    async def copy(self, chunk: Chunk) -> None:
        """Take the rows of a chunk."""

    async def execute(self, sql: str) -> None:
        """Run a statement on the main database after what was copied so far."""

    async def finish(self) -> None:
        """Make it last, and let the planner and index-only scans know."""


def _sequences(plan: Plan) -> dict[str, int]:
    """How many numbers of each sequence a plan needs."""
    return {
        "user_id_seq": plan.users,
        "post_id_seq": plan.posts,
        "friend_version_seq": plan.pairs_max,
    }


def _vacuum(database: str) -> str:
    names = [f'"{table.name}"' for table in TABLES if table.database == database]
    if database == queries.MAIN:
        names += _DERIVED_TABLES
    return _VACUUM.format(tables=", ".join(names))


@asynccontextmanager
async def database_sink(settings: Settings) -> AsyncIterator[Sink]:
    """A sink into the databases of the settings, which may be one.

    Raises SettingsError when none is configured, errors.Unavailable when one does not answer.
    """
    need_database(settings)
    main = await connect(settings.database_url)
    try:
        dialogs = await connect(settings.dialogs_url)
        try:
            yield DatabaseSink(main, dialogs)
        finally:
            await dialogs.close(timeout=_CLOSE_S)
    finally:
        await main.close(timeout=_CLOSE_S)


class DatabaseSink(Sink):
    """One transaction in each database, so nobody sees or meets half a population."""

    def __init__(self, main: asyncpg.Connection, dialogs: asyncpg.Connection) -> None:
        self._connections = {queries.MAIN: main, queries.DIALOGS: dialogs}
        self._main = main

    async def begin(self, plan: Plan) -> Ids:
        for table in TABLES:
            # A missing table must not be found out after the others were filled.
            await self._connections[table.database].execute(f'SELECT FROM "{table.name}" LIMIT 0')
        # Not in the transaction of the rows: registrations would wait for all of them.
        async with self._main.transaction():
            first = [await self._reserve(name, n) for name, n in _sequences(plan).items()]
        for connection in self._connections.values():
            await connection.execute("BEGIN")
        return Ids(*first)

    async def _reserve(self, sequence: str, count: int) -> int:
        """The first of so many consecutive numbers.

        ALTER SEQUENCE, which changes nothing here, keeps everybody else from the sequence until
        the transaction ends: without it, a registration between nextval and setval would get a
        number of ours.
        """
        if not count:
            return 0
        await self._main.execute(f"ALTER SEQUENCE {sequence} INCREMENT BY 1")
        first: int = await self._main.fetchval(f"SELECT nextval('{sequence}')")
        await self._main.execute(f"SELECT setval('{sequence}', {first + count - 1})")
        return first

    async def copy(self, chunk: Chunk) -> None:
        # As a view: bytes would be taken for the path of a file, and what is read from a file-like
        # object stays in memory until the next garbage collection (asyncpg 0.31).
        await self._connections[chunk.table.database].copy_to_table(
            chunk.table.name, columns=chunk.table.columns, source=memoryview(chunk.data)
        )

    async def execute(self, sql: str) -> None:
        await self._main.execute(sql)

    async def finish(self) -> None:
        # The users first: there must be no dialog with somebody who does not exist.
        for connection in self._connections.values():
            await connection.execute("COMMIT")
        for database, connection in self._connections.items():
            await connection.execute(_vacuum(database))


class ScriptSink(Sink):
    """A script that psql runs on an empty database: the tables, the rows, the sequences.

    A database container runs it at its first start (from /docker-entrypoint-initdb.d).
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._setvals: list[str] = []

    def _write(self, *statements: str) -> None:
        for statement in statements:
            self._file.write(f"{statement.strip().rstrip(';')};\n\n".encode())

    async def begin(self, plan: Plan) -> Ids:
        self._file.write(b"\\set ON_ERROR_STOP on\n")
        self._write("SET client_encoding = 'UTF8'", "BEGIN", migrations.LEDGER)
        for database in (queries.MAIN, queries.DIALOGS):
            for migration in queries.migrations("postgres", database):
                self._write(
                    migration.sql,
                    # So that `hlfast tables` knows of it.
                    "INSERT INTO migration (name, checksum) "  # noqa: S608
                    f"VALUES ('{migration.name}', '{migration.checksum}')",
                )
        self._setvals = [
            f"SELECT setval('{name}', {count})" for name, count in _sequences(plan).items() if count
        ]
        return Ids(user=1, post=1, friend_version=1)

    async def copy(self, chunk: Chunk) -> None:
        self._file.write(_copy_from_stdin(chunk.table).encode())
        self._file.write(chunk.data)
        self._file.write(b"\\.\n\n")

    async def execute(self, sql: str) -> None:
        self._write(sql)

    async def finish(self) -> None:
        self._write(*self._setvals, "COMMIT", _vacuum(queries.MAIN), _vacuum(queries.DIALOGS))
        self._file.flush()


def _copy_from_stdin(table: Table) -> str:
    return f'COPY "{table.name}" ({", ".join(table.columns)}) FROM stdin;\n'
